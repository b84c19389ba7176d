from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from tests.fakes import lock_of, matrix_of
from tests.servers import REPOSITORY, Server

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.contents import BuildContents
from envmatrix.images.environments import environments
from envmatrix.lock.lock_file import FILE
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import Index, indexes_of
from envmatrix.publishing.attestations import AttestationPublisher, build_metadata
from envmatrix.publishing.cosign import Cosign
from envmatrix.registry.manifests import INDEX, MANIFEST, Manifest, canonical
from envmatrix.render.provenance import PROVENANCE, BuildMetadata
from envmatrix.render.sbom import CYCLONEDX, SPDX

METADATA = BuildMetadata("urn:envmatrix:local", "0" * 64, None, None)


@dataclass
class FakeCosign:
    """A signer that signs all images."""

    signed: list[str] = field(default_factory=list)

    def is_signed(self, image: str) -> bool:
        return image in self.signed

    def sign(self, images: Sequence[str]) -> None:
        self.signed += images


@dataclass
class Publication:
    """One image and its index, which are in a registry."""

    publisher: AttestationPublisher
    index: Index
    image: Manifest
    whole: Manifest

    def publish(self) -> None:
        self.publisher.publish(self.index, {"amd64": self.image}, self.whole)


@contextmanager
def publication_of(
    server: Server, root: Path, cosign: FakeCosign | None = None
) -> Iterator[Publication]:
    matrix = matrix_of(root / "repository", 'os: [debian12]\narch: [x86_64]\ncuda: ["13.0"]')
    lock = lock_of(matrix, root)
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    image = next(image for image in environment.images if image.flavour == "runtime")
    (index,) = indexes_of([Inputs(image, "ab" * 32, BuildContents(1, {}))])
    manifest = Manifest(MANIFEST, canonical({"layers": []}))
    whole = Manifest(INDEX, canonical({"manifests": [manifest.descriptor]}))
    server.manifests |= {manifest.digest: manifest, whole.digest: whole}
    with server.client() as registry:
        publisher = AttestationPublisher(
            registry, {environment.name: environment}, lock, METADATA, cast("Cosign | None", cosign)
        )
        yield Publication(publisher, index, manifest, whole)


def documents(server: Server, publication: Publication) -> dict[str, str]:
    """Return the digest of each document beside the image, by its type."""
    with server.client() as registry:
        rows = registry.referrers(publication.image.digest)
    return {row["artifactType"]: row["digest"] for row in rows}


@pytest.mark.parametrize("has_referrers", [True, False])
def test_an_image_gets_its_documents_once(has_referrers: bool, tmp_path: Path) -> None:
    server = Server(has_referrers=has_referrers)
    with publication_of(server, tmp_path) as publication:
        publication.publish()
        first = documents(server, publication)
        assert first.keys() == {SPDX, CYCLONEDX, PROVENANCE}
        puts = sum(line.startswith("PUT") for line in server.requests)
        publication.publish()
        assert documents(server, publication) == first
    assert sum(line.startswith("PUT") for line in server.requests) == puts


def test_the_index_is_signed_after_everything_else_and_only_once(tmp_path: Path) -> None:
    server, signatures = Server(has_referrers=True), FakeCosign()
    with publication_of(server, tmp_path, signatures) as publication:
        publication.publish()
        digests = [*documents(server, publication).values(), publication.whole.digest]
        publication.publish()
    assert {*signatures.signed} == {f"{REPOSITORY}@{digest}" for digest in digests}
    assert signatures.signed[-1] == f"{REPOSITORY}@{publication.whole.digest}"
    assert len(signatures.signed) == len(digests)


def test_the_provenance_names_the_image_by_its_digest(tmp_path: Path) -> None:
    server = Server(has_referrers=True)
    with publication_of(server, tmp_path) as publication:
        publication.publish()
        manifest = server.manifests[documents(server, publication)[PROVENANCE]]
    (layer,) = manifest.descriptors("layers")
    statement = json.loads(server.blobs[layer["digest"]])
    (subject,) = statement["subject"]
    assert f"sha256:{subject['digest']['sha256']}" == publication.image.digest


@pytest.mark.parametrize(
    ("environment", "builder", "run"),
    [
        ({}, "urn:envmatrix:local", None),
        (
            {
                "GITHUB_WORKFLOW_REF": "team/library/.github/workflows/ci.yml@main",
                "GITHUB_SERVER_URL": "https://github.example",
                "GITHUB_REPOSITORY": "team/library",
                "GITHUB_RUN_ID": "7",
            },
            "https://github.example/team/library/.github/workflows/ci.yml@main",
            "https://github.example/team/library/actions/runs/7",
        ),
        (
            {
                "CI_PROJECT_URL": "https://gitlab.example/p",
                "CI_JOB_URL": "https://gitlab.example/j",
            },
            "https://gitlab.example/p",
            "https://gitlab.example/j",
        ),
        (
            {"JENKINS_URL": "https://jenkins.example", "BUILD_URL": "https://jenkins.example/1"},
            "https://jenkins.example",
            "https://jenkins.example/1",
        ),
    ],
    ids=["local", "github", "gitlab", "jenkins"],
)
def test_the_builder_is_the_ci_that_runs(
    environment: dict[str, str], builder: str, run: str | None, tmp_path: Path
) -> None:
    (tmp_path / FILE).write_text("{}")
    metadata = build_metadata(tmp_path, environment)
    assert (metadata.builder, metadata.run) == (builder, run)
