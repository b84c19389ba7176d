"""A base that is an official image by digest, from a real registry: locked, generated, built."""

from __future__ import annotations

import shutil
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import ROOT, Envmatrix

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
    name = f"{registry}/debian"
    engine.images.get(base).tag(name, "12")
    output = engine.images.push(name, "12")
    assert "error" not in output, output
    digest = engine.images.get(f"{name}:12").attrs["RepoDigests"][0].split("@")[1]
    engine.images.remove(f"{name}:12")
    return f"{name}@{digest}"


def test_an_environment_is_built_on_an_image_by_digest(
    envmatrix: Envmatrix, engine: docker.DockerClient, base: str, image: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    (tmp_path / "matrix.yaml").write_text(MATRIX.format(image=image))

    envmatrix("lock", cwd=tmp_path)
    envmatrix("generate", cwd=tmp_path)
    envmatrix("build", cwd=tmp_path)

    dockerfile = (tmp_path / f"dockerfiles/{ENVIRONMENT}/Dockerfile").read_text()
    assert f"FROM --platform=linux/amd64 {image} AS base-amd64" in dockerfile
    layers = engine.images.get(f"envmatrix/{ENVIRONMENT}:runtime-amd64").attrs["RootFS"]["Layers"]
    assert layers[0] == engine.images.get(base).attrs["RootFS"]["Layers"][0]
    for flavour in ("runtime", "devel"):
        engine.images.remove(f"envmatrix/{ENVIRONMENT}:{flavour}-amd64", force=True)
