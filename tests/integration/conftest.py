"""The real engine, or a reason; with REQUIRE_DOCKER=1 a missing engine is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from envmatrix.lock import model
from envmatrix.plan.environments import base_image
from envmatrix.store.origins import Origins

# Read when testcontainers is imported: its reaper comes from a registry that may be out of reach.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

ROOT = Path(__file__).parents[2]

# The cell that every test may count on, and the base it stands on.
CELL = "cuda13.5-debian12-x86_64"
BASE = "debian12-amd64-base"

REGISTRY_IMAGE = "envmatrix-test/registry"
REGISTRY_CONFIGURATION = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
"""

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
