"""The provenance of an image: an in-toto statement with SLSA provenance, without times. Pure.

https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from envmatrix.plan.actions import Inputs
from envmatrix.records import dataclass
from envmatrix.render.sbom import Bill

PROVENANCE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
# Explained in docs/trust.md.
BUILD_TYPE = "urn:envmatrix:build:1"


@dataclass(frozen=True, slots=True)
class BuildMetadata:
    """The origin of a published image: `builder` is a URI; `lock` the sha256 (hex) of the lock
    file; `commit` that of the repository; `run` the URI of a CI run."""

    builder: str
    lock: str
    commit: str | None = None
    run: str | None = None


def statement(
    subject: str, digest: str, bill: Bill, inputs: Inputs, metadata: BuildMetadata
) -> dict[str, object]:
    """Return the statement about the image in the repository `subject` with the manifest
    `digest`."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_resource(subject, digest)],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(bill, inputs, metadata),
    }


def _predicate(bill: Bill, inputs: Inputs, metadata: BuildMetadata) -> dict[str, object]:
    image, commit = inputs.image, metadata.commit
    commits = [{"name": "commit", "digest": {"gitCommit": commit}}] if commit else []
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "environment": image.environment,
                "flavour": image.name,
                "platform": image.platform,
            },
            "internalParameters": {"fingerprint": bill.fingerprint},
            "resolvedDependencies": [
                *commits,
                _resource("matrix.lock.json", metadata.lock),
                *(_resource(name, digest) for name, digest in inputs.files.items()),
                *(_resource("base", digest) for digest in bill.bases.values()),
                *(
                    {"uri": url, "digest": {"sha256": file.sha256}}
                    for file, url in bill.packages.items()
                ),
            ],
        },
        "runDetails": {
            "builder": {"id": metadata.builder},
            **({"metadata": {"invocationId": metadata.run}} if metadata.run else {}),
        },
    }


def _resource(name: str, digest: str) -> dict[str, object]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
