"""An adopter's repository in each engine: its jobs and its results are those of one machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import pytest
from tests.adopter import (
    ROOT,
    SIX,
    STUMBLES,
    Adopter,
    Stumble,
    adopter,
    rows_of,
    secrets_in,
    stumbling,
)
from tests.ci.engines import ENGINES, SITE, Engine, in_github, in_jenkins
from tests.ci.names import NAMES, branch_of, subject, waivers
from tests.ci.pipelines import Ended, Nodes, by_hand, ids_of, local, planned
from tests.ci.test_names import assert_arrived
from tests.integration.conftest import CELL
from tests.repositories import commit, git

from envmatrix.pipeline.model import Pipeline

GENERATED = ("github", "gitlab", "jenkins")
TABLE = ROOT / "build/ci/jobs-by-engine.md"
PLACES = (*ENGINES, "GitHub, in containers", "Jenkins, Groovy 4.0")


class Run(Protocol):
    """Runs a pipeline of a repository in an engine, in a directory, with an engine for containers
    that stumbles."""

    def __call__(
        self, user: Adopter, directory: Path, engine: str, *stumbles: Stumble
    ) -> Ended: ...


@pytest.fixture(scope="module")
def run(runner_image: str) -> Run:
    engines: Mapping[str, Engine] = {
        **ENGINES,
        "GitHub, in containers": partial(in_github, image=runner_image),
        "Jenkins, Groovy 4.0": partial(in_jenkins, groovy="4.0"),
    }

    def run_in(user: Adopter, directory: Path, engine: str, *stumbles: Stumble) -> Ended:
        with stumbling(directory / SITE / "engine", *stumbles) as address:
            return engines[engine](user.with_variables(DOCKER_HOST=address), directory)

    return run_in


@pytest.fixture(scope="module")
def six(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    return adopter(tmp_path_factory.mktemp("six"), wheels, engines=GENERATED)


@pytest.fixture(scope="module")
def pipeline(six: Adopter) -> Pipeline:
    """The plan of the six libraries, before anything ran."""
    return planned(six)


@pytest.fixture(scope="module")
def ends(
    six: Adopter, pipeline: Pipeline, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Ended]:
    """Return how the pipeline of the six libraries ends in an engine, or on one machine."""
    ids = ids_of(pipeline)

    @cache
    def end_in(place: str) -> Ended:
        directory = tmp_path_factory.mktemp("run")
        if place in PLACES:
            return run(six, directory, place, Stumble(STUMBLES))
        with stumbling(directory / "engine", Stumble(STUMBLES)) as address:
            user = six.with_variables(DOCKER_HOST=address)
            if place == "by hand":
                return by_hand(Nodes(user, directory / "nodes"))
            return local(user, ids)

    return end_in


@pytest.mark.parametrize("place", ["by hand", *PLACES])
def test_jobs_and_rows_of_results_are_those_of_one_machine(
    ends: Callable[[str], Ended], place: str
) -> None:
    ended, expected = ends(place), ends("one machine")
    assert ended.states == expected.states
    assert rows_of(ended.store) == rows_of(expected.store)
    assert secrets_in(ended.log) == []
    assert not ended.is_green


def test_the_table_of_jobs_has_the_same_in_each_column(
    pipeline: Pipeline, ends: Callable[[str], Ended]
) -> None:
    places = ("one machine", "by hand", *PLACES)
    head = f"| job | id | plan | {' | '.join(places)} |\n|{'---|' * (len(places) + 3)}\n"
    rows = []
    for job in pipeline.jobs:
        states = [ends(place).states.get(job.id, "") for place in places]
        assert {*states} == {states[0]}
        rows.append(f"| {job.name} | {job.id[:12]} | {job.prospect} | {' | '.join(states)} |\n")
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(head + "".join(rows))
    print(TABLE.read_text())


@pytest.mark.parametrize("place", ENGINES)
def test_names_arrive_as_text(wheels: Path, run: Run, place: str, tmp_path: Path) -> None:
    user = adopter(tmp_path, wheels, [subject(CELL)], waivers(), engines=GENERATED)
    branches = (branch_of(name) for name in NAMES)
    name = "/".join(branch.removeprefix("b/") for branch in branches if branch)
    git(user.root, "checkout", "--quiet", "-b", f"b/{name}")
    ended = run(user, tmp_path / "run", place)
    assert {*ended.states.values()} == {"done", "waived"}
    assert ended.is_green, ended.log
    assert_arrived(ended, tmp_path)


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("place", ENGINES)
def test_a_runner_that_dies_is_not_green(
    wheels: Path, run: Run, place: str, tmp_path: Path
) -> None:
    ended = _stumbled(wheels, run, place, tmp_path, kill)
    assert not ended.is_green
    assert "done" not in ended.states.values()


# Jenkins checks out the commit that it began with.
@pytest.mark.parametrize("place", ["GitHub", "GitLab"])
def test_jobs_of_another_revision_are_not_green(
    wheels: Path, run: Run, place: str, tmp_path: Path
) -> None:
    checkout = tmp_path / "run" / SITE / "repository"

    def change(_: int) -> None:
        (checkout / "unrelated").touch()
        commit(checkout)

    assert not _stumbled(wheels, run, place, tmp_path, change).is_green


def _stumbled(
    wheels: Path, run: Run, place: str, directory: Path, then: Callable[[int], None]
) -> Ended:
    """Return how the pipeline of a library ends during whose compilation something happens."""
    good = SIX[0]
    user = adopter(directory, wheels, [good], engines=GENERATED)
    return run(user, directory / "run", place, Stumble(good.library, then=then))
