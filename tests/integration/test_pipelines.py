"""A pipeline in the repository of an adopter, by the commands that engines run: its jobs and its
results are those of `envmatrix test`. `./noxw -s ci` has the engines themselves run it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from tests.adopter import (
    SIX,
    STUMBLES,
    Adopter,
    Stumble,
    adopter,
    install,
    rows_of,
    secrets_in,
    stumbling,
)
from tests.ci.pipelines import Ended, Nodes, by_hand, ids_of, local, planned
from tests.integration.conftest import CELL


@pytest.fixture(scope="module")
def ended(base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Ended]:
    """The ends of a pipeline and of `envmatrix test`, whose engine loses a container."""
    directory = tmp_path_factory.mktemp("adopter")
    subjects = [replace(subject, cell=CELL) for subject in SIX]
    user = adopter(directory, install(directory), subjects)
    ids = ids_of(planned(user))

    def by_pipeline(user: Adopter) -> Ended:
        return by_hand(Nodes(user, directory / "nodes"))

    ends = []
    for run in (by_pipeline, partial(local, ids=ids)):
        with stumbling(directory / "engine", Stumble(STUMBLES)) as address:
            ends.append(run(user.with_variables(DOCKER_HOST=address)))
    return ends[0], ends[1]


def test_each_job_ends_as_on_one_machine(ended: tuple[Ended, Ended]) -> None:
    pipeline, one_machine = ended
    assert pipeline.states == one_machine.states
    assert not pipeline.is_green


def test_the_store_of_results_has_the_same_rows(ended: tuple[Ended, Ended]) -> None:
    pipeline, one_machine = ended
    assert rows_of(pipeline.store) == rows_of(one_machine.store)


def test_no_secret_is_printed(ended: tuple[Ended, Ended]) -> None:
    assert [*map(secrets_in, (part.log for part in ended))] == [[], []]
