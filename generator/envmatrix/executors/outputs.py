"""Outputs of jobs by content: what a job wrote, as an archive that is named by its sha256, in a
directory or in a repository of a registry. The record of a job has the digest of its outputs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Protocol

from envmatrix.confined import Area
from envmatrix.engine.tasks import Mount
from envmatrix.errors import Absent, EngineError
from envmatrix.executors.agent import CREATED, present_time
from envmatrix.executors.archives import digest_of_file, packed, unpack_into
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.registry.client import Registry

_TYPE = "application/vnd.envmatrix.outputs.v1"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
# How a place in a registry is written, and the beginning of the tags of outputs there.
SCHEME = "oci://"
OUTPUTS = "outputs-"
# How names of outputs in a directory end, after the sha256: it may have files of others.
SUFFIX = ".outputs"


class Outputs(Protocol):
    """Where outputs are kept."""

    def read(self, digest: str) -> AbstractContextManager[Path]:
        """Yield a file with an archive, which is not verified yet; LookupFailed without one."""

    def keep(self, archive: Path, digest: str) -> None:
        """Keep an archive."""


@dataclass(frozen=True, slots=True)
class DirectoryOutputs:
    """Outputs in a directory."""

    directory: Path

    @contextmanager
    def read(self, digest: str) -> Iterator[Path]:
        file = self._file(digest)
        if status_of(file) is None:
            raise Absent(f"`{self.directory}` does not have the outputs {digest}")
        yield file

    def keep(self, archive: Path, digest: str) -> None:
        file = self._file(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        with (
            archive.open("rb") as content,
            NamedTemporaryFile(dir=file.parent, delete=False) as scratch,
        ):
            shutil.copyfileobj(content, scratch)
        Path(scratch.name).replace(file)  # also one that is damaged

    def _file(self, digest: str) -> Path:
        return outputs_file(self.directory, digest.removeprefix("sha256:"))


def outputs_file(directory: Path, sha256: str) -> Path:
    """Return the place of outputs in a directory."""
    return directory / f"{sha256}{SUFFIX}"


def status_of(file: Path) -> os.stat_result | None:
    """Return the status of a file with outputs; None for all that `DirectoryOutputs` does not
    write, such as links, and for what cannot be seen."""
    try:
        status = file.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else None


@dataclass(frozen=True, slots=True)
class RegistryOutputs:
    """Outputs in a repository, each as an artifact that is tagged with its digest."""

    registry: Registry

    @contextmanager
    def read(self, digest: str) -> Iterator[Path]:
        with NamedTemporaryFile(prefix="envmatrix-outputs-") as file:
            for chunk in self.registry.stream(digest):
                file.write(chunk)
            file.flush()
            yield Path(file.name)

    def keep(self, archive: Path, digest: str) -> None:
        self.registry.put_file(archive, digest)
        layer = {"mediaType": _LAYER, "digest": digest, "size": archive.stat().st_size}
        tag = f"{OUTPUTS}{digest.removeprefix('sha256:')}"
        annotations = {CREATED: present_time()}
        manifest = self.registry.artifact(_TYPE, [layer], annotations=annotations)
        self.registry.put_manifest(tag, manifest)


@dataclass(frozen=True, slots=True)
class SeveralOutputs:
    """Outputs in several places: they are kept in the `first`, and read from any."""

    first: Outputs
    others: Sequence[Outputs] = ()

    @contextmanager
    def read(self, digest: str) -> Iterator[Path]:
        with ExitStack() as stack:
            yield self._entered(stack, digest)

    def _entered(self, stack: ExitStack, digest: str) -> Path:
        *places, last = (self.first, *self.others)
        for place in places:
            with suppress(Absent):
                return stack.enter_context(place.read(digest))
        return stack.enter_context(last.read(digest))

    def keep(self, archive: Path, digest: str) -> None:
        self.first.keep(archive, digest)


@contextmanager
def open_outputs(place: str) -> Iterator[Outputs]:
    """Yield the outputs in a directory, or in a repository that is written as `oci://NAME`."""
    if not place.startswith(SCHEME):
        yield DirectoryOutputs(Path(place))
        return
    from envmatrix.registry.client import open_registry

    with open_registry(place.removeprefix(SCHEME)) as registry:
        yield RegistryOutputs(registry)


def keep_outputs(outputs: Outputs, area: Area) -> str:
    """Keep the content of an area; return its digest, nothing for an empty area."""
    with packed(Mount(area, "/")) as archive:
        if archive is None:
            return ""
        digest = digest_of_file(archive)
        outputs.keep(archive, digest)
        return digest


def restore_outputs(outputs: Outputs, digest: str, area: Area) -> None:
    """Replace the content of an area by outputs, which are verified."""
    with outputs.read(digest) as archive:
        if digest_of_file(archive) != digest:
            raise EngineError(f"the outputs {digest} are damaged where they are kept")
        unpack_into(area, archive)
