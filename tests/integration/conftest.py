"""The real engine, or a reason; with REQUIRE_DOCKER=1 a missing engine is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from tests import registries

from envmatrix.lock import model
from envmatrix.plan.environments import base_image
from envmatrix.store.origins import Origins

ROOT = Path(__file__).parents[2]

# The cell that every test may count on, and the base it stands on.
CELL = "cuda13.5-debian12-x86_64"
BASE = "debian12-amd64-base"

Envmatrix = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1, and no container engine answers: {error}")
        pytest.skip(f"no container engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def envmatrix(engine: docker.DockerClient) -> Envmatrix:
    """Run the tool in this repository and return what it printed."""

    def run(*arguments: str, expect: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "envmatrix", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def base(envmatrix: Envmatrix) -> str:
    """The name of a bootstrapped base that is in the engine's store."""
    envmatrix("build", "--select", CELL)
    lock = model.load(ROOT)
    return base_image(BASE, lock.sets[BASE].request, lock.sets[BASE].diff_id)


@pytest.fixture(scope="session")
def registry_image(base: str) -> str:
    """The name of an image with a registry."""
    return registries.image(base, Origins().archive("debian")[0])


@pytest.fixture(scope="session")
def registry(registry_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry on loopback that asks for no password."""
    with registries.serve(registry_image, tmp_path_factory.mktemp("registry")) as its:
        yield its.host
