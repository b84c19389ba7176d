"""A base that is an official image by digest, from a real registry: locked, generated, built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from tests.integration.conftest import ROOT, Envmatrix

from envmatrix.store.origins import Origins

REGISTRY_IMAGE = "envmatrix-test/registry"
REGISTRY_CONFIGURATION = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
"""

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


@pytest.fixture(scope="session")
def registry(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry in a container of the base; its address on loopback."""
    context = tmp_path_factory.mktemp("registry")
    install = "apt-get update && apt-get install -y --no-install-recommends docker-registry"
    source = f"deb {Origins().archive('debian')[0]} bookworm main"
    (context / "config.yml").write_text(REGISTRY_CONFIGURATION)
    (context / "Dockerfile").write_text(
        f"FROM {base}\nRUN echo '{source}' >/etc/apt/sources.list && {install}\n"
        "COPY config.yml /etc/registry.yml\n"
    )
    subprocess.run(
        ["docker", "build", "--quiet", "--network=host", "--tag", REGISTRY_IMAGE, str(context)],
        check=True,
        capture_output=True,
    )
    container = (
        DockerContainer(REGISTRY_IMAGE)
        .with_command("docker-registry serve /etc/registry.yml")
        .with_exposed_ports(5000)
        .waiting_for(LogMessageWaitStrategy("listening on"))
    )
    with container as started:
        yield f"127.0.0.1:{started.get_exposed_port(5000)}"


@pytest.fixture
def image(engine: docker.DockerClient, base: str, registry: str) -> str:
    """The base, pushed; its name by digest."""
    name = f"{registry}/debian"
    engine.images.get(base).tag(name, "12")
    said = engine.images.push(name, "12")
    assert "error" not in said, said
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
