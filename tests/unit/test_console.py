from __future__ import annotations

import pytest

from envmatrix.console import Console, Display, JobConsole


def stderr_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr, without the seconds that jobs took."""
    return [line.partition(" in ")[0] for line in capsys.readouterr().err.splitlines()]


def test_a_job_is_shown_from_its_start_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().display() as display, display.job("image", "build", "not built yet", "built"):
        display.step("image", "[devel 1/2] RUN", 1, 2)
    assert stderr_lines(capsys) == ["build    image: not built yet", "built    image"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_job_that_does_not_end_well_has_failed(
    error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(display: Display) -> None:
        with display.job("image", "pull", "published", "pulled"):
            raise error

    with Console().display() as display, pytest.raises(error):
        fail(display)
    assert stderr_lines(capsys) == ["pull     image: published", "failed   image"]


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


def test_more_than_was_expected_is_a_larger_total(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[str] = []

    class Steps(Display):
        def step(self, name: str, step: str, done: int, total: int) -> None:
            assert (name, done, total) == ("a", 0, 0)
            steps.append(step)

    with JobConsole("a", Console(), Steps(Console())).task("files", total=2, unit="MB") as advance:
        advance(1)
        advance(2)
    assert steps == ["files: 0 MB of 2 MB", "files: 1 MB of 2 MB", "files: 3 MB of 3 MB"]
    with Console().task("download", total=2, unit="MB") as advance:
        for _ in range(100):
            advance(1)
    assert stderr_lines(capsys) == ["download: 2 MB of 2 MB"]


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
