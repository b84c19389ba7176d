"""Cells by CUDA, operating system and architecture."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.results.heat_map import Column, Row, count_states, heat_map


def test_the_newest_cuda_is_first_and_impossible_places_are_empty() -> None:
    heat = heat_map(
        ["cuda9.2-debian12-x86_64", "cuda13.5-debian12-aarch64", "cuda13.5-debian12-x86_64"]
    )
    assert heat.columns == (Column("debian12", "x86_64"), Column("debian12", "aarch64"))
    assert heat.rows == (
        Row("13.5", (("cuda13.5-debian12-x86_64",), ("cuda13.5-debian12-aarch64",))),
        Row("9.2", (("cuda9.2-debian12-x86_64",), ())),
    )


def test_a_place_has_a_cell_for_each_cudnn() -> None:
    cells = [f"cuda13.5{cudnn}-debian12-x86_64" for cudnn in ("-cudnn9.28", "", "-cudnn9.10")]
    (row,) = heat_map(cells).rows
    assert row.places == ((cells[1], cells[2], cells[0]),)


def test_states_are_counted_worst_first() -> None:
    states = {"a": "passed", "b": "failed", "c": "waived", "d": "passed"}
    counts = count_states([*states, "e"], states)
    assert list(counts.items()) == [("failed", 1), ("waived", 1), ("passed", 2), ("not run", 1)]


@given(
    st.lists(
        st.from_regex(
            r"cuda1[0-3]\.[0-9](-cudnn9\.1?[0-9])?-(debian|ubuntu)1[0-9]-(x86_64|aarch64|other)",
            fullmatch=True,
        )
        | st.text(max_size=9)
    )
)
def test_each_cell_has_one_place(cells: list[str]) -> None:
    heat = heat_map(cells)
    placed = [cell for row in heat.rows for place in row.places for cell in place]
    assert sorted([*placed, *heat.others]) == sorted(set(cells))
    assert all(len(row.places) == len(heat.columns) for row in heat.rows)
