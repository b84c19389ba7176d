"""Downloads: files are verified against the lock before they get a name in the store. Errors name
the files that are gone, and the servers that were tried."""

from __future__ import annotations

import functools
import hashlib
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import field, replace
from itertools import chain
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

import httpx

from envmatrix.console import Advance, Meter
from envmatrix.deb822 import dpkg_key
from envmatrix.errors import Absent, LookupFailed
from envmatrix.files import naming
from envmatrix.lock.model import URL, Artifact, Excerpt, Range, StageFile
from envmatrix.machine.configuration import PYPI
from envmatrix.machine.http import (
    FailedAttempts,
    WrongContent,
    hint_of,
    is_absence,
    message_of,
    read_body,
    retry_request,
    stream_range,
)
from envmatrix.machine.origins import Origins
from envmatrix.parallel import INTERRUPTION, run_parallel
from envmatrix.records import dataclass
from envmatrix.store.artifacts import Content, Store, sha256_of
from envmatrix.store.excerpts import cut_ranges, is_complete, make_excerpt, missing_size
from envmatrix.store.outages import Attempt, NoConnection, Outages
from envmatrix.store.package_index import PackageIndexes
from envmatrix.text import number_of

# Connections of one download.
JOBS = 6
_CHUNK = 1 << 20
# Characters of paths that URLs have as they are.
_SAFE = "/~+:"
# The limit of a directory listing in memory, in bytes.
_MOST_OF_A_LISTING = 1 << 22
# The limit of requests for parts of a remote file.
_MOST_READS = 64
# How many locations an error shows of many files.
_SHOWN = 3
_MIRROR = "the mirror"

# Begins to read a file.
_Read = Callable[[], Iterator[bytes]]
# Where a file may be, and a function that reads it there.
_Source = tuple[str, _Read]


class Mirror(Protocol):
    """A source of bytes by sha256 (hex), unverified; LookupFailed where it does not have them."""

    def read(self, sha256: str) -> Iterator[bytes]: ...


@dataclass(slots=True)
class RemoteFile:
    """A file of `size` bytes on a server, read in a few ranges, each in an `attempt`. Nothing
    verifies what it reads; WrongContent after more reads than the index or the directory of an
    archive takes."""

    client: httpx.Client
    url: str
    size: int
    attempt: Attempt = nullcontext
    reads: int = 0

    def read(self, offset: int, size: int) -> bytes:
        if size == 0:
            return b""
        self.reads += 1
        if self.reads > _MOST_READS:
            raise WrongContent(f"more than {_MOST_READS} ranges of it are needed")
        with self.attempt():
            content = b"".join(stream_range(self.client, self.url, (offset, size), self.size))
        if len(content) < size:
            raise httpx.RemoteProtocolError(f"ended after {len(content)} of {size} bytes")
        return content


class Stopped(Exception):
    """The download was cancelled because another one failed."""


