"""NVIDIA's repositories for dnf, which takes them only with the right signature.

A repository has a directory for each architecture: `cuda/repos/rhel9/x86_64/`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.errors import LookupFailed
from envmatrix.lock.dnf import Packages, Repositories
from envmatrix.lock.model import Artifact
from envmatrix.lock.pins import Manifest, absence, pins
from envmatrix.lock.redist import ORIGIN
from envmatrix.matrix.systems import NvidiaRepository
from envmatrix.matrix.targets import MACHINES

# What NVIDIA's own images remove of the key before they compare it.
_VERSION = re.compile(rb"^Version.*\n", re.MULTILINE)


@dataclass(frozen=True)
class NvidiaDnf:
    """Repositories by name, at `mirror`; the keys are kept in `directory`.

    `read` gives the bytes at a path of the mirror, LookupFailed where it has none. `keyring` is
    the file with the key of a mirror that signs what it has itself. `manifest` has the versions of
    a CUDA release.
    """

    directory: Path
    repositories: Mapping[str, NvidiaRepository]
    mirror: str
    keyring: Path | None
    read: Callable[[str], bytes]
    manifest: Callable[[str], Manifest]

    def repository(self, name: str, arch: str) -> Repositories:
        path = f"cuda/repos/{name}/{MACHINES[arch].nvidia}"
        key = (
            self.keyring.read_bytes() if self.keyring else self._key(self.repositories[name], path)
        )
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / f"{name}.pub"
        file.write_bytes(key)
        return Repositories(f"nvidia-{name}-{arch}", ORIGIN, self.mirror, (path,), arch, "", file)

    def resolve(
        self, packages: Sequence[str], manager: Packages, its: Repositories
    ) -> tuple[Artifact, ...]:
        """`packages`, as `pins` reads them, that `manager` finds in repository `its`."""
        wanted = [pin.rpm for pin in pins(packages, self.manifest)]
        try:
            return manager.exactly(wanted)
        except LookupFailed as error:
            raise self._refused(wanted, its, error) from error

    def _refused(
        self, wanted: Sequence[str], its: Repositories, error: LookupFailed
    ) -> LookupFailed:
        lacking = [name for name in wanted if any(it.endswith(f": {name}") for it in error.details)]
        if lacking:
            return absence(its.paths[0], lacking, error)
        by = f"the key in `{self.keyring}`" if self.keyring else "NVIDIA's key"
        return LookupFailed(
            f"the base's package manager does not take `{its.paths[0]}` from {self.mirror}",
            details=error.details or [error.message],
            hint=f"it must be whole and signed with {by}; what a mirror signs with instead is "
            "named under [keyrings] nvidia in your configuration",
        )

    def _key(self, repository: NvidiaRepository, path: str) -> bytes:
        key = self.read(f"{path}/{repository.key}")
        found = hashlib.sha256(_VERSION.sub(b"", key)).hexdigest()
        if found != repository.sha256:
            raise LookupFailed(
                f"`{path}/{repository.key}` is not NVIDIA's key: its sha256 is {found}",
                details=[f"NVIDIA's is {repository.sha256}"],
                hint="what a mirror signs with instead is named under [keyrings] nvidia in your "
                "configuration",
            )
        return key
