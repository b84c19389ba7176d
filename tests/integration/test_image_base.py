"""A base that is an official image by digest, from a real registry: locked, generated, built."""

from __future__ import annotations

import docker
import pytest
from tests.images import pushed
from tests.integration.conftest import Project

from envmatrix.lock import lock_file

# A release of its own: the images of the repository's matrix keep their names.
ENVIRONMENT = "cuda13.4-debian12"
MATRIX = """\
version: "1"
axes:
  cuda: ["13.4"]
  os: [debian12]
  arch: [x86_64]
sm: ["90"]
bases:
  debian12: {image}
"""


@pytest.fixture
def image(engine: docker.DockerClient, base: str, registry: str) -> str:
    """The base, pushed; its name by digest."""
    engine.images.get(base).tag(f"{registry}/debian", "12")
    return pushed(engine, f"{registry}/debian:12")


def test_an_environment_is_built_on_an_image_by_digest(
    engine: docker.DockerClient, base: str, image: str, project: Project
) -> None:
    (project.root / lock_file.FILE).unlink()
    project.ask_for(MATRIX.format(image=image))

    project.lock()
    project.run("build")

    dockerfile = (project.root / f"dockerfiles/{ENVIRONMENT}/Dockerfile").read_text()
    assert f"FROM --platform=linux/amd64 {image} AS base-amd64" in dockerfile
    layers = engine.images.get(f"envmatrix/{ENVIRONMENT}:runtime-amd64").attrs["RootFS"]["Layers"]
    assert layers[0] == engine.images.get(base).attrs["RootFS"]["Layers"][0]
