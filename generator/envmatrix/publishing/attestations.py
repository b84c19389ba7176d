"""Documents published beside an image, as OCI referrers: bills of materials, provenance, and, on
request, signatures of all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from envmatrix.images.environments import Environment
from envmatrix.lock.lock_file import FILE
from envmatrix.lock.model import Lock
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import Index
from envmatrix.publishing.cosign import Cosign
from envmatrix.records import dataclass
from envmatrix.registry.client import Registry
from envmatrix.registry.manifests import Manifest
from envmatrix.render.provenance import PROVENANCE, BuildMetadata, statement
from envmatrix.render.sbom import CYCLONEDX, SPDX, bill_of_materials, cyclonedx, spdx
from envmatrix.store.artifacts import sha256_of
from envmatrix.vcs.git import commit_of


@dataclass(frozen=True, slots=True)
class AttestationPublisher:
    """Publishes the documents of images. `environments` by name; without `cosign`, nothing is
    signed."""

    registry: Registry
    environments: Mapping[str, Environment]
    lock: Lock
    metadata: BuildMetadata
    cosign: Cosign | None

    def publish(self, index: Index, images: Mapping[str, Manifest], whole: Manifest) -> None:
        """Publish the missing documents of `images`, by architecture, and sign them and the index.

        The index is signed last: where it is signed, everything else is.
        """
        references = [
            self._by_digest(digest)
            for inputs in index.images
            for digest in self._attach(inputs, images[inputs.image.arch])
        ]
        if self.cosign and not self.cosign.is_signed(self._by_digest(whole.digest)):
            self.cosign.sign([*references, self._by_digest(whole.digest)])

    def _attach(self, inputs: Inputs, image: Manifest) -> list[str]:
        """Attach a document of each missing kind; return the digests of all documents."""
        attached = {
            row.get("artifactType"): row["digest"] for row in self.registry.referrers(image.digest)
        }
        documents = self._documents(inputs, image.digest)
        return [
            str(attached.get(kind) or self.registry.attach(image.descriptor, kind, text.encode()))
            for kind, text in documents.items()
        ]

    def _documents(self, inputs: Inputs, digest: str) -> Mapping[str, str]:
        bill = bill_of_materials(self.environments[inputs.image.environment], inputs, self.lock)
        provenance = statement(self.registry.repository, digest, bill, inputs, self.metadata)
        return {SPDX: spdx(bill), CYCLONEDX: cyclonedx(bill), PROVENANCE: json.dumps(provenance)}

    def _by_digest(self, digest: str) -> str:
        return f"{self.registry.repository}@{digest}"


def build_metadata(root: Path, environment: Mapping[str, str]) -> BuildMetadata:
    """Return the builder and its run, by the variables of GitHub, GitLab or Jenkins."""
    builder, run = "urn:envmatrix:local", None
    if "GITHUB_WORKFLOW_REF" in environment:
        server = environment["GITHUB_SERVER_URL"]
        builder = f"{server}/{environment['GITHUB_WORKFLOW_REF']}"
        repository = environment["GITHUB_REPOSITORY"]
        run = f"{server}/{repository}/actions/runs/{environment['GITHUB_RUN_ID']}"
    elif "CI_PROJECT_URL" in environment:
        builder, run = environment["CI_PROJECT_URL"], environment["CI_JOB_URL"]
    elif "JENKINS_URL" in environment:
        builder, run = environment["JENKINS_URL"], environment["BUILD_URL"]
    return BuildMetadata(builder, sha256_of(root / FILE), commit_of(root, FILE), run)
