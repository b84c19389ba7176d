from __future__ import annotations

from datetime import date, timedelta

import pytest

from envmatrix.facts.model import Facts
from envmatrix.facts.systems import EndOfLife
from envmatrix.matrix.cells import Candidate, parse_cell
from envmatrix.matrix.lifetime import ENDING_WITHIN, Lifetime, lifetimes

END = date(2026, 7, 11)
LTS = date(2028, 6, 30)
DAY = timedelta(days=1)


def lifetime(lts: date | None = None, replacement: str | None = None) -> Lifetime:
    eol = EndOfLife(END, ref="a calendar", lts=lts, replacement=replacement)
    return Lifetime("debian12", "security support", eol, replacement)


def cells(*cell_ids: str) -> list[Candidate]:
    return [cell for cell_id in cell_ids if (cell := parse_cell(cell_id))]


@pytest.mark.parametrize(
    ("today", "state", "warning"),
    [
        (END - ENDING_WITHIN - DAY, "supported", None),
        (END - ENDING_WITHIN, "ending", "debian12: no security support after 2026-07-11"),
        (END, "ending", "debian12: no security support after 2026-07-11"),
        (END + DAY, "ended", "debian12: no security support since 2026-07-11"),
    ],
)
def test_an_end_is_told_180_days_before_and_from_then_on(
    today: date, state: str, warning: str | None
) -> None:
    assert lifetime().state(today) == state
    assert lifetime().warning(today) == warning


def test_a_warning_names_the_lts_while_it_lasts_and_the_replacement() -> None:
    row = lifetime(LTS, "debian13")
    text = "debian12: no security support since 2026-07-11"
    assert row.warning(LTS) == f"{text} (LTS until 2028-06-30); replacement: debian13"
    assert row.warning(LTS + DAY) == f"{text}; replacement: debian13"


def test_each_system_and_release_is_told_once(facts: Facts) -> None:
    rows = lifetimes(
        cells(
            "cuda12.4-debian12-x86_64",
            "cuda12.4-debian12-aarch64",
            "cuda12.4-cudnn9.10-debian13-x86_64",
            "cuda13.0-debian12-x86_64",
        ),
        facts,
    )
    assert [row.name for row in rows] == ["debian12", "debian13", "CUDA 12.4", "CUDA 13.0"]


def test_a_release_ends_with_the_driver_branch_that_it_ships(facts: Facts) -> None:
    _, release = lifetimes(cells("cuda12.4.1-debian13-x86_64"), facts)
    assert release.warning(date(2026, 1, 1)) == (
        "CUDA 12.4: no support of driver branch R550 since 2025-04-17; replacement: CUDA 13.0"
    )


def test_what_has_no_known_end_or_is_unknown_is_not_told(facts: Facts) -> None:
    assert facts.cuda["13.5"].eol is None
    assert lifetimes(cells("cuda13.5-plan9-x86_64", "cuda9.9-plan9-x86_64"), facts) == ()
