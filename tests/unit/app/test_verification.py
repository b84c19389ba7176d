"""Rebuilt images and their comparison, with an engine that answers from a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from tests.docker_api import DockerApi
from tests.unit.app.conftest import CELL, ONE, repository
from tests.unit.engine.test_image_comparison import FILES, image
from tests.unit.engine.test_image_comparison import engine as engine_with

from envmatrix.app import verification
from envmatrix.app.verification import (
    Comparison,
    built_references,
    require_equal,
    verified_references,
    verify_images,
)
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.builder import Order
from envmatrix.errors import EngineError, EnvmatrixError, OutOfDate
from envmatrix.plan.actions import Inputs


@dataclass
class FakeBuilder:
    """Builds nothing: the engine of `api` has the images already."""

    client: docker.DockerClient
    orders: list[Order] = field(default_factory=list)
    failure: EnvmatrixError | None = None

    def build(self, orders: Sequence[Order], _jobs: int) -> None:
        self.orders += orders
        if self.failure:
            raise self.failure


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return repository(tmp_path / "repository", tmp_path / "scratch", ONE)


@pytest.fixture
def inputs(workspace: Workspace) -> Inputs:
    return workspace.plan(workspace.images([CELL]))[0]


def engine_of(inputs: Inputs, layers: Sequence[str]) -> DockerApi:
    """Return an engine with an image of one layer, and its rebuild."""
    rebuilt = f"{inputs.reference}-verify"
    api = engine_with(
        image(inputs.reference, FILES, ["sha256:1"]), image(rebuilt, FILES, [*layers])
    )
    answers = {
        "GET /images/json": [{"Id": "rebuilt"}],
        "GET /images/rebuilt/json": {"Id": "rebuilt", "RepoTags": [rebuilt]},
        f"DELETE /images/{rebuilt}": [],
        "GET /containers/one/json": {"Id": "one"},
        "GET /containers/two/json": {"Id": "two"},
    }
    assert isinstance(api.answers, dict)
    api.answers.update(answers)
    return api


def verify(
    workspace: Workspace, inputs: Inputs, builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> Sequence[Comparison]:
    @contextmanager
    def local_builder(*_: object) -> Iterator[FakeBuilder]:
        yield builder

    monkeypatch.setattr(verification, "local_builder", local_builder)
    references = {inputs: inputs.reference}
    return verify_images(workspace, references, 1, Console(-1), with_bases=False)


def test_an_image_is_rebuilt_without_a_cache_and_compared(
    workspace: Workspace, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = engine_of(inputs, ["sha256:1"])
    builder = FakeBuilder(api.client())
    (comparison,) = verify(workspace, inputs, builder, monkeypatch)
    (order,) = builder.orders
    assert (order.no_cache, order.anew, order.reference) == (
        True,
        True,
        f"{inputs.reference}-verify",
    )
    assert (comparison.image, comparison.differences) == (inputs.reference, ())
    require_equal([comparison])
    assert api.actions[-1] == f"DELETE /images/{order.reference}"


def test_a_rebuild_is_removed_if_a_build_fails(
    workspace: Workspace, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = engine_of(inputs, ["sha256:1"])
    builder = FakeBuilder(api.client(), failure=EngineError("no space left"))
    with pytest.raises(EngineError, match="no space left"):
        verify(workspace, inputs, builder, monkeypatch)
    assert api.actions[-1] == f"DELETE /images/{inputs.reference}-verify"


def test_differences_are_an_error_with_all_of_them() -> None:
    equal = Comparison("a", "sha256:1", "sha256:1", (), ())
    other = Comparison("b", "sha256:2", "sha256:3", (), ("layer 1", "file x"))
    with pytest.raises(EnvmatrixError, match="1 of 2 images differs") as failed:
        require_equal([equal, other])
    assert failed.value.details == ("b: layer 1", "b: file x")


def test_images_that_are_built_are_compared_by_their_names(engine: Workspace) -> None:
    references = built_references(engine, engine.images([CELL]), 1, Console(-1))
    assert references == {inputs: inputs.reference for inputs in references}
    assert len(references) == 2


def test_images_that_were_never_published_cannot_be_compared(workspace: Workspace) -> None:
    with pytest.raises(OutOfDate, match=r"`images\.lock\.json` does not have 2 images"):
        verified_references(workspace, workspace.images([CELL]))
