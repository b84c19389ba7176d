"""NVIDIA's repositories: where they are, and the versions that a request pins.

The packages of a release have versions of their own: `libcusparse-12-4` of CUDA 12.4.1 is
12.3.1.170. The release's manifest has them, under names that `facts/data/versions.yaml` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envmatrix.errors import LookupFailed
from envmatrix.facts.components import manifest_names
from envmatrix.facts.packages import PackageSpec

# Name in the manifest of a CUDA release -> version, and where that manifest is.
Manifest = tuple[str, Mapping[str, str]]

# A package's name before `-dev`, `-devel` or `-cross-sbsa` and the release.
_PARTS = re.compile(r"(?P<name>.+?)(?:-(?:dev|devel|cross-[a-z0-9]+))?-\d+-\d+")
# The dots of a release that names its patch: 12.4.1.
_WHOLE = 2
# The first revision of NVIDIA's packages.
_REVISION = "-1"


@dataclass(frozen=True)
class NvidiaMirror:
    """A mirror of NVIDIA's repositories. `read` returns the bytes at a path below its `url` or
    raises LookupFailed; `keyring` is the key file of a mirror that signs them itself."""

    url: str
    keyring: Path | None
    read: Callable[[str], bytes]

    @property
    def signer(self) -> str:
        return f"the key in `{self.keyring}`" if self.keyring else "NVIDIA's key"


def missing_packages_error(path: str, missing: Sequence[str], error: LookupFailed) -> LookupFailed:
    """Return the error about packages missing from the repository at `path`."""
    return LookupFailed(
        f"`{path}` does not have {', '.join(f'`{name}`' for name in missing)}",
        details=error.details,
        hint="a release of two parts is the newest patch that it has; another source can be named "
        "under `sources`",
    )


def pins(
    packages: Sequence[PackageSpec], release: str, manifest: Callable[[str], Manifest]
) -> list[PackageSpec]:
    """Pin packages: one without a version has that of the `manifest` of a release of three parts,
    or is the newest of a release of two."""
    return [
        replace(package, version=package.version or _version(package.name, release, manifest))
        for package in packages
    ]


def rpm_name(package: PackageSpec) -> str:
    return "-".join(filter(None, (package.name, package.version)))


def _version(name: str, release: str, manifest: Callable[[str], Manifest]) -> str:
    """Return version and revision of a package; empty for the newest."""
    names = _names(name, release) if release.count(".") == _WHOLE else ("newest",)
    if names == ("newest",):
        return ""
    if names == ("release",):
        return f"{release}{_REVISION}"
    file, versions = manifest(release)
    shipped = next((versions[key] for key in names if key in versions), None)
    if shipped is None:
        raise LookupFailed(f"`{file}` has no `{names[0]}`, whose version `{name}` has")
    return f"{shipped}{_REVISION}"


def _names(name: str, release: str) -> Sequence[str]:
    parts = _PARTS.fullmatch(name)
    try:
        return manifest_names()[parts["name"] if parts else name]
    except KeyError as error:
        raise LookupFailed(
            f"it is not known whose version `{name}` has in CUDA {release}",
            hint="a release of two parts is the newest patch that the repository has",
        ) from error
