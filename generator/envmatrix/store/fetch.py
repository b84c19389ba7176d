"""Downloads: every byte is checked against the lock before it gets a name in the store."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import quote, unquote, urljoin

import httpx

from envmatrix.console import Meter
from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.libraries import IndexFile
from envmatrix.lock.model import URL, Artifact
from envmatrix.store.artifacts import Store
from envmatrix.store.configuration import NVIDIA, PYPI
from envmatrix.store.failures import (
    Gone,
    Tried,
    Wrong,
    all_gone,
    hint_of,
    is_absence,
    newest,
    said,
)
from envmatrix.store.origins import Origins

_Result = TypeVar("_Result")

JOBS = 6
ATTEMPTS = 4
_BACKOFF_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
_WORTH_A_RETRY = {408, 425, 429, 500, 502, 503, 504}
_CHUNK = 1 << 20
# Of what is held in memory, in bytes.
_MOST_OF_A_PAGE, _MOST_OF_A_LISTING = 1 << 28, 1 << 22


class Mirror(Protocol):
    """Gives bytes by sha256 (hex), unchecked; LookupFailed where it has none of them."""

    def read(self, sha256: str) -> Iterator[bytes]: ...


class Stopped(Exception):
    """Given up, because another file failed."""


class Fetcher:
    """Fills `store` from wherever this machine finds each origin.

    `sleep` is the pause between attempts, in seconds; `epoch` that of the lock, by which servers of
    snapshots are asked.
    """

    def __init__(
        self,
        store: Store,
        origins: Origins,
        client: httpx.Client,
        sleep: Callable[[float], None] = time.sleep,
        mirror: Mirror | None = None,
        epoch: int | None = None,
    ) -> None:
        self._epoch = epoch
        self._store = store
        self._origins = origins
        self.client = client
        self._sleep = sleep
        self.mirror = mirror
        self._stop = threading.Event()

    def fetch(self, artifacts: Sequence[Artifact], progress: Meter) -> None:
        """Have all of `artifacts` in the store, checked. Raises LookupFailed for all that are gone;
        where a server cannot be reached, at once."""
        self._stop.clear()
        with ThreadPoolExecutor(JOBS) as pool:
            wanted = dict(zip(artifacts, pool.map(self._store.verified, artifacts), strict=True))
            missing = [artifact for artifact, is_there in wanted.items() if not is_there]
            total = sum(artifact.size for artifact in missing)
            with progress.task("download", total=total, unit="bytes") as advance:
                futures = [pool.submit(self._fetch_one, item, advance) for item in missing]
                try:
                    wait(futures, return_when=FIRST_EXCEPTION)
                finally:
                    self._stop.set()
                    for future in futures:
                        future.cancel()
        failures = [
            its for future in futures if not future.cancelled() if (its := future.exception())
        ]
        for failure in sorted(failures, key=lambda its: isinstance(its, Stopped)):
            raise failure
        if gone := [*filter(None, (future.result() for future in futures))]:
            raise all_gone(gone, self._offered)

    def _fetch_one(self, artifact: Artifact, advance: Callable[[int], None]) -> Gone | None:
        with self._store.incoming(artifact) as partial:
            if self._store.verified(artifact):
                advance(artifact.size)
                return None
            tried = Tried()
            if self._mirrored(artifact, partial, advance, tried):
                self._store.keep(artifact, partial)
                return None
            for url in self._locations(artifact, tried):
                try:
                    self._download(url, artifact, partial, advance)
                except (Wrong, httpx.HTTPError, httpx.InvalidURL) as error:
                    tried.add(url, error)
                else:
                    self._store.keep(artifact, partial)
                    return None
            return tried.end(artifact)

    def _mirrored(
        self, artifact: Artifact, partial: Path, advance: Callable[[int], None], tried: Tried
    ) -> bool:
        """Whether the mirror, if there is one, gave the file."""
        mirror = self.mirror
        if mirror is None:
            return False
        try:
            self._take(lambda: mirror.read(artifact.sha256), artifact, partial, advance)
        except (Wrong, httpx.HTTPError, LookupFailed) as error:
            tried.add("the mirror", error)
            return False
        return True

    def _locations(self, artifact: Artifact, tried: Tried) -> Iterator[str]:
        for base in self._origins.files(artifact.origin) if artifact.origin != URL else ():
            yield f"{base}/{quote(artifact.path, safe='/~+:')}"
        if self._epoch is not None and artifact.origin not in (URL, PYPI):
            for base in self._origins.snapshots(artifact.origin, self._epoch):
                yield f"{base}/{quote(artifact.path, safe='/~+:')}"
        if artifact.origin == URL:
            yield artifact.path
        if artifact.origin == PYPI:
            try:
                yield index_entry(self.client, self._origins.pypi_indexes, artifact)[0]
            except LookupFailed as error:
                tried.add("", error)

    def _offered(self, artifact: Artifact) -> str:
        """The newest version of a package that its origin has now, empty where it does not say."""
        if artifact.origin == URL:
            return ""
        try:
            if artifact.origin == PYPI:
                files = index_files(self.client, self._origins.pypi_indexes, artifact.name)
                return newest(its.name.split("-")[1] for its in files if its.name.count("-") > 1)
            folder = quote(artifact.path.rpartition("/")[0], safe="/~+:")
            (base, *_) = self._origins.files(artifact.origin)
            _, page = _body(self.client, f"{base}/{folder}/", most=_MOST_OF_A_LISTING)
        except (LookupFailed, httpx.HTTPError, httpx.InvalidURL, Wrong):
            return ""
        pattern = rf'href="(?:[^"]*/)?{re.escape(artifact.name)}_([^_"/]+)_[^"/]*\.deb"'
        return newest(unquote(it) for it in re.findall(pattern, page.decode("utf-8", "replace")))

    def _download(
        self, url: str, artifact: Artifact, partial: Path, advance: Callable[[int], None]
    ) -> None:
        def chunks() -> Iterator[bytes]:
            with self.client.stream("GET", url) as response:
                response.raise_for_status()
                yield from response.iter_bytes(_CHUNK)

        self._take(chunks, artifact, partial, advance)

    def _take(
        self,
        chunks: Callable[[], Iterator[bytes]],
        artifact: Artifact,
        partial: Path,
        advance: Callable[[int], None],
    ) -> None:
        def once() -> None:
            received = 0
            self._go_on()
            try:
                for count in self._write(chunks(), artifact, partial):
                    received += count
                    advance(count)
            except (Wrong, httpx.HTTPError):
                advance(-received)
                raise

        persistently(once, self._sleep)

    def _write(self, chunks: Iterator[bytes], artifact: Artifact, partial: Path) -> Iterator[int]:
        digest = hashlib.sha256()
        received = 0
        with partial.open("wb") as file:
            for chunk in chunks:
                self._go_on()
                received += len(chunk)
                if received > artifact.size:
                    raise Wrong(f"more than the {artifact.size} bytes that the lock names")
                digest.update(chunk)
                file.write(chunk)
                yield len(chunk)
        if received < artifact.size:
            raise httpx.RemoteProtocolError(f"ended after {received} of {artifact.size} bytes")
        if digest.hexdigest() != artifact.sha256:
            raise Wrong(f"its sha256 is {digest.hexdigest()}, the lock names {artifact.sha256}")

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped


def persistently(
    action: Callable[[], _Result],
    sleep: Callable[[float], None],
    attempts: int = ATTEMPTS,
    passes: Callable[[Exception], bool] = lambda _: False,
) -> _Result:
    """What `action` gives, tried again where that may help, or where the caller knows that an error
    `passes`: after the pause that a server asks for, or one that grows."""
    for attempt in range(1, attempts):
        try:
            return action()
        except (Wrong, httpx.HTTPError) as error:
            if not _is_worth_a_retry(error) and not passes(error):
                raise
            sleep(max(_BACKOFF_SECONDS * 2**attempt, _asked_for(error)))
    return action()


def _asked_for(error: Exception) -> float:
    """The pause in seconds of a `Retry-After`, as far as anybody would wait."""
    if not isinstance(error, httpx.HTTPStatusError):
        return 0
    said = error.response.headers.get("Retry-After", "")
    return min(float(said), _LONGEST_PAUSE_SECONDS) if said.isdecimal() else 0


def _is_worth_a_retry(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _WORTH_A_RETRY
    return isinstance(error, httpx.TransportError)


def read(
    client: httpx.Client,
    bases: Sequence[str],
    path: str,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes:
    """The bytes at `path` of the first of `bases` that has it; LookupFailed where none has."""
    tried = Tried()
    for base in bases:
        url = f"{base}/{path}"
        try:
            return persistently(lambda: _body(client, url)[1], sleep)  # noqa: B023
        except (httpx.HTTPError, httpx.InvalidURL, Wrong) as error:
            tried.add(url, error)
    if all(map(is_absence, tried.errors)):
        hint = f"mirrors go under [mirrors] {NVIDIA} in your configuration"
        raise Absent(f"no server has `{path}`", details=tried.told, hint=hint)
    raise LookupFailed(f"`{path}` cannot be read", details=tried.told, hint=hint_of(tried.errors))


def _body(
    client: httpx.Client, url: str, *, accept: str = "*/*", most: int = _MOST_OF_A_PAGE
) -> tuple[httpx.URL, bytes]:
    """Where redirects end, and what is there; Wrong where that has more bytes than `most`."""
    content = bytearray()
    with client.stream("GET", url, headers={"Accept": accept}) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes(_CHUNK):
            content += chunk
            if len(content) > most:
                raise Wrong(f"it has more than {most >> 20} MiB")
    return response.url, bytes(content)


def index_files(
    client: httpx.Client, indexes: Sequence[str], project: str
) -> tuple[IndexFile, ...]:
    """The files of a project, by PyPI's JSON simple API (PEP 691, PEP 700), of all `indexes`;
    Absent where none has the project."""
    found, failures = _listed(client, indexes, project)
    if not found and failures:
        raise _unlisted(project, failures)
    return found


def _listed(
    client: httpx.Client, indexes: Sequence[str], project: str
) -> tuple[tuple[IndexFile, ...], Sequence[LookupFailed]]:
    """The files of a project, and what came of the indexes that list none."""
    found: list[IndexFile] = []
    failures: list[LookupFailed] = []
    for index in indexes:
        try:
            found += _index_files(client, f"{index}/{project}/")
        except LookupFailed as error:
            failures.append(error)
    return tuple(found), failures


def _unlisted(project: str, failures: Sequence[LookupFailed]) -> LookupFailed:
    """An index that could not be asked may have what the others have not."""
    for error in failures:
        if not isinstance(error, Absent):
            return error
    return Absent(
        f"the index has no project `{project}`",
        details=[error.message for error in failures],
        hint="is its name right? an index that has it goes into your configuration as [mirrors] "
        "pypi-index, or into pip's",
    )


def _index_files(client: httpx.Client, page: str) -> Iterator[IndexFile]:
    try:
        url, content = _body(client, page, accept="application/vnd.pypi.simple.v1+json")
        for file in json.loads(content)["files"]:
            yield IndexFile(
                str(file.get("filename", "")),
                urljoin(str(url.copy_with(userinfo=b"")), file["url"]),
                file.get("hashes", {}).get("sha256", ""),
                int(file.get("size") or 0),
                bool(file.get("yanked")),
            )
    except (httpx.HTTPError, httpx.InvalidURL, Wrong) as error:
        kind = Absent if is_absence(error) else LookupFailed
        raise kind(f"{page}: {said(error)}", hint=hint_of([error])) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LookupFailed(
            f"{page} is no JSON index (PEP 691)", hint="name a mirror of its files, [mirrors] pypi"
        ) from error


def index_entry(
    client: httpx.Client, indexes: Sequence[str], artifact: Artifact
) -> tuple[str, int]:
    """URL and size in bytes of `artifact` in package indexes."""
    found, failures = _listed(client, indexes, artifact.name)
    for file in found:
        if file.sha256 == artifact.sha256:
            return file.url, file.size
    if failures and (not found or not all(map(is_absence, failures))):
        raise _unlisted(artifact.name, failures)
    pages = ", ".join(f"{index}/{artifact.name}/" for index in indexes)
    raise Absent(f"{pages} lists no file with sha256 {artifact.sha256}")


def measured(client: httpx.Client, store: Store, url: str, sha256: str) -> tuple[str, int]:
    """The sha256 and the size in bytes of what is at `url`, which `store` has afterwards where the
    sha256 is the one that is wanted."""

    def once(partial: Path) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with client.stream("GET", url) as response, partial.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_bytes(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        return digest.hexdigest(), size

    wanted = Artifact(URL, url, "", "", 0, sha256)
    try:
        with store.incoming(wanted) as partial:
            found, size = persistently(lambda: once(partial), time.sleep)
            if found == sha256:
                store.keep(wanted, partial)
            return found, size
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if is_absence(error):
            hint = "correct the `archive` of the library in matrix.yaml"
            raise Absent(f"its server has no `{url}` ({said(error)})", hint=hint) from error
        message = f"`{url}` was not downloaded: {said(error)}"
        raise LookupFailed(message, hint=hint_of([error])) from error


@contextmanager
def http_client(origins: Origins | None = None) -> Iterator[httpx.Client]:
    """A client that reaches each server as apt and pip do on this machine."""
    from envmatrix.store.access import Route

    route = Route((origins or Origins()).access)
    timeout = httpx.Timeout(30, connect=10)
    with httpx.Client(transport=route, timeout=timeout, follow_redirects=True) as client:
        yield client
