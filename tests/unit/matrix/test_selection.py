from __future__ import annotations

from collections.abc import Callable

import pytest

from envmatrix.errors import ConfigurationError, NothingSelected
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import candidates_named, explain, find_cell, select, short_names

MatrixOf = Callable[[str], Matrix]


@pytest.mark.parametrize(
    ("name", "cell_id"),
    [
        ("cuda12-aarch64", "cuda12.4-debian12-aarch64"),
        ("cuda12.4-aarch64", "cuda12.4-debian12-aarch64"),
        ("cuda13-x86_64", "cuda13.5-debian12-x86_64"),
        ("cuda13.0-x86_64", "cuda13.0-debian12-x86_64"),
        ("cuda13-cudnn9-x86_64", "cuda13.5-cudnn9.28-debian12-x86_64"),
        ("cuda13-cudnn9.28-x86_64", "cuda13.5-cudnn9.28-debian12-x86_64"),
        ("cuda12.4-debian13-x86_64", "cuda12.4-debian13-x86_64"),
    ],
)
def test_a_name_finds_its_cell(shipped: Matrix, name: str, cell_id: str) -> None:
    assert find_cell(shipped, name).id == cell_id


def test_a_short_name_takes_another_os_where_the_default_has_no_cell(matrix_of: MatrixOf) -> None:
    matrix = matrix_of(
        "defaults: {os: debian12}\n"
        'exclude: [{cuda: "12.4", os: debian12, arch: x86_64, reason: r}]\n'
    )
    assert find_cell(matrix, "cuda12-x86_64").id == "cuda12.4-debian13-x86_64"
    assert find_cell(matrix, "cuda12-aarch64").id == "cuda12.4-debian12-aarch64"


def test_an_alias_overrides_the_newest_version(matrix_of: MatrixOf) -> None:
    rest = 'include: [{cuda: "13.0", os: debian12, arch: x86_64}, '
    rest += '{cuda: "13.5", os: debian12, arch: x86_64}]\n'
    assert find_cell(matrix_of(rest), "cuda13-x86_64").cuda == "13.5"
    rest += 'aliases: {cuda13: {cuda: "13.0"}, stable: {cuda: "12.4", arch: x86_64}}\n'
    assert find_cell(matrix_of(rest), "cuda13-x86_64").cuda == "13.0"
    assert find_cell(matrix_of(rest), "stable").id == "cuda12.4-debian12-x86_64"


