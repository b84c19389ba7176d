from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import Facts, load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import find_cell, select
from envmatrix.matrix.selectors import is_selector, match_releases

MatrixOf = Callable[..., Matrix]


def facts_with(*complete: str) -> Facts:
    """Return facts of CUDA, where only the releases in `complete` have packages.

    Each has the packages of 13.0, so that its cells can exist.
    """
    facts = load_facts()
    packages = facts.cuda["13.0"].packages
    releases = {
        release: replace(
            facts.cuda["12.4"],
            release=release,
            packages=packages if release in complete else (),
        )
        for release in ("11.8", "12.4", "12.9", "12.10", "13.0", "13.1")
    }
    return replace(facts, cuda=releases)


FACTS = facts_with("11.8", "12.4", "12.9", "13.0")


@pytest.fixture
def matrix_of() -> MatrixOf:
    """The matrix of a CUDA axis, at line 3, and the rest of a file, which begins at line 6."""

    def build(cuda: str, rest: str = "", facts: Facts = FACTS) -> Matrix:
        text = f"""\
version: "1"
axes:
  cuda: {cuda}
  os: [debian12]
  arch: [x86_64]
{rest}sm: ["90"]
"""
        return expand(parse_document(text.encode(), "matrix.yaml"), facts, {})

    return build


def problems_of(matrix_of: MatrixOf, *arguments: str) -> list[tuple[str, str | None]]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(*arguments)
    return [(str(problem), problem.hint) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("cuda", "releases"),
    [
        ("[12.x]", ["12.9"]),
        ("[latest]", ["13.0"]),
        ("[oldest]", ["11.8"]),
        ("[minmax]", ["11.8", "13.0"]),
        ('[minmax, 12.x, "12.4"]', ["11.8", "12.4", "12.9", "13.0"]),
    ],
)
def test_a_selector_stands_for_releases_that_a_source_has_in_full(
    matrix_of: MatrixOf, cuda: str, releases: list[str]
) -> None:
    assert [planned.cuda for planned in matrix_of(cuda).cells] == releases


def test_a_new_release_moves_what_selectors_stand_for(matrix_of: MatrixOf) -> None:
    later = facts_with("11.8", "12.4", "12.9", "12.10", "13.0", "13.1")
    cells = matrix_of("[12.x, latest]", "", later).cells
    assert [planned.cuda for planned in cells] == ["12.10", "13.1"]


def test_the_only_release_is_both_the_oldest_and_the_latest(matrix_of: MatrixOf) -> None:
    cells = matrix_of("[minmax]", "", facts_with("13.0")).cells
    assert [planned.cuda for planned in cells] == ["13.0"]


def test_a_cell_stands_where_its_selector_does(matrix_of: MatrixOf) -> None:
    positions = {planned.cuda: str(planned.position) for planned in
                 matrix_of('["12.4", minmax]').cells}  # fmt: skip
    assert positions == {
        "11.8": "matrix.yaml:3:18",
        "12.4": "matrix.yaml:3:10",
        "13.0": "matrix.yaml:3:18",
    }


def test_excludes_aliases_and_includes_take_selectors(matrix_of: MatrixOf) -> None:
    rest = """\
exclude: [{cuda: minmax, arch: x86_64, reason: r}]
include: [{cuda: latest, os: debian13, arch: x86_64}]
aliases: {mine: {cuda: 12.x, arch: x86_64}}
"""
    matrix = matrix_of("[minmax, 12.x]", rest)
    assert [planned.id for planned in matrix.cells] == [
        "cuda12.9-debian12-x86_64",
        "cuda13.0-debian13-x86_64",
    ]
    assert find_cell(matrix, "mine").id == "cuda12.9-debian12-x86_64"


def test_names_and_selections_are_those_of_the_releases(matrix_of: MatrixOf) -> None:
    matrix = matrix_of("[12.x, latest]")
    assert find_cell(matrix, "cuda12-x86_64").id == "cuda12.9-debian12-x86_64"
    assert [planned.id for planned in select(matrix, ["cuda12.9*"])] == ["cuda12.9-debian12-x86_64"]


