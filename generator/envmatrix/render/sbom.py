"""Bills of materials of images from the lock: SPDX and CycloneDX. Pure and deterministic.

https://spdx.github.io/spdx-spec/v2.3/ and https://cyclonedx.org/docs/1.5/json/
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from packageurl import PackageURL

from envmatrix.images.environments import Environment
from envmatrix.lock.model import Artifact, Lock
from envmatrix.plan.actions import Inputs

SPDX = "application/spdx+json"
CYCLONEDX = "application/vnd.cyclonedx+json"

_TOOL = "envmatrix"
_UNKNOWN = "NOASSERTION"
_ARCH = re.compile(r"[._](?P<arch>[a-z0-9_]+)\.(?:deb|rpm)$")
# Names of operating systems in the matrix: debian12, ubuntu24.04, rockylinux9.
_SYSTEM = re.compile(r"(?P<name>[a-z]+)(?P<version>[0-9.]*)")


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file of the lock that is in an image, with its package URL."""

    artifact: Artifact
    url: str


@dataclass(frozen=True, slots=True)
class Bill:
    """The bill of materials of `image`. `created` is the epoch of the lock, in seconds; `base` is
    the third-party base image by digest, if any."""

    image: str
    fingerprint: str
    created: int
    base: str | None
    packages: tuple[PackageFile, ...]


def bill_of_materials(environment: Environment, inputs: Inputs, lock: Lock) -> Bill:
    """Return the bill of an image: its base, and the files of the stages that it depends on."""
    base = next(row for row in environment.bases if row.arch == inputs.image.arch)
    stages = [stage for stage in environment.files if stage.stage in inputs.contents.stages]
    files = {*lock.sets[base.key].artifacts} if base.is_bootstrapped else set()
    files |= {artifact for stage in stages for artifact in stage.artifacts}
    return Bill(
        image=str(inputs.image),
        fingerprint=inputs.fingerprint,
        created=lock.epoch,
        base=None if base.is_bootstrapped else base.image,
        packages=tuple(
            PackageFile(file, package_url(file, environment.os))
            for file in sorted(files, key=lambda file: (file.name, file.version, file.sha256))
        ),
    )


def package_url(artifact: Artifact, system: str) -> str:
    """Return the package URL of an artifact, without a host.

    https://github.com/package-url/purl-spec
    """
    name, version = artifact.name, artifact.version
    arch = _ARCH.search(artifact.filename)
    parts = _SYSTEM.fullmatch(system)
    vendor, release = (parts["name"], parts["version"]) if parts else (system, "")
    if arch and artifact.filename.endswith((".deb", ".rpm")):
        qualifiers = {"arch": arch["arch"], "distro": f"{vendor}-{release}".rstrip("-")}
        kind = artifact.filename.rpartition(".")[2]
        return PackageURL(kind, vendor, name, version, qualifiers).to_string()
    if artifact.filename.endswith(".whl"):
        return PackageURL("pypi", None, name, version, {"file_name": artifact.filename}).to_string()
    checksum = {"checksum": f"sha256:{artifact.sha256}"}
    return PackageURL("generic", artifact.origin, name, version, checksum).to_string()


def spdx(bill: Bill) -> str:
    """Return the SPDX 2.3 document of a bill, as JSON."""
    image: dict[str, object] = {
        "SPDXID": "SPDXRef-image",
        "name": bill.image,
        "versionInfo": bill.fingerprint,
        "primaryPackagePurpose": "CONTAINER",
        **_nothing_asserted(),
    }
    below: list[dict[str, object]] = [
        {"SPDXID": "SPDXRef-base", "name": base, "versionInfo": digest, **_nothing_asserted()}
        for base, _, digest in ([bill.base.partition("@")] if bill.base else [])
    ]
    packages: list[dict[str, object]] = [
        {
            "SPDXID": f"SPDXRef-{package.artifact.sha256}",
            "name": package.artifact.name,
            "versionInfo": package.artifact.version,
            "packageFileName": package.artifact.filename,
            "checksums": [{"algorithm": "SHA256", "checksumValue": package.artifact.sha256}],
            "externalRefs": [
                {
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": package.url,
                }
            ],
            **_nothing_asserted(),
        }
        for package in bill.packages
    ]
    document = {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "dataLicense": "CC0-1.0",
        "name": bill.image,
        "documentNamespace": _serial(bill),
        "creationInfo": {"created": _time(bill), "creators": [f"Tool: {_TOOL}"]},
        "packages": [image, *below, *packages],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"),
            *(
                _relationship("SPDXRef-image", "CONTAINS", str(row["SPDXID"]))
                for row in (*below, *packages)
            ),
        ],
    }
    return _text(document)


def cyclonedx(bill: Bill) -> str:
    """Return the CycloneDX 1.5 document of a bill, as JSON."""
    image = {
        "type": "container",
        "bom-ref": "image",
        "name": bill.image,
        "version": bill.fingerprint,
    }
    below = [
        {"type": "container", "bom-ref": "base", "name": base, "version": digest}
        for base, _, digest in ([bill.base.partition("@")] if bill.base else [])
    ]
    packages = [
        {
            "type": "library",
            "bom-ref": package.artifact.sha256,
            "name": package.artifact.name,
            "version": package.artifact.version,
            "hashes": [{"alg": "SHA-256", "content": package.artifact.sha256}],
            "purl": package.url,
        }
        for package in bill.packages
    ]
    parts = [row["bom-ref"] for row in below]
    parts += [package.artifact.sha256 for package in bill.packages]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": _serial(bill),
        "version": 1,
        "metadata": {
            "timestamp": _time(bill),
            "tools": {"components": [{"type": "application", "name": _TOOL}]},
            "component": image,
        },
        "components": [*below, *packages],
        "dependencies": [{"ref": "image", "dependsOn": parts}],
    }
    return _text(document)


def _nothing_asserted() -> dict[str, object]:
    return {
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def _serial(bill: Bill) -> str:
    """Return a unique name of a bill: its fingerprint as a UUID of version 8 (RFC 9562)."""
    hexadecimal = bill.fingerprint
    return (
        f"urn:uuid:{hexadecimal[:8]}-{hexadecimal[8:12]}-8{hexadecimal[12:15]}-"
        f"8{hexadecimal[15:18]}-{hexadecimal[18:30]}"
    )


def _time(bill: Bill) -> str:
    return datetime.fromtimestamp(bill.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
