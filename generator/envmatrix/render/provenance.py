"""How an image came to be: an in-toto statement with SLSA provenance. Pure; no time in it.

https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from envmatrix.plan.actions import Inputs
from envmatrix.render.sbom import Bill

PROVENANCE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
# Explained in docs/trust.md.
BUILD_TYPE = "urn:envmatrix:build:1"


@dataclass(frozen=True, slots=True)
class Made:
    """By whom an image was published: `builder` is a URI; `run` that of a run of CI; `commit` that
    of the repository; `lock` the sha256 (hex) of the lock file."""

    builder: str
    lock: str
    commit: str | None = None
    run: str | None = None


def statement(
    subject: str, digest: str, its: Bill, inputs: Inputs, made: Made
) -> dict[str, object]:
    """Of the image in the repository `subject` whose manifest has `digest`."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_resource(subject, digest)],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(its, inputs, made),
    }


def _predicate(its: Bill, inputs: Inputs, made: Made) -> dict[str, object]:
    base = [_resource("base", its.base.partition("@")[2])] if its.base else []
    commit = [{"name": "commit", "digest": {"gitCommit": made.commit}}] if made.commit else []
    image = inputs.image
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "environment": image.environment,
                "flavour": image.flavour,
                "platform": image.platform,
            },
            "internalParameters": {"fingerprint": its.fingerprint},
            "resolvedDependencies": [
                *commit,
                _resource("matrix.lock.json", made.lock),
                _resource("Dockerfile", hashlib.sha256(inputs.dockerfile.encode()).hexdigest()),
                *base,
                *(
                    {"uri": package.url, "digest": {"sha256": package.artifact.sha256}}
                    for package in its.packages
                ),
            ],
        },
        "runDetails": {
            "builder": {"id": made.builder},
            **({"metadata": {"invocationId": made.run}} if made.run else {}),
        },
    }


def _resource(name: str, digest: str) -> dict[str, object]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