KNOWN = "there are `11.8`, `12.4`, `12.9`, `13.0`"


@pytest.mark.parametrize(
    ("cuda", "rest", "position"),
    [
        ("[10.x]", "", "3:10"),
        ("[latest]", "exclude: [{cuda: 10.x, reason: r}]\n", "6:18"),
        ("[latest]", "include: [{cuda: 10.x, os: debian13, arch: x86_64}]\n", "6:18"),
        ("[latest]", "aliases: {mine: {cuda: 10.x}}\n", "6:24"),
    ],
)
def test_a_selector_that_matches_nothing_is_told_once_with_what_there_is(
    matrix_of: MatrixOf, cuda: str, rest: str, position: str
) -> None:
    message = "no CUDA release that a source has in full matches `10.x`"
    assert problems_of(matrix_of, cuda, rest) == [(f"matrix.yaml:{position}: {message}", KNOWN)]


@pytest.mark.parametrize(
    ("cuda", "problem"),
    [
        ('["12.9", 12.x]', "3:18: `12.x` means `12.9`, which is already listed at 3:10"),
        ('[12.x, "12.9"]', "3:16: `12.9` is already listed at 3:10 as `12.x`"),
        (
            "[13.x, latest]",
            "3:16: `latest` means `13.0`, which is already listed at 3:10 as `13.x`",
        ),
        ('["11.8", minmax]', "3:18: `minmax` means `11.8`, which is already listed at 3:10"),
    ],
)
def test_a_release_that_is_listed_twice_is_told_with_what_means_it(
    matrix_of: MatrixOf, cuda: str, problem: str
) -> None:
    spelt = problem.replace("3:", "matrix.yaml:3:")
    assert problems_of(matrix_of, cuda) == [(spelt, None)]


def test_a_release_that_is_not_on_the_axis_is_told_with_what_means_it(
    matrix_of: MatrixOf,
) -> None:
    rest = "exclude: [{cuda: oldest, reason: r}]\n"
    assert problems_of(matrix_of, "[latest]", rest) == [
        ("matrix.yaml:6:18: axis `cuda` has no value `11.8` (`oldest`)", "it has 13.0")
    ]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("12x", "12.x"),
        ("13.*", "13.x"),
        ("12", "12.x"),
        ("12.X", "12.x"),
        ("newest", "latest"),
        ("Latest", "latest"),
        ("min", "oldest"),
        ("minmaks", "minmax"),
    ],
)
def test_what_is_almost_a_selector_is_told_with_it(
    matrix_of: MatrixOf, text: str, suggestion: str
) -> None:
    ((message, hint),) = problems_of(matrix_of, f'["12.4", "{text}"]')
    assert message.startswith("matrix.yaml:3:18: `axes.cuda[1]` must be a version such as `12.4`")
    assert hint == f"did you mean `{suggestion}`?"


def test_two_releases_are_no_release_of_a_cell(matrix_of: MatrixOf) -> None:
    rest = "include: [{cuda: minmax, os: debian13, arch: x86_64}]\n"
    ((message, hint),) = problems_of(matrix_of, "[latest]", rest)
    assert message.startswith("matrix.yaml:6:18: `include[0].cuda` must be a version such as")
    assert hint is None


SELECTORS = st.sampled_from(["latest", "oldest", "minmax", "11.x", "12.x", "13.x", "1.x"])
RELEASES = st.lists(st.tuples(st.sampled_from([11, 12, 13]), st.integers(0, 12)), unique=True).map(
    lambda versions: [f"{major}.{minor}" for major, minor in sorted(versions)]
)


@given(SELECTORS, RELEASES)
def test_a_selector_stands_for_releases_there_are_the_oldest_first(
    selector: str, releases: list[str]
) -> None:
    matches = match_releases(selector, releases)
    assert is_selector(selector)
    assert list(matches) == [release for release in releases if release in matches]
    if not selector.endswith(".x"):
        assert bool(matches) == bool(releases)
    elif matches:
        (newest,) = matches
        major = selector.removesuffix("x")
        assert [release for release in releases if release.startswith(major)][-1] == newest
