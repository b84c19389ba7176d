"""The real engine, or a reason; with REQUIRE_DOCKER=1 a missing engine is a failure."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from tests import registries, tools
from tests.engines import Engine, second_engine
from tests.outputs import machine_of

from envmatrix.images.environments import base_image
from envmatrix.lock import images_lock, lock_file
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.machine.origins import Origins

ROOT = Path(__file__).parents[2]

# The cell that every test may count on, and the base it stands on.
CELL = "cuda13.5-debian12-x86_64"
CROSSED = "cuda13.5-debian12-aarch64"
BASE = "debian12-amd64-base"

ENVIRONMENT = CELL.removesuffix("-x86_64")

# As the repository's own cell, so that its images are built already.
MATRIX = f"""\
version: "1"
axes:
  cuda: ["{ENVIRONMENT.removeprefix("cuda").removesuffix("-debian12")}"]
  os: [debian12]
  arch: [x86_64]
sm: ["75", "80", "86", "90", "100", "120"]
registry: {{repository: registry.example/team/images}}
"""

# The library of this repository, without its tests and its benchmark: half of what is compiled.
VECTOROPS = """\
vectorops:
    path: examples/vectorops
    build: {options: [-DBUILD_TESTING=OFF, -DVECTOROPS_BUILD_BENCHMARKS=OFF]}
    artifacts: ["libvectorops.so*"]
"""

Program = Callable[..., "subprocess.CompletedProcess[str]"]
Envmatrix = Callable[..., "subprocess.CompletedProcess[str]"]


def is_here(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not is_here(item):
        return (yield)
    with turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Wait until no other integration test of this user runs, or none that has to be alone. Who
    waits is next."""
    directory = cache_directory() / "tests"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "running").open("a") as running:
        with exclusive(directory / "next"):
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@dataclass
class Checkout:
    """A repository with one cell, and what the tool has for an environment in it."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.before, sys.executable, "-m", "envmatrix", *arguments],
            cwd=self.root,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the tool in the background; the file `output` gets what it prints."""
        with (self.root / "output").open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "envmatrix", *arguments],
                cwd=self.root,
                env={**os.environ, **self.variables},
                stdout=output,
                stderr=output,
                text=True,
            )

    @property
    def output(self) -> str:
        return (self.root / "output").read_text()

    def use(self, repository: str) -> None:
        self.variables["ENVMATRIX_REGISTRY"] = repository

    def say(self, registry: str) -> None:
        """Have this line of matrix.yaml instead."""
        file = self.root / "matrix.yaml"
        file.write_text(re.sub(r"(?m)^registry: .*$", registry, file.read_text()))

    def add_aarch64(self) -> None:
        """Have the environment for a second architecture too."""
        file = self.root / "matrix.yaml"
        file.write_text(file.read_text().replace("arch: [x86_64]", "arch: [x86_64, aarch64]"))
        shutil.copy(ROOT / "matrix.lock.json", self.root)
        self.run("lock")
        self.run("generate")

    def actions(self) -> Mapping[str, str]:
        rows = json.loads(self.run("build", "--dry-run", "--json").stdout)
        return {row["image"].partition(":")[2].rpartition("-")[0]: row["action"] for row in rows}

    @property
    def published(self) -> images_lock.ImagesLock:
        return images_lock.load(self.root)


@dataclass
class Project(Checkout):
    """A repository with a matrix of its own, on a machine with a configuration of its own."""

    def configure(self, text: str) -> None:
        file = Path(self.variables["XDG_CONFIG_HOME"]) / "envmatrix/config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def ask_for(self, matrix: str) -> None:
        (self.root / "matrix.yaml").write_text(matrix)

    def lock(self) -> None:
        """Lock what the matrix asks for, and generate it."""
        self.run("lock")
        self.run("generate")

    def machines(self, cell: str) -> set[str | None]:
        """Return for which machines `vectorops` is compiled in a cell."""
        files = (self.root / "build" / cell / "vectorops").glob("*/libvectorops.so.*")
        return {machine_of(file) for file in files if not file.is_symlink()}


@pytest.fixture(scope="module", autouse=True)
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Reuse no result of earlier tests: what passed then is done again."""
    directory = tmp_path_factory.mktemp("configuration")
    file = directory / "envmatrix/config.toml"
    file.parent.mkdir()
    file.write_text(f'[jobs]\nrecords = "{directory}/records"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(directory))
        yield


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
    lock = lock_file.load(ROOT)
    return base_image(BASE, lock.sets[BASE])


@pytest.fixture(scope="session")
def registry_image(base: str) -> str:
    """The name of an image with a registry."""
    return registries.image(base, Origins().archive("debian")[0])


@pytest.fixture(scope="session")
def registry(registry_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry on loopback that asks for no password."""
    with registries.serve(registry_image, tmp_path_factory.mktemp("registry")) as server:
        yield server.host


@pytest.fixture(scope="session")
def template(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    (root / "matrix.yaml").write_text(MATRIX)
    shutil.copytree(ROOT / "envs", root / "envs")
    shutil.copy(ROOT / "matrix.lock.json", root)
    checkout = Checkout(root)
    checkout.run("lock")
    checkout.run("generate")
    return root


@pytest.fixture
def checkout(template: Path, tmp_path: Path) -> Checkout:
    return Checkout(shutil.copytree(template, tmp_path / "checkout"))


@contextmanager
def new_project(engine: docker.DockerClient, directory: Path) -> Iterator[Project]:
    """Yield a project without a matrix yet, whose images are removed at the end."""
    root = directory / "repository"
    for name in ("envs", "examples"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / lock_file.FILE, root)
    variables = {"XDG_CONFIG_HOME": str(directory / "config"), "TMPDIR": str(directory)}
    yield Project(root, variables)
    for environment in root.glob("dockerfiles/*"):
        for image in engine.images.list(f"envmatrix/{environment.name}"):
            engine.images.remove(str(image.id), force=True)


@pytest.fixture
def project(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Project]:
    with new_project(engine, tmp_path) as project:
        yield project


@pytest.fixture(scope="module")
def beside(engine: docker.DockerClient) -> Iterator[Engine]:
    with second_engine() as second:
        yield second


@pytest.fixture
def other(beside: Engine) -> Iterator[Engine]:
    """An engine that has no image, and has never built one."""
    yield beside
    if left := set(beside.run("image", "ls", "--quiet").stdout.split()):
        beside.run("image", "rm", "--force", *left)
    beside.run("builder", "prune", "--all", "--force")


@pytest.fixture(scope="session")
def path() -> str:
    """$PATH with the programs that others look at a registry with."""
    return tools.path_with("cosign", "oras", "skopeo")


@pytest.fixture
def program(path: str) -> Program:
    def run(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": path, "COSIGN_EXPERIMENTAL": "1"}
        done = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, done.stderr
        return done

    return run


def key_pair(program: Program, directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    prefix = directory / "cosign"
    environment = ("env", "COSIGN_PASSWORD=secret", "cosign")
    program(*environment, "generate-key-pair", f"--output-key-prefix={prefix}")
    return prefix.with_suffix(".key")


@pytest.fixture
def signed(checkout: Checkout, path: str, program: Program) -> Checkout:
    """A checkout whose matrix says whose signatures count."""
    key = key_pair(program, checkout.root / "keys")
    shutil.copy(key.with_suffix(".pub"), checkout.root)
    checkout.say("registry: {repository: registry.example/team/images, key: cosign.pub}")
    checkout.variables |= {"PATH": path, "COSIGN_PASSWORD": "secret"}
    return checkout
