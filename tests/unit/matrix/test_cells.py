from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.facts.targets import package_triplet
from envmatrix.matrix.cells import ARCHES, Candidate, parse_cell, sort_key

VERSIONS = st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}(\.[0-9])?", fullmatch=True)
CELLS = st.builds(
    Candidate,
    VERSIONS,
    st.none() | VERSIONS,
    st.sampled_from(["debian12", "ubuntu24.04"]),
    st.sampled_from(ARCHES),
    compiler=st.sampled_from([None, "gcc-9", "gcc-12", "clang-16", "clang-newest"]),
    cuda_compiler=st.sampled_from([None, "clang"]),
)


@given(CELLS)
def test_an_id_names_its_cell(cell: Candidate) -> None:
    assert parse_cell(cell.id) == cell


@pytest.mark.parametrize("text", ["", "cuda12", "cuda12.4-x86_64", "cuda12.4-debian12-x86_64\n"])
def test_other_text_is_no_id(text: str) -> None:
    assert parse_cell(text) is None


def test_cells_sort_by_version_not_by_letter() -> None:
    cells = [
        Candidate(cuda, cudnn, "debian12", "x86_64")
        for cuda, cudnn in [("9.2", "9.1"), ("12.4", "9.8"), ("12.4", "9.10")]
    ]
    by_letter = sorted(cells)
    assert by_letter != cells
    assert sorted(by_letter, key=sort_key) == cells


def test_the_default_compiler_comes_first_then_the_oldest() -> None:
    compilers = [None, "gcc-9", "gcc-11", "clang-9", "clang-16"]
    cells = [Candidate("12.4", None, "debian12", "x86_64", compiler=name) for name in compilers]
    assert sorted([*reversed(cells)], key=sort_key) == cells


def test_package_names_hold_no_underscore() -> None:
    assert package_triplet("x86_64") == "x86-64-linux-gnu"
    assert package_triplet("ppc64le") == "powerpc64le-linux-gnu"


@pytest.mark.parametrize("digits", [10, 5000])
@pytest.mark.parametrize("cell", ["cuda{}.1-debian12-x86_64", "cuda13.0-cudnn9.{}-debian12-x86_64"])
def test_a_version_with_more_digits_than_any_has_is_no_cell(cell: str, digits: int) -> None:
    assert parse_cell(cell.format("9" * digits)) is None
