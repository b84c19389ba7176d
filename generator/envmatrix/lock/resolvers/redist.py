"""NVIDIA's redistributable archives, as the manifest of each release lists them.

A product (`cuda`, `cudnn`, ...) has a directory with one `redistrib_<release>.json` for each
release: https://docs.nvidia.com/cuda/cuda-installation-guide-linux/#tarball-and-zip-archive-deliverables
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from envmatrix.errors import LookupFailed
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.targets import TARGETS
from envmatrix.facts.versions import version_key
from envmatrix.lock.model import SHA256, Artifact, PackageSet, ReleaseRequest, is_in_origin
from envmatrix.machine.configuration import NVIDIA
from envmatrix.records import dataclass

# The key of a target -> the manifest's platform.
PLATFORMS = {target.key: target.redist for target in TARGETS.values() if target.redist}

_MANIFEST = re.compile(r"redistrib_(\d+(?:\.\d+)*)\.json")
# The dots of a version that names its build: 9.1.0.70.
_WHOLE = 3


@dataclass(frozen=True)
class Redist:
    """`read` returns the bytes at a path of the origin or raises LookupFailed."""

    read: Callable[[str], bytes]
    _manifests: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = field(default_factory=dict)

    def resolve(self, request: ReleaseRequest, _sets: object) -> PackageSet:
        """Resolve packages: those without a product are of the CUDA release, those with a variant
        have archives for several CUDA majors. A version of two parts means its newest patch."""
        platform = PLATFORMS[request.arch]
        artifacts = {
            self._artifact(package, request.release, platform) for package in request.packages
        }
        return PackageSet(request, tuple(sorted(artifacts)))

    def versions(self, release: str) -> tuple[str, Mapping[str, str]]:
        """Return the manifest's path for a CUDA release, and the version of each name in it."""
        file, manifest = self._manifest("cuda", release)
        rows = ((name, row) for name, row in manifest.items() if isinstance(row, dict))
        return file, {name: str(row["version"]) for name, row in rows if "version" in row}

    def _artifact(self, package: PackageSpec, cuda: str, platform: str) -> Artifact:
        name, variant = package.name, package.variant
        product, release = package.product or "cuda", package.version or cuda
        file, manifest = self._manifest(product, release)
        if name not in manifest:
            raise LookupFailed(f"`{file}` has no `{name}`")
        try:
            row = manifest[name]
            version = str(row["version"])
            entry = row[platform][variant] if variant else row[platform]
            path, size, sha256 = str(entry["relative_path"]), int(entry["size"]), entry["sha256"]
        except KeyError as error:
            missing = str(error).strip("'")
            raise LookupFailed(f"`{file}`: `{name}` for {platform} has no `{missing}`") from error
        except (TypeError, ValueError) as error:
            raise LookupFailed(f"`{file}`: `{name}` is not as expected: {error}") from error
        if release.count(".") == _WHOLE and version != release:
            raise LookupFailed(f"`{file}` has `{name}` {version}, not {release}")
        if not SHA256.fullmatch(str(sha256)) or not is_in_origin(path):
            raise LookupFailed(f"`{file}`: `{name}` names `{path}` with sha256 `{sha256}`")
        return Artifact(NVIDIA, f"{product}/redist/{path}", name, version, size, sha256)

    def _manifest(self, product: str, release: str) -> tuple[str, Mapping[str, Any]]:
        if (product, release) not in self._manifests:
            self._manifests[product, release] = self._read_manifest(product, release)
        return self._manifests[product, release]

    def _read_manifest(self, product: str, release: str) -> tuple[str, Mapping[str, Any]]:
        directory = f"{product}/redist/"
        listing = self.read(directory).decode("utf-8", "replace")
        listed = set(_MANIFEST.findall(listing))
        # A manifest is named after three parts of a version that may have four: 9.1.0 of 9.1.0.70.
        whole = ".".join(release.split(".")[:3]) if release not in listed else release
        matching = {text for text in listed if f"{text}.".startswith(f"{whole}.")}
        if not matching:
            minor = ".".join(release.split(".")[:2])
            of_minor = [text for text in listed if f"{text}.".startswith(f"{minor}.")]
            names = ", ".join(sorted(of_minor, key=version_key))
            hint = f"it has those of {names}" if names else None
            raise LookupFailed(f"`{directory}` has no manifest of release {release}", hint=hint)
        file = f"{directory}redistrib_{max(matching, key=version_key)}.json"
        try:
            manifest = json.loads(self.read(file))
        except ValueError as error:
            raise LookupFailed(f"`{file}` is not JSON: {error}") from error
        if not isinstance(manifest, dict):
            raise LookupFailed(f"`{file}` is not a manifest")
        return file, manifest
