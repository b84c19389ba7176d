"""Versions of NVIDIA's packages that a request pins. Pure.

The packages of a release have versions of their own: `libcusparse-12-4` of CUDA 12.4.1 is
12.3.1.170. The release's manifest has them, under names that `facts/data/versions.yaml` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envmatrix.errors import LookupFailed
from envmatrix.facts.components import manifest_names

# Name in the manifest of a CUDA release -> version, and where that manifest is.
Manifest = tuple[str, Mapping[str, str]]

_PARTS = re.compile(r"(?P<name>.+?)(?:-(?:dev|devel|cross-[a-z0-9]+))?-\d+-\d+")
# The dots of a release that names its patch: 12.4.1.
_WHOLE = 2
# The first revision of NVIDIA's packages.
_REVISION = "-1"


@dataclass(frozen=True, slots=True)
class Pin:
    """A package with version and revision; the newest one if `version` is None."""

    name: str
    version: str | None = None

    @property
    def deb(self) -> str:
        return f"{self.name}={self.version}" if self.version else self.name

    @property
    def rpm(self) -> str:
        return f"{self.name}-{self.version}" if self.version else self.name


def missing_packages_error(path: str, missing: Sequence[str], error: LookupFailed) -> LookupFailed:
    """Return the error about packages missing from the repository at `path`."""
    return LookupFailed(
        f"`{path}` does not have {', '.join(f'`{name}`' for name in missing)}",
        details=error.details,
        hint="a release of two parts is the newest patch that it has; another source can be named "
        "under `sources`",
    )


def pins(packages: Sequence[str], manifest: Callable[[str], Manifest]) -> tuple[Pin, ...]:
    """Parse `packages`: `name=version`, or `name@release` for the version in the `manifest` of a
    release of three parts, or for the newest version of a release of two."""
    return tuple(_pin(text, manifest) for text in packages)


def _pin(text: str, manifest: Callable[[str], Manifest]) -> Pin:
    if "=" in text:
        name, _, version = text.partition("=")
        return Pin(name, version)
    name, _, release = text.partition("@")
    names = _names(name, release) if release.count(".") == _WHOLE else ("newest",)
    if names == ("newest",):
        return Pin(name)
    if names == ("release",):
        return Pin(name, f"{release}{_REVISION}")
    file, versions = manifest(release)
    shipped = next((versions[key] for key in names if key in versions), None)
    if shipped is None:
        raise LookupFailed(f"`{file}` has no `{names[0]}`, whose version `{name}` has")
    return Pin(name, f"{shipped}{_REVISION}")


def _names(name: str, release: str) -> Sequence[str]:
    try:
        return manifest_names()[_base(name)]
    except KeyError as error:
        raise LookupFailed(
            f"it is not known whose version `{name}` has in CUDA {release}",
            hint="a release of two parts is the newest patch that the repository has",
        ) from error


def _base(name: str) -> str:
    """Return a package name without `-dev`, `-devel` or `-cross-sbsa` and the release."""
    parts = _PARTS.fullmatch(name)
    return parts["name"] if parts else name
