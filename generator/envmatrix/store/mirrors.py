"""Mirrors: a directory, or a repository of a registry, with files by their sha256. On a machine
without a network, a mirror is the only source.

A mirror has the files of a lock, and the layers of its bases, which are files as well.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from envmatrix.errors import Absent, ConfigurationError
from envmatrix.files import open_regular
from envmatrix.machine.configuration import configured_mirror, user_configuration
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.records import dataclass
from envmatrix.registry.client import Registry, open_registry
from envmatrix.store.artifacts import Content, Store, link_or_copy
from envmatrix.store.downloads import Fetcher, Mirror
from envmatrix.store.outages import Outages

SCHEME = "oci://"

_CHUNK = 1 << 20
_FILE = "application/vnd.envmatrix.file"
_FILES = "application/vnd.envmatrix.files"


@dataclass(frozen=True, slots=True)
class DirectoryMirror:
    """A mirror with the layout of the artifact store."""

    store: Store

    def read(self, sha256: str) -> Iterator[bytes]:
        try:
            with open_regular(self.store.path_of(sha256)) as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except FileNotFoundError as error:
            raise Absent(f"`{self.store.root}` does not have it") from error
        except OSError as error:  # a server has the file perhaps
            reason = (error.strerror or str(error)).lower()
            raise Absent(f"`{self.store.root}` has no readable file: {reason}") from error

    def has(self, content: Content) -> bool:
        return self.store.is_right(content)

    def put(self, content: Content, file: Path) -> None:
        with self.store.incoming(content) as partial:
            link_or_copy(file, partial)
            self.store.keep(content, partial)

    def name(self, group: Sequence[Content]) -> None:
        """Do nothing: directories have no garbage collection."""


@dataclass(frozen=True, slots=True)
class RegistryMirror:
    """A mirror in a registry: files are blobs, and a manifest for each group references them."""

    registry: Registry

    def read(self, sha256: str) -> Iterator[bytes]:
        return self.registry.stream(f"sha256:{sha256}")

    def has(self, content: Content) -> bool:
        return self.registry.has_blob(f"sha256:{content.sha256}")

    def put(self, content: Content, file: Path) -> None:
        self.registry.put_file(file, f"sha256:{content.sha256}")

    def name(self, group: Sequence[Content]) -> None:
        """Protect the files of `group` from garbage collection."""
        files = sorted(group, key=lambda content: content.sha256)
        manifest = self.registry.artifact(_FILES, [_descriptor(content) for content in files])
        names = "".join(content.sha256 for content in files)
        tag = f"files-{hashlib.sha256(names.encode()).hexdigest()[:32]}"
        self.registry.put_manifest(tag, manifest)


def _descriptor(content: Content) -> Mapping[str, object]:
    return {
        "mediaType": _FILE,
        "digest": f"sha256:{content.sha256}",
        "size": content.size,
        "annotations": {"org.opencontainers.image.title": content.filename},
    }


WritableMirror = DirectoryMirror | RegistryMirror


@dataclass(frozen=True, slots=True)
class OptionalMirror:
    """A mirror to read from, at `location`, until it cannot be reached."""

    mirror: WritableMirror
    location: str
    outages: Outages

    def read(self, sha256: str) -> Iterator[bytes]:
        with self.outages.reaching(self.location):
            yield from self.mirror.read(sha256)


@contextmanager
def open_mirror(location: str, *, is_optional: bool = False) -> Iterator[WritableMirror]:
    """Yield the mirror at `location`: a directory, or `oci://` and a repository. There is one
    attempt to connect to a mirror that `is_optional`, as that of the user, which is only read: a
    directory must exist then."""
    hint = f"write a directory, or `{SCHEME}registry.example/team/files`"
    if is_optional:
        hint += f", in $ENVMATRIX_MIRROR or as `mirror` in `{user_configuration()}`"
    if location.startswith(SCHEME):
        repository = location.removeprefix(SCHEME)
        if "/" not in repository.strip("/"):
            raise ConfigurationError(f"`{location}` names no repository", hint=hint)
        with open_registry(repository, is_optional=is_optional) as client:
            yield RegistryMirror(client)
    elif not location or "://" in location:
        message = f"the mirror `{location}` is neither a directory nor `{SCHEME}`"
        raise ConfigurationError(message, hint=hint)
    else:
        directory = Path(location).expanduser()
        present = directory if is_optional else _nearest_present(directory)
        if not os.path.isdir(present):  # noqa: PTH112 -- without permission, `Path` raises an error
            reason = "" if present == directory else f": `{present}` is none"
            raise ConfigurationError(f"the mirror `{location}` is no directory{reason}", hint=hint)
        yield DirectoryMirror(Store(directory))


def _nearest_present(path: Path) -> Path:
    """Return the path, or the nearest one above it, at which there is anything."""
    return next(above for above in (path, *path.parents) if os.path.lexists(above))


@contextmanager
def mirror_of_user(outages: Outages) -> Iterator[Mirror | None]:
    """Yield the mirror of $ENVMATRIX_MIRROR, else of the user's configuration, if any."""
    location = os.environ.get("ENVMATRIX_MIRROR") or configured_mirror(user_configuration())
    if location is None:
        yield None
        return
    with open_mirror(location, is_optional=True) as mirror:
        yield OptionalMirror(mirror, location, outages)


@contextmanager
def fetcher_of_user(warn: Callable[[str], None], epoch: int | None = None) -> Iterator[Fetcher]:
    """Yield a fetcher with the store, the origins and the mirror of this user, for a lock of this
    epoch."""
    origins, outages, store = Origins(), Outages.of_process(warn), Store.of_user()
    with http_client(origins) as client, mirror_of_user(outages) as mirror:
        yield Fetcher(store, origins, client, mirror=mirror, epoch=epoch, outages=outages)
