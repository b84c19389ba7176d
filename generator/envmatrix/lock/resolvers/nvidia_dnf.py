"""NVIDIA's repositories for dnf, which verifies their signatures.

A repository has a directory for each architecture: `cuda/repos/rhel9/x86_64/`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.errors import LookupFailed
from envmatrix.facts.systems import NvidiaRepository
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import Artifact
from envmatrix.lock.resolvers.dnf import PackageManager, Repositories
from envmatrix.lock.resolvers.pins import Manifest, missing_packages_error, pins
from envmatrix.lock.resolvers.redist import ORIGIN

# The line that NVIDIA's own images remove from the key before they compare it.
_VERSION = re.compile(rb"^Version.*\n", re.MULTILINE)


@dataclass(frozen=True)
class NvidiaDnf:
    """Repositories by name, at `mirror`; the keys are stored in `directory`.

    `read` returns the bytes at a path of the mirror or raises LookupFailed. `keyring` is the key
    file of a mirror that signs repositories itself. `manifest` returns the versions of a CUDA
    release.
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
        self, packages: Sequence[str], manager: PackageManager, repository: Repositories
    ) -> tuple[Artifact, ...]:
        """Return `packages`, as `pins` parses them, that `manager` finds in `repository`."""
        names = [pin.rpm for pin in pins(packages, self.manifest)]
        try:
            return manager.exactly(names)
        except LookupFailed as error:
            raise self._refused(names, repository, error) from error

    def _refused(
        self, names: Sequence[str], repository: Repositories, error: LookupFailed
    ) -> LookupFailed:
        missing = [
            name for name in names if any(line.endswith(f": {name}") for line in error.details)
        ]
        if missing:
            return missing_packages_error(repository.paths[0], missing, error)
        signer = f"the key in `{self.keyring}`" if self.keyring else "NVIDIA's key"
        return LookupFailed(
            f"the base's package manager does not take `{repository.paths[0]}` from {self.mirror}",
            details=error.details or [error.message],
            hint=f"it must be whole and signed with {signer}; what a mirror signs with instead is "
            "named under [keyrings] nvidia in your configuration",
        )

    def _key(self, repository: NvidiaRepository, path: str) -> bytes:
        key = self.read(f"{path}/{repository.key}")
        digest = hashlib.sha256(_VERSION.sub(b"", key)).hexdigest()
        if digest != repository.sha256:
            raise LookupFailed(
                f"`{path}/{repository.key}` is not NVIDIA's key: its sha256 is {digest}",
                details=[f"NVIDIA's is {repository.sha256}"],
                hint="what a mirror signs with instead is named under [keyrings] nvidia in your "
                "configuration",
            )
        return key
