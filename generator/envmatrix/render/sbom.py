"""Bills of materials of images from the lock: SPDX and CycloneDX. Pure and deterministic.

https://spdx.github.io/spdx-spec/v2.3/ and https://cyclonedx.org/docs/1.5/json/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from packageurl import PackageURL

from envmatrix.images.environments import Environment
from envmatrix.lock.model import Artifact, Lock
from envmatrix.plan.actions import Inputs
from envmatrix.records import dataclass

SPDX = "application/spdx+json"
CYCLONEDX = "application/vnd.cyclonedx+json"

_TOOL = "envmatrix"
_UNKNOWN = "NOASSERTION"
_PURL = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl"}
_PACKAGE = re.compile(r"[._](?P<arch>[a-z0-9_]+)\.(?P<kind>deb|rpm)$")


@dataclass(frozen=True, slots=True)
class Bill:
    """The bill of materials of `image`. `created` is the epoch of the lock, in seconds; `bases`
    has the digest of the third-party base image, if any, by its name; `packages` are the files of
    the lock in the image with their package URLs."""

    image: str
    fingerprint: str
    created: int
    bases: Mapping[str, str]
    packages: Mapping[Artifact, str]


def bill_of_materials(environment: Environment, inputs: Inputs, lock: Lock) -> Bill:
    """Return the bill of an image: its base, and the files of the stages that it depends on,
    without compilers of parts of it."""
    base = next(row for row in environment.bases if row.arch == inputs.image.arch)
    name, _, digest = base.image.partition("@")
    stages = [
        stage
        for stage in environment.files
        if stage.stage in inputs.contents.stages and not stage.is_only_for_building
    ]
    files = {*lock.sets[base.key].artifacts} if base.is_bootstrapped else set()
    files |= {artifact for stage in stages for artifact in stage.artifacts}
    return Bill(
        image=str(inputs.image),
        fingerprint=inputs.fingerprint,
        created=lock.epoch,
        bases={} if base.is_bootstrapped else {name: digest},
        packages={
            file: package_url(file, environment.os)
            for file in sorted(files, key=lambda file: (file.name, file.version, file.sha256))
        },
    )


def package_url(artifact: Artifact, system: str) -> str:
    """Return the package URL of an artifact, without a host; `system` is a name such as debian12.

    https://github.com/package-url/purl-spec
    """
    name, version = artifact.name, artifact.version
    if package := _PACKAGE.search(artifact.filename):
        vendor = system.rstrip("0123456789.")
        distribution = f"{vendor}-{system.removeprefix(vendor)}".rstrip("-")
        qualifiers = {"arch": package["arch"], "distro": distribution}
        return PackageURL(package["kind"], vendor, name, version, qualifiers).to_string()
    if artifact.filename.endswith(".whl"):
        return PackageURL("pypi", None, name, version, {"file_name": artifact.filename}).to_string()
    checksum = {"checksum": f"sha256:{artifact.sha256}"}
    return PackageURL("generic", artifact.origin, name, version, checksum).to_string()


def spdx(bill: Bill) -> str:
    """Return the SPDX 2.3 document of a bill, as JSON."""
    image = _package("image", bill.image, bill.fingerprint, primaryPackagePurpose="CONTAINER")
    parts = [_package("base", name, digest) for name, digest in bill.bases.items()]
    parts += [
        _package(
            file.sha256,
            file.name,
            file.version,
            packageFileName=file.filename,
            checksums=[{"algorithm": "SHA256", "checksumValue": file.sha256}],
            externalRefs=[{**_PURL, "referenceLocator": url}],
        )
        for file, url in bill.packages.items()
    ]
    document = {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "dataLicense": "CC0-1.0",
        "name": bill.image,
        "documentNamespace": _serial(bill),
        "creationInfo": {"created": _time(bill), "creators": [f"Tool: {_TOOL}"]},
        "packages": [image, *parts],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"),
            *(_relationship("SPDXRef-image", "CONTAINS", str(row["SPDXID"])) for row in parts),
        ],
    }
    return _text(document)


def cyclonedx(bill: Bill) -> str:
    """Return the CycloneDX 1.5 document of a bill, as JSON."""
    components = [
        _component("container", "base", name, digest) for name, digest in bill.bases.items()
    ]
    components += [
        {
            **_component("library", file.sha256, file.name, file.version),
            "hashes": [{"alg": "SHA-256", "content": file.sha256}],
            "purl": url,
        }
        for file, url in bill.packages.items()
    ]
    parts = [row["bom-ref"] for row in components]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": _serial(bill),
        "version": 1,
        "metadata": {
            "timestamp": _time(bill),
            "tools": {"components": [{"type": "application", "name": _TOOL}]},
            "component": _component("container", "image", bill.image, bill.fingerprint),
        },
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": parts}],
    }
    return _text(document)


def _package(key: str, name: str, version: str, **details: object) -> dict[str, object]:
    """Return a package of SPDX about which nothing is asserted but its details."""
    return {
        "SPDXID": f"SPDXRef-{key}",
        "name": name,
        "versionInfo": version,
        **details,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
    }


def _component(kind: str, key: str, name: str, version: str) -> dict[str, object]:
    return {"type": kind, "bom-ref": key, "name": name, "version": version}


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
