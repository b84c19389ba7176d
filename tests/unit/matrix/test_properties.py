"""What holds for any matrix file, not only for those that people write."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import select, short_names


def expand_text(text: str) -> Matrix:
    return expand(parse_document(text.encode("utf-8", "replace"), "matrix.yaml"), load_facts(), {})


SCALARS = st.sampled_from(
    [
        "11.8",
        "12.4",
        "none",
        "9.10",
        "debian12",
        "ubuntu24.04",
        "x86_64",
        "",
        "[",
        "x",
        "clang-16",
        "minmax",
    ]
)
TOP_KEYS = [
    "version",
    "axes",
    "include",
    "exclude",
    "defaults",
    "aliases",
    "sm",
    "libraries",
    "tiers",
]
KEYS = st.sampled_from(
    [
        *TOP_KEYS,
        "cuda",
        "cudnn",
        "os",
        "arch",
        "compiler",
        "cuda_compiler",
        "python",
        "reason",
        "path",
        "pr",
        "always",
        "other",
    ]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


def refusals(text: str) -> list[str]:
    try:
        expand_text(text)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


@given(st.text() | TREES.map(json.dumps) | st.dictionaries(KEYS, TREES).map(json.dumps))
@settings(max_examples=200)
def test_any_text_is_expanded_or_refused(text: str) -> None:
    assert all(problem.startswith("matrix.yaml:") for problem in refusals(text))


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, object]:
    axes = {
        "cuda": draw(some(["11.8", "12.4", "12.6", "13.0", "13.5"])),
        "cudnn": draw(some(["none", "9.8", "9.10", "9.10.2", "9.28"])),
        "os": draw(some([*load_facts().os])),
        "arch": draw(some(["x86_64", "aarch64"])),
    }
    defaults = {"os": draw(st.sampled_from(axes["os"]))} if draw(st.booleans()) else {}
    return {"version": "1", "sm": ["75"], "axes": axes, "defaults": defaults}


@given(matrices())
@settings(max_examples=100)
def test_what_holds_for_every_matrix(content: dict[str, object]) -> None:
    try:
        matrix = expand_text(json.dumps(content))
    except ConfigurationError as error:
        (problem,) = error.problems
        assert str(problem).split(": ")[1] == "no cell of the matrix can exist"
        return
    ids = [planned.id for planned in matrix.cells]
    size = 1
    for values in matrix.axes.values():
        size *= len(values)
    assert len(ids) == len(set(ids))
    assert size == len(ids) + len(matrix.exclusions)
    assert all(exclusion.reason for exclusion in matrix.exclusions)
    assert all(cell.id in matrix.by_id for cell in short_names(matrix).values())
    assert not set(short_names(matrix)) & set(ids)
    assert select(matrix, []) == select(matrix, ["*"]) == matrix.cells


def test_the_order_of_the_file_does_not_change_the_cells() -> None:
    axes = {"cuda": ["12.4", "13.0"], "os": ["debian12", "debian13"], "arch": ["x86_64"]}
    reversed_axes = {axis: values[::-1] for axis, values in axes.items()}
    first, second = (
        expand_text(json.dumps({"version": "1", "sm": ["75"], "axes": each}))
        for each in (axes, reversed_axes)
    )
    assert [p.id for p in first.cells] == [p.id for p in second.cells]
