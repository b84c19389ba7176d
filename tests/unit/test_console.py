from __future__ import annotations

import os
import sys

import pytest
from tests.terminals import Terminal

from envmatrix.console import Console, Display, JobConsole, output, output_document
from envmatrix.errors import OutOfDate


def stderr_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr, without the seconds that jobs took."""
    return [line.partition(" in ")[0] for line in capsys.readouterr().err.splitlines()]


def test_a_job_is_shown_from_its_start_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().display() as display, display.job("image", "build", "not built yet", "built"):
        display.step("image", "[devel 1/2] RUN", 1, 2)
    assert stderr_lines(capsys) == ["build    image: not built yet", "built    image"]


@pytest.mark.parametrize(
    ("error", "line"), [(KeyboardInterrupt, "interrupted image"), (ValueError, "failed   image")]
)
def test_a_job_that_does_not_end_well_has_failed(
    error: type[BaseException], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(display: Display) -> None:
        with display.job("image", "pull", "published", "pulled"):
            raise error

    with Console().display() as display, pytest.raises(error):
        fail(display)
    assert stderr_lines(capsys) == ["pull     image: published", line]


def test_nothing_is_shown_where_only_errors_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(-1).display() as display, display.job("image", "build", "reason", "built"):
        pass
    assert stderr_lines(capsys) == []


def test_progress_is_shown_at_its_end_where_lines_are_not_redrawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Console().task("download", total=3_000_000, unit="bytes") as advance:
        advance(1_000_000)
        advance(2_000_000)
    assert stderr_lines(capsys) == ["download: 3 MB of 3 MB"]


def test_a_step_in_a_line_keeps_its_end_where_names_of_files_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("envmatrix.console._PLAIN_INTERVAL_SECONDS", 0.0)
    with Console().display() as display, display.job("a", "build", "reason", "built"):
        display.step("a", f"compiling {'x' * 100}/kernel.cu", 0, 0)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(" ")]
    assert line.startswith("         a: compiling x")
    assert line.endswith("x/kernel.cu")
    assert len(line) == 9 + len("a: ") + 70


def test_more_than_was_expected_is_a_larger_total(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []

    class Steps(Display):
        def step(self, name: str, step: str, done: int, total: int) -> None:
            assert (name, done, total) == ("a", 0, 0)
            steps.append(step)

    with JobConsole("a", Console(), Steps(Console())).task("files", total=2, unit="MB") as advance:
        advance(1)
        advance(2)
    assert steps == ["files: 0 of 2 MB", "files: 1 of 2 MB", "files: 3 of 3 MB"]
    with Console().task("download", total=2, unit="MB") as advance:
        for _ in range(100):
            advance(1)
    assert stderr_lines(capsys) == ["download: 2 of 2 MB"]


def test_a_download_is_shown_as_a_job_if_there_is_anything_to_download(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Console().display() as display:
        for name, total in (("here", 0), ("missing", 3_000_000)):
            meter = display.download(name)
            with meter.task("download", total=total, unit="bytes") as advance:
                advance(total)
    assert stderr_lines(capsys) == ["download missing: 3 MB", "fetched  missing"]


def test_a_job_shows_how_much_of_its_work_is_done() -> None:
    steps: list[str] = []

    class Steps(Display):
        def step(self, name: str, step: str, done: int, total: int) -> None:
            steps.append(f"{name}: {step}")

    console = JobConsole("job", Console(), Steps(Console()))
    with console.task("download", total=3_000_000, unit="bytes") as advance:
        advance(1_000_000)
        advance(-1_000_000)
    with console.task("download", total=0, unit="bytes"):
        pass
    assert steps == [f"job: download: {amount} of 3 MB" for amount in ("0 B", "1 MB", "0 B")]


def test_work_without_anything_to_do_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().task("download", total=0, unit="bytes") as advance:
        advance(0)
    assert stderr_lines(capsys) == []


def test_a_warning_of_many_jobs_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for name in ("first", "second"):
        JobConsole(name, console, Display(console)).warn("there is no cache")
    console.warn("there is no cache")
    assert stderr_lines(capsys) == ["warning: first: there is no cache"]


def test_progress_names_what_is_worked_on() -> None:
    steps: list[str] = []

    class Steps(Display):
        def step(self, name: str, step: str, done: int, total: int) -> None:
            steps.append(step)

    with JobConsole("job", Console(), Steps(Console())).task(
        "get", total=2, unit="sets"
    ) as advance:
        advance(0, "first")
        advance(1)
    assert steps == [
        "get: 0 of 2 sets",
        "get: 0 of 2 sets, first",
        "get: 1 of 2 sets, first",
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(1.0, []), (75.0, ["done     in 1 min 15 s"])])
def test_a_command_that_people_waited_for_ends_with_its_time(
    seconds: float, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Console().say_end("done", seconds)
    assert capsys.readouterr().err.splitlines() == lines


class Screen:
    """The environment of a console whose messages are on a terminal."""

    def __init__(self, terminal: Terminal, patch: pytest.MonkeyPatch) -> None:
        for name in ("CI", "NO_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm-256color")
        patch.setattr(sys, "stderr", terminal)
        patch.setattr(terminal, "fileno", lambda: 2)
        patch.setattr(os, "get_terminal_size", lambda _: terminal.size())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_all_work_is_in_one_table_also_work_within_other_work(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Screen(terminal := Terminal(width), monkeypatch)
    console = Console()
    with console.task("resolve", total=57, unit="sets") as advance:
        advance(3, "debian12-amd64-base")
        with console.display() as display, display.job("base", "make", "missing", "made"):
            display.step("base", "unpack", 0, 0)
            console.say("message")
            rows = terminal.rows
    assert rows[:2] == ["make     base: missing", "message"]
    assert rows[2].startswith("resolve 3/57 0:00 ")
    assert rows[3].split() == ["base", "0:00", "unpack"]
    assert rows[2].endswith("base")
    assert terminal.rows[-1].startswith("made     base in ")


@pytest.mark.parametrize(
    ("variable", "value", "is_live"),
    [("TERM", "dumb", False), ("NO_COLOR", "1", False), ("CI", "true", False), ("CI", "", True)],
)
def test_lines_are_redrawn_only_where_somebody_sees_them(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, *, is_live: bool
) -> None:
    Screen(Terminal(), monkeypatch)
    monkeypatch.setenv(variable, value)
    assert Console().is_live == is_live


def test_a_state_and_a_label_are_coloured_and_legible_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Screen(terminal := Terminal(), monkeypatch)
    Console().say("failed   image in 1.0 s")
    Console().error(OutOfDate("the lock is old", hint="run `envmatrix lock`"))
    assert terminal.rows == [
        "failed   image in 1.0 s",
        "error: the lock is old [out-of-date]",
        "hint: run `envmatrix lock`",
    ]
    colours = [terminal.screen.buffer[row][0].fg for row in range(3)]
    assert colours == ["red", "red", "cyan"]
    assert terminal.screen.buffer[0][9].fg == "default"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_messages_are_broken_between_words_as_the_terminal_is_wide(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Screen(terminal := Terminal(width), monkeypatch)
    text = "CUDA 12.4: no support of driver branch R550 since 2025-04-17; replacement: CUDA 13.0"
    Console().warn(text)
    assert max(map(len, terminal.rows)) <= width
    assert " ".join(row.strip() for row in terminal.rows) == f"warning: {text}"


def test_a_label_stays_apart_from_a_name_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    Screen(terminal := Terminal(20), monkeypatch)
    Console().warn(f"`/{'a' * 20}` is gone")
    assert terminal.rows == ["warning:", f"  `/{'a' * 16}", "aaaa`", "  is gone"]


def test_bytes_of_a_job_are_counted_in_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    Screen(terminal := Terminal(40), monkeypatch)
    with Console().display() as display, display.job("image", "push", "registry", "pushed"):
        display.moved("image", "pushing", 160_724_568, 211_059_999)
        display.say("now")
        assert terminal.rows[-1].startswith("image 161/211 MB 0:00 0:00 left pushing")


def test_lines_of_other_programs_and_documents_are_not_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Screen(terminal := Terminal(20), monkeypatch)
    line = "file.cpp:3: error: no such thing"
    Console().error(OutOfDate("old", details=[line]))
    Console(1).detail(line)
    monkeypatch.setattr(sys, "stdout", terminal)
    output_document(line)
    assert [*terminal.rows[:2], *terminal.rows[4:]] == [line[:20], line[20:]] * 3
    output("reuse    an image of a cell")
    assert terminal.rows[-2:] == ["reuse    an image of", "         a cell"]
