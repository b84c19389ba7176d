"""NVIDIA's apt repositories, resolved by apt, which verifies their signatures.

A repository is flat and has a directory for each architecture: `cuda/repos/debian12/x86_64/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envmatrix.errors import LookupFailed
from envmatrix.facts.systems import Archive, Distribution, NvidiaRepository
from envmatrix.facts.targets import MACHINES
from envmatrix.lock.model import PackageSet, RepositoryRequest
from envmatrix.lock.resolvers.apt import Apt, Run
from envmatrix.lock.resolvers.nvidia import Manifest, NvidiaMirror, missing_packages_error, pins
from envmatrix.lock.resolvers.redist import ORIGIN

# apt's "Version '1-1' for 'name' was not found" and "Unable to locate package name".
_QUOTED = re.compile(r"for '([^']+)'|package (\S+)")

_ARMOR = b"-----BEGIN PGP"


@dataclass(frozen=True)
class FlatApt(Apt):
    """The archive's suite is the repository's path in the origin; its keyring is a file of keys
    and, after a comma, the fingerprint of the only one of them that counts, if one does."""

    @property
    def source(self) -> str:
        archive = self.archive
        return f"deb [signed-by={archive.distribution.keyring}] {self.mirror}/{archive.suite}/ /"


@dataclass(frozen=True)
class NvidiaApt:
    """Repositories by name; apt's indexes are stored in `directory`. `manifest` returns the
    versions of a CUDA release."""

    repositories: Mapping[str, NvidiaRepository]
    mirror: NvidiaMirror
    manifest: Callable[[str], Manifest]
    directory: Path
    run: Run
    _apts: dict[tuple[str, str, str], Apt] = field(default_factory=dict)

    def resolve(self, request: RepositoryRequest, _sets: object) -> PackageSet:
        names = [str(pin) for pin in pins(request.packages, request.release, self.manifest)]
        key = request.repository, request.cross, request.arch
        if key not in self._apts:
            self._apts[key] = self._apt(*key)
        apt = self._apts[key]
        try:
            return PackageSet(request, apt.exactly(names))
        except LookupFailed as error:
            raise _absence_error(apt.archive.suite, names, error) from None

    def _apt(self, name: str, cross: str, arch: str) -> Apt:
        repository = self.repositories[name]
        section = f"cross-linux-{cross}" if cross else MACHINES[arch].nvidia
        path = f"cuda/repos/{name}/{section}"
        own = f"{name}-{section}" if cross else name
        directory = self.directory / f"nvidia-{own}-{arch}"
        key, signer = self._key(repository, path)
        # apt tells the two forms of a key apart by the file's name.
        file = directory / ("key.asc" if _ARMOR in key else "key.gpg")
        directory.mkdir(parents=True)
        file.write_bytes(key)
        signed_by = ",".join([str(file), *signer])
        nvidia = Distribution(ORIGIN, (ORIGIN,), keyring=signed_by)
        # What is for cross compiling is for all architectures, of which apt has to know one.
        archive = Archive(nvidia, ORIGIN, path, "arm64" if cross else arch)
        apt = FlatApt(directory, archive, self.mirror.url, self.run)
        try:
            apt.update()
        except LookupFailed as error:
            raise self._refused(path, signer, error) from error
        return apt

    def _key(self, repository: NvidiaRepository, path: str) -> tuple[bytes, Sequence[str]]:
        """Return a key, and its required fingerprint unless the user configured the key."""
        if keyring := self.mirror.keyring:
            return keyring.read_bytes(), ()
        return self.mirror.read(f"{path}/{repository.key}"), (str(repository.fingerprint),)

    def _refused(self, path: str, signer: Sequence[str], error: LookupFailed) -> LookupFailed:
        key = " ".join([self.mirror.signer, *signer])
        return LookupFailed(
            f"apt does not take `{path}` from {self.mirror.url}",
            details=error.details,
            hint=f"it must be whole and signed with {key}; what a mirror signs with instead is "
            "named under [keyrings] nvidia in your configuration",
        )


def _absence_error(path: str, names: Sequence[str], error: LookupFailed) -> LookupFailed:
    """Return an error with the packages that apt did not find; `error` if it failed otherwise."""
    quoted = {name for line in error.details for pair in _QUOTED.findall(line) for name in pair}
    missing = [text for text in names if text.partition("=")[0] in quoted]
    return missing_packages_error(path, missing, error) if missing else error
