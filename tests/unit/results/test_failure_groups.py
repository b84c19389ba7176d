"""Failures of many cells as few lines: what belongs together, since when, and where it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import Position
from envmatrix.results.failure_groups import extent_text, group_failures
from envmatrix.results.queries import Sighting
from envmatrix.results.records import Revision
from envmatrix.results.summary import Failure, Origin
from envmatrix.results.waivers import Waiver

CELLS = tuple(
    f"cuda{cuda}-{os}-{arch}"
    for cuda in ("12.4", "13.0", "13.5")
    for os in ("debian12", "debian13")
    for arch in ("x86_64", "aarch64")
)


def failure(cell: str, message: str = "no", *, since: float | None = None) -> Failure:
    began = since and Origin(
        Sighting(f"run-{cell}", Revision("r", "", since), since, "failed"), None
    )
    return Failure("lib", cell, "test", "failed", "product", message, f"run-{cell}", began or None)


def test_the_same_message_in_many_cells_is_one_group() -> None:
    (group,) = group_failures(failure(cell) for cell in CELLS)
    assert (group.library, group.name, group.message) == ("lib", "test", "no")
    assert group.cells == CELLS


def test_the_name_of_the_cell_an_address_and_more_lines_make_no_difference() -> None:
    (group,) = group_failures(
        failure(cell, f"  timeout in {cell} at 0x{number:x}\nline {number}")
        for number, cell in enumerate(CELLS)
    )
    assert group.message == f"timeout in {CELLS[0]} at 0x0"


@pytest.mark.parametrize(
    "other",
    [
        replace(failure(CELLS[1]), name="other"),
        replace(failure(CELLS[1]), library="other"),
        replace(failure(CELLS[1]), state="errored"),
        failure(CELLS[1], "exit code 2"),
        replace(
            failure(CELLS[1]),
            waiver=Waiver(
                test="*",
                owner="ana",
                bug="BUG-1",
                expires=date(2999, 1, 1),
                position=Position("waivers.yaml", 1, 1),
            ),
        ),
    ],
    ids=["test", "library", "state", "message", "waiver"],
)
def test_what_differs_in_its_cause_is_another_group(other: Failure) -> None:
    assert len(group_failures([failure(CELLS[0]), other])) == 2


def test_a_group_began_with_its_first_commit() -> None:
    (group,) = group_failures(
        [failure("a"), failure("b", since=30.0), failure("c", since=20.0), failure("d", since=25.0)]
    )
    assert group.first.cell == "c"


def test_a_group_without_an_origin_shows_its_first_cell() -> None:
    (group,) = group_failures([failure("a"), failure("b")])
    assert group.first.cell == "a"


FAILURES = st.lists(
    st.builds(
        failure,
        st.sampled_from(CELLS),
        st.sampled_from(["no", "no at 0x1f", "0x", "", "\n", "other"]),
        since=st.none() | st.floats(1.0, 1e9),
    )
)


@given(FAILURES)
def test_each_failure_is_in_one_group_and_large_groups_are_first(failures: list[Failure]) -> None:
    groups = group_failures(failures)
    grouped = [item for group in groups for item in group.failures]
    assert sorted(map(id, grouped)) == sorted(map(id, failures))
    sizes = [len(group.failures) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert all(group.first in group.failures for group in groups)


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (CELLS[:1], CELLS[0]),
        (CELLS, "all 12 cells"),
        ([cell for cell in CELLS if "13.5" in cell], "all 4 cells with CUDA 13.5"),
        ([cell for cell in CELLS if "cuda13" in cell], "all 8 cells with CUDA 13"),
        ([cell for cell in CELLS if "aarch64" in cell], "all 6 cells with aarch64"),
        (
            [cell for cell in CELLS if "aarch64" in cell and "debian13" in cell],
            "all 3 cells with debian13, aarch64",
        ),
        ([CELLS[1], CELLS[5]], "2 of 3 cells with debian12, aarch64"),
        ([CELLS[0], CELLS[7]], "2 of 12 cells"),
        (["odd", CELLS[0]], "2 of 12 cells"),
        (["odd", "even"], "2 of 12 cells"),
    ],
)
def test_cells_are_described_by_what_they_share(cells: list[str], text: str) -> None:
    assert extent_text(cells, CELLS) == text


def test_cells_without_cudnn_are_described_as_such() -> None:
    with_cudnn = [cell.replace("-debian", "-cudnn9.10-debian") for cell in CELLS]
    assert extent_text(CELLS, [*CELLS, *with_cudnn]) == "all 12 cells with no cuDNN"
    assert extent_text(with_cudnn, [*CELLS, *with_cudnn]) == "all 12 cells with cuDNN 9.10"


@given(st.sets(st.sampled_from(CELLS), min_size=2))
def test_a_description_counts_the_cells(cells: set[str]) -> None:
    text = extent_text(sorted(cells), CELLS)
    assert text.startswith((f"{len(cells)} of ", f"all {len(cells)} cells"))
