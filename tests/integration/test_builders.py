"""Builds on other machines, and with layers from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.engines import Engine, second_engine
from tests.integration.conftest import ENVIRONMENT, Checkout

NAMES = [f"envmatrix/{ENVIRONMENT}:{flavour}-amd64" for flavour in ("runtime", "devel")]


@pytest.fixture
def third() -> Iterator[Engine]:
    with second_engine() as its:
        yield its


def buildx(home: Path, *arguments: str) -> None:
    environment = {**os.environ, "BUILDX_CONFIG": str(home)}
    subprocess.run(["docker", "buildx", *arguments], env=environment, check=True)


def ids(its: Engine) -> list[str]:
    return its.run("image", "inspect", "--format={{.Id}}", *NAMES).stdout.split()


def test_a_remote_builder_makes_the_same_images(
    checkout: Checkout, engine: docker.DockerClient, other: Engine, third: Engine, tmp_path: Path
) -> None:
    """A builder of two nodes, one for each architecture, on an engine that has no image of ours;
    what it makes ends in another."""
    home = tmp_path / "buildx"
    with third.buildkit("one") as one, third.buildkit("two") as two:
        create = ("create", "--driver=remote", "--name=far")
        buildx(home, *create, "--platform=linux/amd64", "--node=one", one)
        buildx(home, *create, "--platform=linux/arm64", "--node=two", "--append", two)
        checkout.variables |= {"DOCKER_HOST": other.address, "BUILDX_CONFIG": str(home)}
        checkout.run("build", "--no-pull", "--builder", "far")

    assert ids(other) == [engine.images.get(name).id for name in NAMES]
    assert set(checkout.actions().values()) == {"reuse"}
    assert third.run("image", "ls", "--quiet").stdout == ""
    other.run("image", "rm", "--force", *ids(other))


def test_a_builder_that_is_not_there_is_named(checkout: Checkout, other: Engine) -> None:
    checkout.variables["DOCKER_HOST"] = other.address
    said = checkout.run("build", "--no-pull", "--builder", "nobody", expect=6).stderr

    assert 'no builder "nobody" found' in said


@pytest.mark.parametrize("kind", ["directory", "registry"])
def test_layers_that_are_not_final_come_from_a_cache(
    checkout: Checkout, registry: str, other: Engine, third: Engine, tmp_path: Path, kind: str
) -> None:
    cache = str(tmp_path / "layers") if kind == "directory" else f"oci://{registry}/layers"
    port = int(registry.rpartition(":")[2])
    checkout.variables["DOCKER_HOST"] = other.address
    with other.reaching(port):
        checkout.run("build", "--no-pull", "--cache-from", cache, "--cache-to", cache)
    checkout.variables["DOCKER_HOST"] = third.address
    with third.reaching(port):
        again = checkout.run("build", "--no-pull", "-v", "--cache-from", cache)

    assert ids(third) == ids(other)
    assert "Setting up " not in again.stderr  # what dpkg says of each package
    other.run("image", "rm", "--force", *ids(other))
    shutil.rmtree(tmp_path / "layers", ignore_errors=True)