def test_a_default_architecture_may_be_left_out_of_a_name(matrix_of: MatrixOf) -> None:
    matrix = matrix_of("defaults: {arch: aarch64}\n")
    assert find_cell(matrix, "cuda12").id == "cuda12.4-debian12-aarch64"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "cuda11.8-debian13-x86_64",
            (
                "cell `cuda11.8-debian13-x86_64` cannot exist: "
                "CUDA 11.8 takes GCC 6 to 11; debian13 has 12, 13, 14"
            ),
            "the nearest cell that exists is `cuda11.8-debian12-x86_64`",
        ),
        (
            "cuda12.4-cudnn9.28-debian12-x86_64",
            (
                "cell `cuda12.4-cudnn9.28-debian12-x86_64` is excluded (matrix.yaml:12:5): "
                "one cuDNN per CUDA major is enough for us"
            ),
            "the nearest cell that exists is `cuda12.4-cudnn9.10-debian12-x86_64`",
        ),
        (
            "cuda11.8-cudnn9.10-aarch64",
            (
                "cell `cuda11.8-cudnn9.10-aarch64` (`cuda11.8-cudnn9.10-debian12-aarch64`) "
                "cannot exist: cuDNN packages for CUDA 11.8: 9.0 to 9.10 for x86_64; "
                "the cell has 9.10 for aarch64"
            ),
            "the nearest cell that exists is `cuda11.8-debian12-aarch64`",
        ),
        (
            "cuda13.4-debian12-x86_64",
            "there is no cell `cuda13.4-debian12-x86_64`: not listed in matrix.yaml",
            "the nearest cell that exists is `cuda13.5-debian12-x86_64`",
        ),
        ("cuda12-arch64", "there is no cell `cuda12-arch64`", "did you mean `cuda12-aarch64`?"),
    ],
)
def test_a_name_without_a_cell_is_refused_with_the_reason(
    shipped: Matrix, name: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_cell(shipped, name)
    assert [(str(problem), problem.hint) for problem in caught.value.problems] == [(message, hint)]


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (["cuda12-x86_64"], ["cuda12.4-debian12-x86_64"]),
        (["cuda11.8-debian12"], ["cuda11.8-debian12-aarch64", "cuda11.8-debian12-x86_64"]),
        (
            ["cuda12.4-debian1?-x86_64"],
            ["cuda12.4-debian12-x86_64", "cuda12.4-debian13-x86_64"],
        ),
        (
            ["cuda12-x86_64, cuda11-x86_64"],
            ["cuda11.8-debian12-x86_64", "cuda12.4-debian12-x86_64"],
        ),
    ],
)
def test_patterns_select_by_id_short_name_and_environment(
    shipped: Matrix, patterns: list[str], ids: list[str]
) -> None:
    assert [planned.id for planned in select(shipped, patterns)] == ids


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("cuda12-x86_46", "`cuda12-x86_46` matches no cell", "did you mean `cuda12-x86_64`?"),
        ("", "the selection holds an empty pattern", "give a cell or a glob"),
        (
            "cuda11.8-debian13-x86_64",
            (
                "cell `cuda11.8-debian13-x86_64` cannot exist: "
                "CUDA 11.8 takes GCC 6 to 11; debian13 has 12, 13, 14"
            ),
            "the nearest cell that exists is `cuda11.8-debian12-x86_64`",
        ),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_even_beside_one_that_does(
    shipped: Matrix, pattern: str, message: str, hint: str
) -> None:
    with pytest.raises(NothingSelected) as caught:
        select(shipped, ["cuda12*", pattern])
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_present_cell_is_explained_by_where_it_is_asked_for(shipped: Matrix) -> None:
    explanation = explain(shipped, *candidates_named(shipped, "cuda12-aarch64"))
    assert explanation.present
    assert explanation.reason == "on the axes of matrix.yaml"
    assert str(explanation.position) == "matrix.yaml:6:18"
    assert explanation.names == ("cuda12-aarch64", "cuda12.4-aarch64")
    assert all(verdict.passed for verdict in explanation.verdicts)


def test_an_absent_cell_is_explained_by_the_rules_and_its_nearest(shipped: Matrix) -> None:
    explanation = explain(shipped, *candidates_named(shipped, "cuda12.4-debian13-aarch64"))
    assert not explanation.present
    assert [v.rule for v in explanation.verdicts if not v.passed] == ["math-vector"]
    assert str(explanation.nearest) == "cuda12.4-debian12-aarch64"


def test_a_cell_that_nobody_listed_is_explained_by_the_same_rules(shipped: Matrix) -> None:
    explanation = explain(shipped, *candidates_named(shipped, "cuda12.3-debian13-aarch64"))
    assert explanation.reason.startswith("not listed in matrix.yaml; and glibc 2.38 and later")
    assert str(explanation.nearest) == "cuda13.0-debian13-aarch64"


def test_no_short_name_is_an_id_or_an_environment(shipped: Matrix) -> None:
    names = {n for p in shipped.cells for n in (p.id, p.environment)}
    assert not names & set(short_names(shipped))


@pytest.mark.parametrize(
    ("pattern", "cells"),
    [
        ("cuda11.8-aarch64", ["cuda11.8-debian12-aarch64"]),
        ("cuda12.4-debian13", ["cuda12.4-debian13-x86_64", "cuda12.4-debian13-aarch64"]),
        ("cuda12.4-debian13-*", ["cuda12.4-debian13-x86_64", "cuda12.4-debian13-aarch64"]),
        ("cuda9.9-plan9-x86_64", ["cuda9.9-plan9-x86_64"]),
        ("cmake", []),
    ],
)
def test_names_and_globs_mean_impossible_cells_as_well(
    shipped: Matrix, pattern: str, cells: list[str]
) -> None:
    assert [cell.id for cell in candidates_named(shipped, pattern)] == cells


def test_cells_that_a_rule_leaves_out_are_impossible_and_excluded_ones_are_not(
    shipped: Matrix,
) -> None:
    impossible = {row.cell.id for row in shipped.impossible}
    assert "cuda12.4-debian13-aarch64" in impossible
    assert "cuda12.4-cudnn9.28-debian12-x86_64" not in impossible