@dataclass(eq=False)
class Fetcher:
    """Downloads files to `store` from the origins of this machine.

    `sleep` is the pause between attempts, in seconds; `epoch` is that of the lock, for servers of
    snapshots.
    """

    store: Store
    origins: Origins
    client: httpx.Client
    sleep: Callable[[float], None] = time.sleep
    mirror: Mirror | None = None
    epoch: int | None = None
    outages: Outages = field(default_factory=Outages)

    def fetch(self, files: Sequence[StageFile], progress: Meter) -> None:
        """Download all `files` that the store lacks, verified. LookupFailed names all files
        that are gone; it is raised at once where a server cannot be reached. Several threads may
        download at once.

        Of an excerpt, only ranges are downloaded. Where that is not possible, the store has the
        whole file instead of it.
        """
        stored = run_parallel(self._is_stored, files, JOBS)
        missing = [item for item, is_stored in zip(files, stored, strict=True) if not is_stored]
        total = sum(missing_size(self.store, item) for item in missing)
        with progress.task("download", total=total, unit="bytes") as advance:
            transfer = _Transfer(advance)
            results = run_parallel(
                lambda item: self._fetch_one(item, transfer),
                missing,
                JOBS,
                on_failure=lambda _: transfer.failure.set(),
            )
        whole = [item.artifact if isinstance(item, Excerpt) else item for item in missing]
        if gone := {item: tried for item, tried in zip(whole, results, strict=True) if tried}:
            raise _absence_error(gone, {item: self._newest_version(item) for item in gone})

    def require(self, artifact: Artifact) -> None:
        """Raise LookupFailed if neither the store nor the mirror nor a server has a file, whose
        index lists it."""
        if self.store.verified(artifact):
            return
        failed = FailedAttempts()
        for location, chunks in chain(self._mirrored(artifact), self._on_servers(artifact, failed)):
            try:
                retry_request(functools.partial(_begin, chunks), self.sleep)
            except (WrongContent, httpx.HTTPError, httpx.InvalidURL, LookupFailed) as error:
                failed.add(location, error)
            else:
                return
        if hint := hint_of(failed.errors):
            message = f"{_describe(artifact)} cannot be read"
            raise LookupFailed(message, details=failed.details, hint=hint)
        raise Absent(
            f"no server has {_describe(artifact)}, which its index lists",
            details=failed.details,
            hint=f"name a mirror that has it under [mirrors] {artifact.origin} in your "
            "configuration, or take another version",
        )

    def _is_stored(self, file: StageFile) -> bool:
        if isinstance(file, Excerpt):
            return is_complete(self.store, file)
        return self.store.verified(file)

    def _fetch_one(self, file: StageFile, transfer: _Transfer) -> FailedAttempts | None:
        """Return the attempts where no server has the file, although all answered."""
        transfer = replace(transfer, item=_filename(file))
        if isinstance(file, Excerpt):
            return self._fetch_excerpt(file, transfer)
        return self._fetch_whole(file, transfer)

    def _fetch_whole(self, artifact: Artifact, transfer: _Transfer) -> FailedAttempts | None:
        failed = FailedAttempts()
        sources = chain(self._mirrored(artifact), self._on_servers(artifact, failed))
        if self._download(artifact, sources, failed, transfer):
            return None
        if hint := hint_of(failed.errors):
            message = f"{_describe(artifact)} was not downloaded"
            raise LookupFailed(message, details=failed.details, hint=hint)
        return failed

    def _fetch_excerpt(self, excerpt: Excerpt, transfer: _Transfer) -> FailedAttempts | None:
        """Make an excerpt of ranges. Where the store has the whole file, or gets it because there
        are no such ranges, they are cut from it; an excerpt that it does not have is not made."""
        artifact = excerpt.artifact
        if not self.store.verified(artifact):
            if self._fetch_ranges(excerpt, transfer) and make_excerpt(self.store, excerpt):
                return None
            if failed := self._fetch_whole(artifact, transfer):
                return failed
        if cut_ranges(self.store, excerpt):
            make_excerpt(self.store, excerpt)
        return None

    def _fetch_ranges(self, excerpt: Excerpt, transfer: _Transfer) -> bool:
        """Download the ranges that the store lacks, and return whether it has all then. A mirror
        that has the whole file instead is preferred to servers."""
        artifact, failed = excerpt.artifact, FailedAttempts()

        def has_all(sources_of: Callable[[Range], Iterable[_Source]]) -> bool:
            return all(
                self.store.verified(part)
                or self._download(part, sources_of(part), failed, transfer)
                for part in excerpt.ranges
            )

        if has_all(self._mirrored):
            return True
        if self._download(artifact, self._mirrored(artifact), failed, transfer):
            return False
        return has_all(
            lambda part: chain(self._mirrored(part), self._on_servers(artifact, failed, part))
        )

    def _download(
        self,
        content: Content,
        sources: Iterable[_Source],
        failed: FailedAttempts,
        transfer: _Transfer,
    ) -> bool:
        """Store the right bytes from the first of `sources` with them; return whether one has."""
        with self.store.incoming(content) as partial:
            if self.store.holds(content):
                transfer.advance(content.size, transfer.item)
                return True
            for location, chunks in sources:
                try:
                    self._take(chunks, content, partial, transfer)
                except (WrongContent, httpx.HTTPError, httpx.InvalidURL, LookupFailed) as error:
                    is_fatal = isinstance(error, LookupFailed) and location != _MIRROR
                    if is_fatal and not isinstance(error, NoConnection):
                        raise  # no server is reached in the configured way
                    failed.add(location, error)
                else:
                    self.store.keep(content, partial)
                    return True
        return False

    def _mirrored(self, content: Content) -> Iterable[_Source]:
        if self.mirror:
            yield _MIRROR, functools.partial(self.mirror.read, content.sha256)

    def _on_servers(
        self, artifact: Artifact, failed: FailedAttempts, part: Range | None = None
    ) -> Iterable[_Source]:
        for url, attempt in self._locations(artifact, failed):
            read: _Read = functools.partial(_stream, self.client, url)
            if part:
                read = functools.partial(stream_range, self.client, url, part.span, artifact.size)
            yield url, functools.partial(_within, attempt, read)

    def _locations(
        self, artifact: Artifact, failed: FailedAttempts
    ) -> Iterator[tuple[str, Attempt]]:
        """Yield the URLs of a file, each with the context of an attempt to read it there."""
        origin = artifact.origin
        if origin == URL:
            yield artifact.path, nullcontext
            return
        path = quote(artifact.path, safe=_SAFE)
        bases = self.origins.files(origin)
        for base, attempt in self.outages.attempts(bases, has_others=origin == PYPI):
            yield f"{base}/{path}", attempt
        if origin == PYPI:
            try:
                yield self.package_indexes.entry(artifact)[0], nullcontext
            except LookupFailed as error:
                failed.add("", error)
        elif self.epoch is not None:
            for base in self.origins.snapshots(origin, self.epoch):
                yield f"{base}/{path}", nullcontext

    def remote_files(self, artifact: Artifact) -> Iterator[RemoteFile]:
        """Yield a file where it probably is on servers, the likeliest first; reading it raises
        NoConnection where others follow."""
        for url, attempt in self._locations(artifact, FailedAttempts()):
            yield RemoteFile(self.client, url, artifact.size, attempt)

    @property
    def package_indexes(self) -> PackageIndexes:
        return PackageIndexes(self.client, self.origins.pypi_indexes, self.outages)

    def _newest_version(self, artifact: Artifact) -> str:
        """Return the newest version of a package that its origin has now; empty where unknown."""
        if artifact.origin == URL:
            return ""
        try:
            if artifact.origin == PYPI:
                files = self.package_indexes.files(artifact.name)
                words = (file.name.split("-") for file in files)
                return _newest(parts[1] for parts in words if parts[2:])
            folder = quote(artifact.path.rpartition("/")[0], safe=_SAFE)
            bases = self.origins.files(artifact.origin)
            base, attempt = next(self.outages.attempts(bases))
            with attempt():
                _, page = read_body(self.client, f"{base}/{folder}/", most=_MOST_OF_A_LISTING)
        except (LookupFailed, httpx.HTTPError, httpx.InvalidURL, WrongContent):
            return ""
        pattern = rf'href="(?:[^"]*/)?{re.escape(artifact.name)}_([^_"/]+)_[^"/]*\.deb"'
        return _newest(
            unquote(version) for version in re.findall(pattern, page.decode("utf-8", "replace"))
        )

    def _take(
        self,
        chunks: Callable[[], Iterator[bytes]],
        content: Content,
        partial: Path,
        transfer: _Transfer,
    ) -> None:
        def once() -> None:
            received = 0
            transfer.check()
            transfer.advance(0, transfer.item)
            parts = _write(chunks(), content, partial)
            try:
                for count in parts:
                    received += count
                    transfer.advance(count, transfer.item)
                    transfer.check()
            except (WrongContent, httpx.HTTPError):
                transfer.advance(-received)
                raise
            finally:
                with suppress(OSError):  # of a full disk, once the file does not count any more
                    parts.close()

        retry_request(once, self.sleep)


