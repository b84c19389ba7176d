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
from envmatrix.lock.model import PackageSet, RepositoryRequest
from envmatrix.lock.resolvers.dnf import Repositories
from envmatrix.lock.resolvers.nvidia import (
    Manifest,
    NvidiaMirror,
    missing_packages_error,
    pins,
    rpm_name,
)
from envmatrix.lock.resolvers.protocol import ResolvedSets
from envmatrix.lock.resolvers.redist import ORIGIN

# The line that NVIDIA's own images remove from the key before they compare it.
_VERSION = re.compile(rb"^Version.*\n", re.MULTILINE)


@dataclass(frozen=True)
class NvidiaDnf:
    """Repositories by name; the keys are stored in `directory`. `manifest` returns the versions of
    a CUDA release."""

    repositories: Mapping[str, NvidiaRepository]
    mirror: NvidiaMirror
    manifest: Callable[[str], Manifest]
    directory: Path

    def resolve(self, request: RepositoryRequest, sets: ResolvedSets) -> PackageSet:
        home = sets.home(request.repository)
        repository = self.repository(request.repository, request.arch)
        manager = sets.backend.rpm_manager_in_base(home, repository)
        packages = pins(request.packages, request.release, self.manifest)
        names = [rpm_name(package) for package in packages]
        try:
            return PackageSet(request, manager.exactly(names))
        except LookupFailed as error:
            raise self._refused(names, repository, error) from error

    def repository(self, name: str, arch: str) -> Repositories:
        path = f"cuda/repos/{name}/{MACHINES[arch].nvidia}"
        keyring = self.mirror.keyring
        key = keyring.read_bytes() if keyring else self._key(self.repositories[name], path)
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / f"{name}.pub"
        file.write_bytes(key)
        url = self.mirror.url
        return Repositories(f"nvidia-{name}-{arch}", ORIGIN, url, (path,), arch, "", file)

    def _refused(
        self, names: Sequence[str], repository: Repositories, error: LookupFailed
    ) -> LookupFailed:
        missing = [
            name for name in names if any(line.endswith(f": {name}") for line in error.details)
        ]
        if missing:
            return missing_packages_error(repository.paths[0], missing, error)
        return LookupFailed(
            f"the base's package manager does not take `{repository.paths[0]}` from "
            f"{self.mirror.url}",
            details=error.details or [error.message],
            hint=f"it must be whole and signed with {self.mirror.signer}; what a mirror signs with "
            "instead is named under [keyrings] nvidia in your configuration",
        )

    def _key(self, repository: NvidiaRepository, path: str) -> bytes:
        key = self.mirror.read(f"{path}/{repository.key}")
        digest = hashlib.sha256(_VERSION.sub(b"", key)).hexdigest()
        if digest != repository.sha256:
            raise LookupFailed(
                f"`{path}/{repository.key}` is not NVIDIA's key: its sha256 is {digest}",
                details=[f"NVIDIA's is {repository.sha256}"],
                hint="what a mirror signs with instead is named under [keyrings] nvidia in your "
                "configuration",
            )
        return key
