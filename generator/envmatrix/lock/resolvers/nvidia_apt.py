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
from envmatrix.lock.model import Artifact
from envmatrix.lock.resolvers.apt import Apt, Run
from envmatrix.lock.resolvers.pins import Manifest, missing_packages_error, pins
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
    """Repositories by name, at `mirror`; apt's indexes are stored in `directory`.

    `read` returns the bytes at a path of the mirror or raises LookupFailed. `keyring` is the key
    file of a mirror that signs repositories itself. `manifest` returns the versions of a CUDA
    release.
    """

    directory: Path
    repositories: Mapping[str, NvidiaRepository]
    mirror: str
    keyring: Path | None
    read: Callable[[str], bytes]
    run: Run
    manifest: Callable[[str], Manifest]
    _apts: dict[tuple[str, str], Apt] = field(default_factory=dict)

    def resolve(self, packages: Sequence[str], name: str, arch: str) -> tuple[Artifact, ...]:
        """Return `packages`, as `pins` parses them, from the repository `name`, or from its
        directory for cross compiling: `ubuntu2204/cross-linux-sbsa`."""
        names = [pin.deb for pin in pins(packages, self.manifest)]
        if (name, arch) not in self._apts:
            self._apts[name, arch] = self._apt(name, arch)
        apt = self._apts[name, arch]
        try:
            return apt.exactly(names)
        except LookupFailed as error:
            raise _absence_error(apt.archive.suite, names, error) from None

    def _apt(self, name: str, arch: str) -> Apt:
        suite, _, cross = name.partition("/")
        repository = self.repositories[suite]
        directory = self.directory / f"nvidia-{name.replace('/', '-')}-{arch}"
        path = f"cuda/repos/{suite}/{cross or MACHINES[arch].nvidia}"
        key, signer = self._key(repository, path)
        # apt tells the two forms of a key apart by the file's name.
        file = directory / ("key.asc" if _ARMOR in key else "key.gpg")
        directory.mkdir(parents=True)
        file.write_bytes(key)
        signed_by = ",".join([str(file), *signer])
        nvidia = Distribution(ORIGIN, (ORIGIN,), keyring=signed_by)
        # What is for cross compiling is for all architectures, of which apt has to know one.
        archive = Archive(nvidia, ORIGIN, path, "arm64" if cross else arch)
        apt = FlatApt(directory, archive, self.mirror, self.run)
        try:
            apt.update()
        except LookupFailed as error:
            raise self._refused(path, signer, error) from error
        return apt

    def _key(self, repository: NvidiaRepository, path: str) -> tuple[bytes, Sequence[str]]:
        """Return a key, and its required fingerprint unless the user configured the key."""
        if self.keyring:
            return self.keyring.read_bytes(), ()
        return self.read(f"{path}/{repository.key}"), (str(repository.fingerprint),)

    def _refused(self, path: str, signer: Sequence[str], error: LookupFailed) -> LookupFailed:
        key = f"NVIDIA's key {signer[0]}" if signer else f"the key in `{self.keyring}`"
        return LookupFailed(
            f"apt does not take `{path}` from {self.mirror}",
            details=error.details,
            hint=f"it must be whole and signed with {key}; what a mirror signs with instead is "
            "named under [keyrings] nvidia in your configuration",
        )


def _absence_error(path: str, names: Sequence[str], error: LookupFailed) -> LookupFailed:
    """Return an error with the packages that apt did not find; `error` if it failed otherwise."""
    quoted = {name for line in error.details for pair in _QUOTED.findall(line) for name in pair}
    missing = [text for text in names if text.partition("=")[0] in quoted]
    return missing_packages_error(path, missing, error) if missing else error