@dataclass(frozen=True, slots=True)
class _Transfer:
    """What the files of one download have in common: their progress, and whether one failed; and
    the name of one of them."""

    advance: Advance
    item: str = ""
    failure: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise an error if the download has to end."""
        if INTERRUPTION.is_set:
            raise KeyboardInterrupt
        if self.failure.is_set():
            raise Stopped


def _write(chunks: Iterator[bytes], content: Content, partial: Path) -> Generator[int, None, None]:
    """Write the bytes of a file, and yield the number of each part; raise WrongContent if they are
    not those of the lock."""
    digest = hashlib.sha256()
    received = 0
    with naming(partial), partial.open("wb") as file:
        for chunk in chunks:
            received += len(chunk)
            if received > content.size:
                raise WrongContent(f"more than the {content.size} bytes that the lock names")
            digest.update(chunk)
            file.write(chunk)
            yield len(chunk)
    if received < content.size:
        raise httpx.RemoteProtocolError(f"ended after {received} of {content.size} bytes")
    if digest.hexdigest() != content.sha256:
        raise WrongContent(f"its sha256 is {digest.hexdigest()}, the lock names {content.sha256}")


def _begin(read: _Read) -> None:
    """Read the beginning of a file."""
    chunks = read()
    next(chunks, b"")
    if isinstance(chunks, Generator):
        chunks.close()


def _within(attempt: Attempt, read: _Read) -> Iterator[bytes]:
    with attempt():
        yield from read()


def _stream(client: httpx.Client, url: str) -> Iterator[bytes]:
    with client.stream("GET", url) as response:
        response.raise_for_status()
        yield from response.iter_bytes(_CHUNK)


def _newest(versions: Iterable[str]) -> str:
    """Return the newest of Debian's versions; empty for none."""
    return max(versions, key=dpkg_key, default="")


