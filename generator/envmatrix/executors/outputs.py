"""Outputs of jobs by content: what a job wrote, as an archive that is named by its sha256, in a
directory or in a repository of a registry. The name of a job leads to that of its outputs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol

from envmatrix.confined import Area
from envmatrix.engine.tasks import Mount
from envmatrix.errors import EngineError
from envmatrix.executors.archives import digest_of_file, packed, unpack_into
from envmatrix.files import readable_text, write_whole
from envmatrix.registry.client import Registry, open_registry

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TYPE = "application/vnd.envmatrix.outputs.v1"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
# How a place in a registry is written.
SCHEME = "oci://"


class Outputs(Protocol):
    """Where outputs are kept."""

    def find(self, job: str) -> str | None:
        """Return the digest of the outputs of a job."""

    def read(self, digest: str) -> AbstractContextManager[Path]:
        """Yield a file with an archive, which is not verified yet."""

    def keep(self, job: str, archive: Path, digest: str) -> None:
        """Keep an archive as the outputs of a job."""


@dataclass(frozen=True, slots=True)
class DirectoryOutputs:
    """Outputs in a directory: files by digest, and one with a digest for each job."""

    directory: Path

    def find(self, job: str) -> str | None:
        digest = readable_text(self._name(job)).strip()
        return digest if _DIGEST.fullmatch(digest) and self._file(digest).is_file() else None

    @contextmanager
    def read(self, digest: str) -> Iterator[Path]:
        yield self._file(digest)

    def keep(self, job: str, archive: Path, digest: str) -> None:
        file = self._file(digest)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with (
                archive.open("rb") as content,
                NamedTemporaryFile(dir=file.parent, delete=False) as scratch,
            ):
                shutil.copyfileobj(content, scratch)
            Path(scratch.name).replace(file)
        write_whole(self._name(job), f"{digest}\n".encode())

    def _file(self, digest: str) -> Path:
        return self.directory / "sha256" / digest.removeprefix("sha256:")

    def _name(self, job: str) -> Path:
        return self.directory / "jobs" / job


@dataclass(frozen=True, slots=True)
class RegistryOutputs:
    """Outputs in a repository: an artifact for each job, tagged with the job's name."""

    registry: Registry

    def find(self, job: str) -> str | None:
        manifest = self.registry.manifest(_tag(job))
        layers = manifest.descriptors("layers") if manifest else []
        digests = [str(layer["digest"]) for layer in layers]
        return digests[0] if len(digests) == 1 and _DIGEST.fullmatch(digests[0]) else None

    @contextmanager
    def read(self, digest: str) -> Iterator[Path]:
        with NamedTemporaryFile(prefix="envmatrix-outputs-") as file:
            for chunk in self.registry.stream(digest):
                file.write(chunk)
            file.flush()
            yield Path(file.name)

    def keep(self, job: str, archive: Path, digest: str) -> None:
        self.registry.put_file(archive, digest)
        layer = {"mediaType": _LAYER, "digest": digest, "size": archive.stat().st_size}
        self.registry.put_manifest(_tag(job), self.registry.artifact(_TYPE, [layer]))


def _tag(job: str) -> str:
    return f"outputs-{job[:64]}"


@contextmanager
def open_outputs(place: str) -> Iterator[Outputs]:
    """Yield the outputs in a directory, or in a repository that is written as `oci://NAME`."""
    if not place.startswith(SCHEME):
        yield DirectoryOutputs(Path(place))
        return
    with open_registry(place.removeprefix(SCHEME)) as registry:
        yield RegistryOutputs(registry)


def keep_outputs(outputs: Outputs, job: str, area: Area) -> None:
    """Keep the content of an area as the outputs of a job."""
    with packed(Mount(area, "/")) as archive:
        if archive is not None:
            outputs.keep(job, archive, digest_of_file(archive))


def restore_outputs(outputs: Outputs, job: str, area: Area) -> bool:
    """Replace the content of an area by the outputs of a job; return whether there are any."""
    digest = outputs.find(job)
    if digest is None:
        return False
    with outputs.read(digest) as archive:
        if digest_of_file(archive) != digest:
            raise EngineError(f"the outputs {digest} of a job are damaged where they are kept")
        unpack_into(area, archive)
    return True
