from __future__ import annotations

import pytest

from envmatrix.console import Console, Display


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


def test_work_without_anything_to_do_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().task("download", total=0, unit="bytes") as advance:
        advance(0)
    assert stderr_lines(capsys) == []
