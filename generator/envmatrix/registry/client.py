"""A registry of images, by the OCI distribution API: digests, manifests, and small blobs. Layers
are moved by the engine.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx

from envmatrix.errors import Absent, LookupFailed
from envmatrix.machine.http import GONE, basic_authorization, is_unreachable, retry_request
from envmatrix.parallel import run_parallel
from envmatrix.registry.manifests import EMPTY, INDEX, MANIFEST, Manifest, canonical, digest_of
from envmatrix.text import redacted

_Result = TypeVar("_Result")

_DOCKER = "application/vnd.docker.distribution.manifest"
_MANIFESTS = ", ".join((INDEX, MANIFEST, f"{_DOCKER}.list.v2+json", f"{_DOCKER}.v2+json"))

_JOBS = 8
_CHUNK = 1 << 20

# More references than `_FEW` are looked up in the list of tags, by `_PAGES` pages of `_TAGS` tags.
_FEW, _TAGS, _PAGES = 16, 1000, 10
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_CERTIFICATES = Path("/etc/docker/certs.d")


def credentials_of_docker(host: str) -> Mapping[str, str] | None:
    """Return the login of `docker login` for `host`, also from a credential helper, if any."""
    from docker import auth  # 0.2 s that only a registry which asks pays

    account = auth.load_config().resolve_authconfig(host)
    return {key.lower(): str(value) for key, value in account.items() if value} if account else None


class Registry:
    """One repository of a registry. LookupFailed where it does not answer, or refuses.

    `sleep` is the pause between attempts, in seconds; there is one attempt to connect to a registry
    that `is_optional`. Requests are idempotent: everything is named
    by its content.
    """

    def __init__(
        self,
        repository: str,
        client: httpx.Client,
        credentials: Callable[[str], Mapping[str, str] | None] = credentials_of_docker,
        sleep: Callable[[float], None] = time.sleep,
        *,
        is_optional: bool = False,
    ) -> None:
        self.host, _, self._name = repository.partition("/")
        self.repository = repository
        # For messages: `redacted` recognizes a password in a URL only.
        self._shown = redacted(f"oci://{repository}").removeprefix("oci://")
        self._client = client
        self._credentials = credentials
        self._sleep = sleep
        self._is_optional = is_optional
        self._authorization: str | None = None
        self._base: str | None = None
        self._connecting = threading.Lock()

    def digests(self, references: Sequence[str]) -> dict[str, str]:
        """Return tag or digest -> digest of the existing `references`, looked up in parallel."""
        digests = run_parallel(self.digest, references, _JOBS)
        return {name: digest for name, digest in zip(references, digests, strict=True) if digest}

    def digests_of(self, tags: Mapping[str, str], *, is_its_own: bool) -> dict[str, str]:
        """Return tag -> digest of existing `tags`: tag -> its digest, or the tag where unknown.

        Many tags are checked by the list of tags; only tags without a digest are looked up then,
        and, without `is_its_own`, digests, which may not be of this repository.
        """
        listed = self.tags() if len(tags) > _FEW else None
        confirmed: dict[str, str] = {}
        unsure: dict[str, str] = {}
        for tag, reference in tags.items():
            if is_its_own and listed and tag in listed and reference != tag:
                confirmed[tag] = reference
            elif listed is None or tag in listed or reference != tag:
                unsure[tag] = reference
        digests = self.digests([*unsure.values()])
        return confirmed | {tag: digests[name] for tag, name in unsure.items() if name in digests}

    def digest(self, reference: str) -> str | None:
        """Return the digest of a tag or digest; None where it does not exist."""
        response = self._ask("HEAD", f"manifests/{reference}", headers={"Accept": _MANIFESTS})
        if response.status_code in GONE:
            return None
        header = response.headers.get("Docker-Content-Digest", "")
        if _DIGEST.fullmatch(header):
            return str(header)
        manifest = self.manifest(reference)
        return manifest.digest if manifest and manifest.document else None

    def manifest(self, reference: str) -> Manifest | None:
        """Return the manifest of a tag or digest, verified for a digest; None where it does not
        exist."""
        digest = reference if reference.startswith("sha256:") else None
        return self._read(f"manifests/{reference}", digest, headers={"Accept": _MANIFESTS})

    def tags(self, pages: int = _PAGES) -> frozenset[str] | None:
        """Return all tags; None where the registry does not list them, or has more pages."""
        tags: set[str] = set()
        url = self._retry(lambda: httpx.URL(f"{self._root()}/tags/list", params={"n": _TAGS}))
        for _ in range(pages):
            try:
                response = self._retry(partial(self._once, "GET", url))
            except LookupFailed as error:
                if isinstance(error.__cause__, httpx.HTTPStatusError):
                    return None
                raise
            if response.status_code in GONE:
                return frozenset(tags)  # nothing was ever pushed
            page = _answer(response)
            tags.update(page.read(lambda document: [str(tag) for tag in document["tags"] or ()]))
            if "next" not in response.links:
                return frozenset(tags)
            url = url.join(response.links["next"]["url"])
        return None

    def blob(self, digest: str) -> bytes:
        """Return the bytes of a small blob."""
        blob = self._read(f"blobs/{digest}", digest)
        if blob is None:
            raise Absent(f"`{self._shown}` has no blob {digest}")
        return blob.content

    def _read(self, path: str, digest: str | None, **options: Any) -> Manifest | None:
        """Return what is at `path`, verified by its `digest`, or by the one of the response; None
        where nothing is."""

        def read() -> Manifest | None:
            response = self._once("GET", f"{self._root()}/{path}", **options)
            if response.status_code in GONE:
                return None
            answer = _answer(response)
            expected = digest or response.headers.get("Docker-Content-Digest")
            if expected and expected != answer.digest:
                raise httpx.RemoteProtocolError(f"gave {answer.digest} for {expected}")
            return answer

        return self._retry(read)

    def has_blob(self, digest: str) -> bool:
        return self._ask("HEAD", f"blobs/{digest}").status_code == httpx.codes.OK

    def stream(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of a blob of any size, unverified; Absent where it does not exist."""
        if not self.has_blob(digest):  # this also authorises the next request
            raise Absent(f"`{self._shown}` has no blob {digest}")
        headers = {"Authorization": self._authorization} if self._authorization else {}
        with self._client.stream(
            "GET", f"{self._root()}/blobs/{digest}", headers=headers
        ) as response:
            response.raise_for_status()
            yield from response.iter_bytes(_CHUNK)

    def put_manifest(self, reference: str, manifest: Manifest) -> httpx.Response:
        """Put `manifest` under a tag or its digest; the blobs that it names have to exist."""
        headers = {"Content-Type": manifest.media_type}

        def put() -> httpx.Response:
            url = f"{self._root()}/manifests/{reference}"
            return self._once("PUT", url, headers=headers, content=manifest.content)

        return self._retry(put, is_transient=_is_unsettled)

    def delete_manifest(self, digest: str) -> None:
        """Delete a manifest with all its tags, unless it is gone."""
        try:
            self._ask("DELETE", f"manifests/{digest}")
        except Absent:
            return
        except LookupFailed as error:
            if _status_of(error) != httpx.codes.METHOD_NOT_ALLOWED:
                raise
            message = f"the registry `{self.host}` does not delete manifests"
            hint = "its administrator has to allow that, or to delete tags by their age"
            raise LookupFailed(message, hint=hint) from error

    def put_blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Put `content` unless it exists; return its descriptor."""
        digest = digest_of(content)
        if not self.has_blob(digest):
            self._retry(lambda: self._upload(digest, content))
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def put_file(self, file: Path, digest: str) -> None:
        """Put the content of `file`, of any size, under its `digest` unless it exists."""

        def upload() -> None:
            with file.open("rb") as content:
                self._upload(digest, content)

        if not self.has_blob(digest):
            self._retry(upload)

    def _upload(self, digest: str, content: bytes | BinaryIO) -> None:
        root = f"{self._root()}/"
        location = self._once("POST", f"{root}blobs/uploads/").headers["Location"]
        url = httpx.URL(root).join(location).copy_merge_params({"digest": digest})
        self._once("PUT", url, content=content)

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Return descriptors of the referrers of `digest`: by the API, else by the fallback tag."""
        response = self._ask("GET", f"referrers/{digest}")
        if response.status_code == httpx.codes.OK:
            index: Manifest | None = _answer(response)
        else:
            index = self.manifest(digest.replace(":", "-"))
        return index.descriptors("manifests") if index else []

    def artifact(
        self, artifact_type: str, layers: Sequence[Mapping[str, Any]], **parts: object
    ) -> Manifest:
        """Return the manifest of an artifact with `layers`, which has no configuration."""
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": self.put_blob(b"{}", EMPTY),
            "layers": layers,
            **parts,
        }
        return Manifest(MANIFEST, canonical(document))

    def attach(self, subject: Mapping[str, Any], artifact_type: str, content: bytes) -> str:
        """Put `content` as a referrer of the descriptor `subject`; return its digest."""
        layers = [self.put_blob(content, artifact_type)]
        manifest = self.artifact(artifact_type, layers, subject=dict(subject))
        response = self.put_manifest(manifest.digest, manifest)
        if "OCI-Subject" not in response.headers:
            self._refer_by_tag(str(subject["digest"]), manifest, artifact_type)
        return manifest.digest

    def _refer_by_tag(self, digest: str, manifest: Manifest, artifact_type: str) -> None:
        """Update the fallback tag, as specified for registries without the referrers API."""
        row = {**manifest.descriptor, "artifactType": artifact_type}
        others = [other for other in self.referrers(digest) if other["digest"] != manifest.digest]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, row]}
        self.put_manifest(digest.replace(":", "-"), Manifest(INDEX, canonical(document)))

    def _retry(
        self,
        action: Callable[[], _Result],
        is_transient: Callable[[Exception], bool] = lambda _: False,
    ) -> _Result:
        def attempt() -> _Result:
            try:
                return action()
            except httpx.TransportError as error:
                if self._is_optional and is_unreachable(error):
                    raise self._lookup_error(error) from error
                raise

        try:
            return retry_request(attempt, self._sleep, is_transient)
        except (httpx.HTTPError, httpx.InvalidURL, KeyError) as error:
            raise self._lookup_error(error) from error

    def _lookup_error(self, error: Exception) -> LookupFailed:
        host, _, name = self._shown.partition("/")
        if isinstance(error, httpx.HTTPStatusError):
            status = error.response.status_code
            if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
                hint = f"log in: `docker login {host.rpartition('@')[2]}`"
                return LookupFailed(f"`{self._shown}` refuses access ({status})", hint=hint)
            if status in GONE:
                hint = "is its name right? some registries want one made before it is pushed to"
                return Absent(f"the registry `{host}` has no repository `{name}`", hint=hint)
            details = error.response.text.splitlines()[:5]
            return LookupFailed(f"`{self._shown}` answers {status}", details=details)
        return LookupFailed(
            f"the registry `{host}` does not answer as it should: {error}",
            hint="is it reachable from here? what it already has is not lost",
        )

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the response of an idempotent request, repeated on errors."""
        return self._retry(lambda: self._once(method, f"{self._root()}/{path}", **options))

    def _once(self, method: str, url: str | httpx.URL, **options: Any) -> httpx.Response:
        """Return the response, authorised if needed; `not found` is one for GET and HEAD."""
        response = self._send(method, url, **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            with self._connecting:
                self._authorization = self._authorize(response)
            response = self._send(method, url, **options)
        if response.status_code not in GONE or method not in {"GET", "HEAD"}:
            response.raise_for_status()
        return response

    def _send(self, method: str, url: str | httpx.URL, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if self._authorization:
            headers["Authorization"] = self._authorization
        return self._client.request(method, url, headers=headers, **options)

    def _root(self) -> str:
        with self._connecting:
            if self._base is None:
                self._base = f"{self._scheme()}://{self.host}/v2"
        return f"{self._base}/{self._name}"

    def _scheme(self) -> str:
        """Return https; on loopback, like Docker, http where the server does not use TLS."""
        if not is_loopback(self.host):
            return "https"
        response = self._client.get(f"http://{self.host}/v2/")
        is_tls = response.status_code == httpx.codes.BAD_REQUEST and b"HTTPS" in response.content
        return "https" if is_tls else "http"

    def _authorize(self, response: httpx.Response) -> str:
        """Return the value of the `Authorization` header for a challenge.

        https://distribution.github.io/distribution/spec/auth/token/
        """
        challenge = response.headers.get("WWW-Authenticate", "")
        account = self._credentials(self.host)
        if not challenge.lower().startswith("bearer"):
            if account is None:
                response.raise_for_status()
            return _basic(account or {})
        words = dict(_CHALLENGE.findall(challenge))
        query = {key: words[key] for key in ("service", "scope") if key in words}
        if account and "identitytoken" in account:
            form = {**query, "grant_type": "refresh_token", "client_id": "envmatrix"}
            form["refresh_token"] = account["identitytoken"]
            granted = self._client.post(words["realm"], data=form)
        else:
            headers = {"Authorization": _basic(account)} if account else {}
            granted = self._client.get(words["realm"], params=query, headers=headers)
        granted.raise_for_status()
        token = _answer(granted).read(
            lambda document: document.get("token") or document["access_token"]
        )
        return f"Bearer {token}"


def _is_unsettled(error: Exception) -> bool:
    """Return whether a registry misses a blob of a manifest: a registry on files may not see it yet
    while another client puts the same blob."""
    text = error.response.text if isinstance(error, httpx.HTTPStatusError) else ""
    return "MANIFEST_BLOB_UNKNOWN" in text


def _status_of(error: LookupFailed) -> int | None:
    """Return the status of the response that caused an error, if any."""
    cause = error.__cause__
    return cause.response.status_code if isinstance(cause, httpx.HTTPStatusError) else None


def _answer(response: httpx.Response) -> Manifest:
    return Manifest(response.headers.get("Content-Type", ""), response.content)


def is_loopback(host: str) -> bool:
    """Return whether `host`, with or without a port, is this machine."""
    name = host.rsplit(":", 1)[0].strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _basic(account: Mapping[str, str]) -> str:
    return basic_authorization(account.get("username", ""), account.get("password", ""))


@contextmanager
def open_registry(repository: str, *, is_optional: bool = False) -> Iterator[Registry]:
    """Yield a client with the trusted certificates of this machine and its engine."""
    timeout = httpx.Timeout(30, connect=5)
    verify = _trust(repository.partition("/")[0])
    with httpx.Client(verify=verify, timeout=timeout, follow_redirects=True) as client:
        yield Registry(repository, client, is_optional=is_optional)


def _trust(host: str) -> ssl.SSLContext | bool:
    """Return the TLS settings for a host, with Docker's certificates for it.

    https://docs.docker.com/engine/security/certificates/
    """
    if is_loopback(host):
        return False  # as Docker does: nobody is between this machine and itself
    context = ssl.create_default_context()
    for certificate in sorted((_CERTIFICATES / host).glob("*.crt")):
        context.load_verify_locations(certificate)
    return context
