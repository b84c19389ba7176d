"""Builds on other machines, and with layers from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from tests.engines import Engine, second_engine
from tests.integration.conftest import CROSSED, ENVIRONMENT, Checkout

from envmatrix.engine.buildkit_progress import BuildProgress
from envmatrix.engine.buildx import Build, BuildOptions, Buildx, missing_caches
from envmatrix.images.model import Image

NAMES = [f"envmatrix/{ENVIRONMENT}:{flavour}-amd64" for flavour in ("runtime", "devel")]
TWO = [f"envmatrix/{ENVIRONMENT}:{name}" for name in ("cross-amd64", "runtime-arm64")]


@pytest.fixture
def third() -> Iterator[Engine]:
    with second_engine() as second:
        yield second


def buildx(home: Path, *arguments: str) -> None:
    environment = {**os.environ, "BUILDX_CONFIG": str(home)}
    subprocess.run(["docker", "buildx", *arguments], env=environment, check=True)


def ids(engine: Engine, names: Sequence[str] = NAMES) -> list[str]:
    return engine.run("image", "inspect", "--format={{.Id}}", *names).stdout.split()


def test_a_remote_builder_makes_the_same_images(
    checkout: Checkout, engine: docker.DockerClient, other: Engine, third: Engine, tmp_path: Path
) -> None:
    """A builder of two nodes, one for each architecture, on an engine that has no image of ours;
    what it makes ends in another."""
    home = tmp_path / "buildx"
    checkout.add_aarch64()
    checkout.run("build", "--no-pull", "--select", CROSSED)
    with third.buildkit("one") as one, third.buildkit("two") as two:
        create = ("create", "--driver=remote", "--name=far")
        buildx(home, *create, "--platform=linux/amd64", "--node=one", one)
        buildx(home, *create, "--platform=linux/arm64", "--node=two", "--append", two)
        checkout.variables |= {"DOCKER_HOST": other.address, "BUILDX_CONFIG": str(home)}
        checkout.run("build", "--no-pull", "--builder", "far", "--select", CROSSED)

    assert ids(other, TWO) == [engine.images.get(name).id for name in TWO]
    assert third.run("image", "ls", "--quiet").stdout == ""


def test_a_builder_that_is_not_there_is_named(checkout: Checkout, other: Engine) -> None:
    checkout.variables["DOCKER_HOST"] = other.address
    message = checkout.run("build", "--no-pull", "--builder", "nobody", expect=6).stderr

    assert 'no builder "nobody" found' in message


SETTING_UP = "Setting up "  # what dpkg says of each package
MISSED = "no layers from a cache"


@pytest.mark.parametrize("kind", ["directory", pytest.param("registry", marks=pytest.mark.long)])
def test_layers_that_are_not_final_come_from_a_cache(
    checkout: Checkout, registry: str, other: Engine, third: Engine, tmp_path: Path, kind: str
) -> None:
    cache = str(tmp_path / "layers") if kind == "directory" else f"oci://{registry}/layers"
    port = int(registry.rpartition(":")[2])
    checkout.variables["DOCKER_HOST"] = other.address
    with other.reaching(port):
        first = checkout.run("build", "--no-pull", "-v", "--cache-from", cache, "--cache-to", cache)
    checkout.variables["DOCKER_HOST"] = third.address
    with third.reaching(port):
        again = checkout.run("build", "--no-pull", "-v", "--cache-from", cache)

    assert ids(third) == ids(other)
    assert (SETTING_UP in first.stderr, SETTING_UP in again.stderr) == (True, False)
    assert (MISSED in first.stderr, MISSED in again.stderr) == (True, False)
    shutil.rmtree(tmp_path / "layers", ignore_errors=True)


def _without_index(cache: Path) -> None:
    (cache / "index.json").unlink()


def _spoiled_index(cache: Path) -> None:
    (cache / "index.json").write_text("no JSON")


def _without_blobs(cache: Path) -> None:
    shutil.rmtree(cache / "blobs")


@pytest.mark.parametrize("harm", [_without_index, _spoiled_index, _without_blobs])
def test_without_the_cache_that_was_to_be_read_images_are_built(
    engine: docker.DockerClient, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    dockerfile = tmp_path / "recipe" / "Dockerfile"
    dockerfile.parent.mkdir()
    dockerfile.write_text("FROM scratch AS tiny\nCOPY Dockerfile /\n")
    places = (str(tmp_path / "layers"),)
    image = Image("test-caches", "tiny", "amd64")
    build = Build(
        image,
        0,
        dockerfile,
        dockerfile.parent,
        {},
        {},
        (image.reference,),
        options=BuildOptions(cache_to=places),
    )
    Buildx().build(build, BuildProgress())
    (cache,) = Path(*places).iterdir()
    harm(cache)

    again, progress = replace(build, options=BuildOptions(cache_from=places)), BuildProgress()
    missing = [*missing_caches(again)]
    Buildx().build(again, progress)

    assert len([*missing, *progress.unread_caches()]) == 1
    engine.images.remove(image.reference)
