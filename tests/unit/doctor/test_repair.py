from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from envmatrix.doctor.findings import RepairStep
from envmatrix.doctor.repair import Daemon, apply
from envmatrix.errors import EngineError


def answer_after(count: int) -> Callable[[], bool]:
    answers = iter([False] * count)
    return lambda: next(answers, True)


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path / "logs/daemon.log", answers=lambda: True, pid=lambda: None)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


def start(marker: Path) -> RepairStep:
    return RepairStep("starting", ("touch", str(marker)), starts_engine=True)


def test_a_file_is_written_with_its_directories(tmp_path: Path, daemon: Daemon) -> None:
    file, messages = tmp_path / "a/b", list[str]()
    argv = ("install", "-D", "-m", "0644", "/dev/stdin", str(file))
    apply([RepairStep("writing", argv, stdin="text\n")], daemon, say=messages.append)
    assert (file.read_text(), messages) == ("text\n", ["writing"])


def test_a_step_that_became_unnecessary_is_left_out(tmp_path: Path, daemon: Daemon) -> None:
    messages: list[str] = []
    apply([RepairStep("failing", ("false",), unless=str(tmp_path))], daemon, say=messages.append)
    assert messages == []


def test_a_failure_ends_the_repair_and_shows_what_the_program_said(
    marker: Path, daemon: Daemon
) -> None:
    steps = [
        RepairStep("listing", ("ls", "/nonexistent")),
        RepairStep("touching", ("touch", str(marker))),
    ]
    with pytest.raises(EngineError, match="listing failed with exit code 2") as caught:
        apply(steps, daemon, say=print)
    assert "/nonexistent" in caught.value.details[0]
    assert caught.value.hint == "run it by hand: `ls /nonexistent`"
    assert not marker.exists()


def test_an_engine_that_answers_is_not_started_again(marker: Path, daemon: Daemon) -> None:
    apply([start(marker)], daemon, say=print)
    assert not marker.exists()


def test_starting_waits_for_the_answer(marker: Path, daemon: Daemon) -> None:
    apply([start(marker)], replace(daemon, answers=answer_after(2)), say=print)
    assert marker.exists()


def test_an_engine_on_its_way_up_is_only_waited_for(marker: Path, daemon: Daemon) -> None:
    rising = replace(daemon, answers=answer_after(2), pid=lambda: 1)
    apply([start(marker)], rising, say=print)
    assert not marker.exists()


def test_an_engine_that_dies_is_not_waited_for(daemon: Daemon) -> None:
    dying = RepairStep("starting", ("ls", "/nonexistent"), starts_engine=True)
    with pytest.raises(EngineError, match="does not answer") as caught:
        apply([dying], replace(daemon, answers=lambda: False), say=print)
    assert "/nonexistent" in caught.value.details[-1]
