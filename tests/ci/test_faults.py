"""Faults of runners and of engines: each has one outcome, and the required check is never green."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.adopter import SIX, Adopter, Stumble, adopter, stumbling
from tests.ci.pipelines import Nodes, ids_of, to_do
from tests.integration.conftest import CELL
from tests.repositories import commit

from envmatrix.errors import OutOfDate
from envmatrix.pipeline.model import PipelineJob
from envmatrix.pipeline.outcomes import TEMPORARY_FAILURE

GOOD = SIX[0]
COMPILE, TEST = f"compile {GOOD.library} {CELL}", f"test {GOOD.library} {CELL}"


@pytest.fixture(scope="module")
def good(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    """A repository with a library whose tests pass."""
    return adopter(tmp_path_factory.mktemp("good"), wheels, [GOOD])


@pytest.fixture
def nodes(good: Adopter, tmp_path: Path) -> Nodes:
    nodes = Nodes(good, tmp_path)
    nodes.plan()
    return nodes


def job(nodes: Nodes, name: str) -> PipelineJob:
    return nodes.pipeline.by_id[ids_of(nodes.pipeline)[name]]


def artifact(nodes: Nodes, name: str) -> Path:
    return nodes.artifacts / "jobs" / job(nodes, name).id


def test_a_pipeline_without_a_fault_is_green(nodes: Nodes) -> None:
    assert [nodes.attempt(job) for job in to_do(nodes.pipeline)] == [0, 0]
    assert nodes.report().is_green


def test_a_runner_that_dies_in_a_job_leaves_none_of_its_outcomes(
    good: Adopter, nodes: Nodes, tmp_path: Path
) -> None:
    kill = Stumble(GOOD.library, then=lambda process: os.kill(process, signal.SIGKILL))
    with stumbling(tmp_path / "engine", kill) as address:
        dying = Nodes(good.with_variables(DOCKER_HOST=address), nodes.directory)
        assert dying.attempt(job(nodes, COMPILE)) == -signal.SIGKILL
    ended = nodes.report()
    assert not ended.is_green
    assert "it has no outcome: it was cancelled, or its runner was lost" in ended.log
    assert nodes.again() == []


def _without_outputs(artifact: Path) -> None:
    shutil.rmtree(artifact / "outputs")


def _with_other_outputs(artifact: Path) -> None:
    for file in (artifact / "outputs").iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def _with_less_outputs(artifact: Path) -> None:
    for file in (artifact / "outputs").iterdir():
        os.truncate(file, file.stat().st_size // 2)


def _without_record(artifact: Path) -> None:
    shutil.rmtree(artifact / "records")


def _without_outcome(artifact: Path) -> None:
    (artifact / "outcome.json").unlink()


def _with_half_an_outcome(artifact: Path) -> None:
    file = artifact / "outcome.json"
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        _without_outputs,
        _with_other_outputs,
        _with_less_outputs,
        _without_record,
        _without_outcome,
        _with_half_an_outcome,
        shutil.rmtree,
    ],
)
def test_an_incomplete_artifact_is_asked_for_again_and_never_made_anew(
    nodes: Nodes, damage: Callable[[Path], None]
) -> None:
    assert nodes.attempt(job(nodes, COMPILE)) == 0
    damage(artifact(nodes, COMPILE))
    assert nodes.attempt(job(nodes, TEST)) == TEMPORARY_FAILURE
    assert job(nodes, TEST) in nodes.again()
    assert nodes.attempt(job(nodes, TEST), 2) == 1
    assert not nodes.report().is_green


def test_a_plan_of_another_revision_is_out_of_date(
    wheels: Path, tmp_path: Path, nodes: Nodes
) -> None:
    user = adopter(tmp_path, wheels, [GOOD])
    other = Nodes(user, tmp_path / "nodes")
    other.plan()
    (user.root / "unrelated").touch()
    commit(user.root)
    assert [other.attempt(job) for job in to_do(other.pipeline)] == [OutOfDate.exit_code] * 2
    assert not other.report().is_green


def test_outcomes_of_another_plan_do_not_count(nodes: Nodes) -> None:
    for each in to_do(nodes.pipeline):
        nodes.attempt(each)
    file = nodes.artifacts / "plan.json"
    plan = json.loads(file.read_text())
    plan["trigger"]["rerun"] = "all"
    file.write_text(json.dumps(plan))
    ended = nodes.report()
    assert not ended.is_green
    assert "its outcome is of another plan" in ended.log


def test_a_plan_without_a_job_is_no_success_unless_nothing_is_affected(
    good: Adopter, nodes: Nodes
) -> None:
    file = nodes.artifacts / "plan.json"
    plan = json.loads(file.read_text())
    file.write_text(json.dumps({**plan, "jobs": []}))
    ended = nodes.report()
    assert not ended.is_green
    assert "the plan has no job" in ended.log
    changed = Nodes(good, nodes.directory / "changed")
    changed.plan("--event=pull_request", "--base=HEAD")
    assert changed.pipeline.jobs == ()
    assert changed.report().is_green


def test_a_job_that_a_newer_push_cancels_leaves_no_outcome(
    good: Adopter, nodes: Nodes, tmp_path: Path
) -> None:
    stop = Stumble(GOOD.library, then=lambda process: os.kill(process, signal.SIGTERM))
    with stumbling(tmp_path / "engine", stop) as address:
        stopped = Nodes(good.with_variables(DOCKER_HOST=address), nodes.directory)
        assert stopped.attempt(job(nodes, COMPILE)) == 130
    assert not nodes.report().is_green


def test_clocks_of_machines_are_not_compared(good: Adopter, nodes: Nodes) -> None:
    """Let one machine be two years behind, and one two years ahead."""
    for each, years in zip(to_do(nodes.pipeline), (-2, 2), strict=True):
        skewed = Nodes(good.with_variables(**_clock(nodes.directory, years)), nodes.directory)
        assert skewed.attempt(each) == 0
    assert nodes.report().is_green


def _clock(directory: Path, years: int) -> Mapping[str, str]:
    """Return variables with which the time of Python is another."""
    (directory / "sitecustomize.py").write_text(
        "import os, time\nreal = time.time\n"
        "time.time = lambda: real() + 365 * 86400 * int(os.environ['YEARS'])\n"
    )
    return {"PYTHONPATH": str(directory), "YEARS": str(years)}


def test_a_controller_that_starts_again_goes_on_with_what_is_kept(nodes: Nodes) -> None:
    assert nodes.attempt(job(nodes, COMPILE)) == 0
    (nodes.artifacts / "jobs" / job(nodes, TEST).id).mkdir()  # half written
    assert not nodes.report().is_green
    again = Nodes(nodes.adopter, nodes.directory / "again")
    shutil.copytree(nodes.artifacts, again.artifacts)
    assert again.attempt(job(again, TEST)) == 0
    assert again.report().is_green


def test_a_pull_request_of_a_fork_is_not_trusted(good: Adopter, tmp_path: Path) -> None:
    event = {"pull_request": {"head": {"repo": {"full_name": "somebody/project"}}}}
    (tmp_path / "event.json").write_text(json.dumps(event))
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GITHUB_REPOSITORY": "team/project",
    }
    pipeline = Nodes(good.with_variables(**variables), tmp_path / "nodes").plan()
    assert not pipeline.trigger.is_trusted
    assert not pipeline.of_stage("images")