def _absence_error(
    gone: Mapping[Artifact, FailedAttempts], offers: Mapping[Artifact, str]
) -> Absent:
    """Return one error for all files that are gone, with the versions that are offered now."""
    first, *others = sorted(gone)
    if not others:
        now = f" ({offers[first]})" if offers[first] else ""
        return Absent(
            f"no server has {_describe(first)} any more",
            details=gone[first].details,
            hint=_hint([first], f"version now offered{now}"),
        )
    details = [
        f"`{item.name}` {item.version}"
        + (f"; {offers[item]} is offered now" if offers[item] else "")
        for item in (first, *others)
    ]
    locations = dict.fromkeys(place for item in sorted(gone) for place in gone[item].directories)
    details += [f"looked for in {location}" for location in [*locations][:_SHOWN]]
    message = f"no server has {number_of(len(gone), 'file')} of the lock any more"
    return Absent(message, details=details, hint=_hint([first, *others], "versions now offered"))


def _filename(file: StageFile) -> str:
    return (file.artifact if isinstance(file, Excerpt) else file).filename


def _describe(artifact: Artifact) -> str:
    return f"`{artifact.filename}` ({artifact.size} bytes)"


def _hint(artifacts: Sequence[Artifact], what: str) -> str:
    names = dict.fromkeys(item.name for item in artifacts if item.origin != URL)
    if not names:
        return "is its `archive` in matrix.yaml still right? $ENVMATRIX_MIRROR may have a copy"
    return (
        f"take the {what}: `envmatrix lock --upgrade {' '.join(names)}`; or "
        f"name a mirror that keeps old versions under [mirrors] {artifacts[0].origin} in your "
        "configuration, or a server of snapshots in apt's (Acquire::Snapshots::URI)"
    )


def measure_download(client: httpx.Client, store: Store, url: str, sha256: str) -> tuple[str, int]:
    """Return the sha256 and the size in bytes of the file at `url`; keep it in `store` where it has
    the expected `sha256`."""

    def once(partial: Path) -> None:
        with naming(partial), partial.open("wb") as file:
            file.writelines(_stream(client, url))

    artifact = Artifact(URL, url, "", "", 0, sha256)
    try:
        with store.incoming(artifact) as partial:
            retry_request(lambda: once(partial), time.sleep)
            actual, size = sha256_of(partial), partial.stat().st_size
            if actual == sha256:
                store.keep(artifact, partial)
            return actual, size
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if is_absence(error):
            hint = "correct the `archive` of the library in matrix.yaml"
            raise Absent(f"its server has no `{url}` ({message_of(error)})", hint=hint) from error
        message = f"`{url}` was not downloaded: {message_of(error)}"
        raise LookupFailed(message, hint=hint_of([error])) from error
