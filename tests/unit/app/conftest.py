"""A repository with a lock and generated files, and an engine that has its images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker  # noqa: F401 -- imported in a background thread, its warnings could be errors
import pytest
from tests.fake_engine import fake_engine, image_id
from tests.fakes import FakeExecutor, lock_of, write_repository

from envmatrix.app.generated_files import outputs
from envmatrix.app.places import Images
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.gpu import NVIDIA, Gpu, GpuFacts, NoGpu, choose_for
from envmatrix.engine.tasks import Executor, Gpus
from envmatrix.facts.model import load_facts
from envmatrix.images.model import Image, dev_image
from envmatrix.jobs.model import Resources
from envmatrix.lock.lock_file import FILE, dumps
from envmatrix.machine.cache import cache_directory
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.requirements import Requirement
from envmatrix.store.image_records import ImageRecords

AXES = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64, aarch64]'
CELL = "cuda13.0-debian12-x86_64"
ONE = "libraries: {first: {path: first}}\n"
TESTED = """\
libraries:
  first:
    path: first
    build: {system: script, commands: ["true"]}
    test: {framework: commands, run: ["true"]}
"""


@dataclass
class Elsewhere:
    """A place with these resources."""

    total: Resources
    executor: FakeExecutor = field(default_factory=FakeExecutor)
    keeps_tasks: bool = True
    retries_tasks: bool = True
    trusts_builds: bool = True
    assigns_gpus: bool = False
    gpus: tuple[Gpu, ...] = ()
    events: list[str] = field(default_factory=list)

    @contextmanager
    def open_executor(self) -> Iterator[Executor]:
        self.events.append("run")
        yield self.executor

    def digest(self, image: str) -> str:
        return f"sha256:{image}"

    def images(self, _: Workspace, required: Sequence[Image], __: Console) -> Images:
        return Images({image: str(image) for image in required})

    def resources(self) -> Resources:
        return self.total

    def choose_gpu(self, requirement: Requirement | None = None) -> Gpus | NoGpu:
        if requirement:
            facts = GpuFacts(bool(self.gpus), frozenset({NVIDIA}), True, frozenset(), self.gpus)
            return choose_for(requirement, facts, load_facts())
        return Gpus() if self.total.gpus else NoGpu("there is none")

    @contextmanager
    def measuring(self, _: Console) -> Iterator[None]:
        self.events.append("measuring")
        yield
        self.events.append("measured")


def repository(root: Path, scratch: Path, rest: str) -> Workspace:
    write_repository(root, AXES, rest)
    for name in ("first", "second"):
        (root / name).mkdir()
    (root / FILE).write_text(dumps(lock_of(load_matrix(root), scratch)))
    workspace = Workspace(root)
    for path, text in outputs(workspace):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return workspace


@pytest.fixture
def libraries(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", ONE))


@pytest.fixture
def engine(libraries: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A repository whose images are in the engine, made by this cache."""
    workspace = repository(tmp_path / "repository", tmp_path / "scratch", libraries)
    monkeypatch.chdir(workspace.root)
    images = workspace.images([CELL])
    dev = [dev_image(images[0])] if workspace.matrix.dev_images else []
    inputs = workspace.plan([*images, *dev])
    for image in inputs:
        records = ImageRecords(cache_directory())
        records.note(image.fingerprint, image_id(image.reference), is_ours=True)
    directory = tmp_path / "engine"
    with fake_engine(directory, [image.reference for image in inputs]) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        yield workspace
