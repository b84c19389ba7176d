from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.matrix.cells import AXES, TOOL_AXES, Cell, CudaSource, Toolchain, sort_key
from envmatrix.matrix.model import Budget, Matrix
from envmatrix.matrix.tier_names import TIERS
from envmatrix.matrix.tiers import TierCells, tier_of

MatrixOf = Callable[[str], Matrix]
REPOSITORY = Path(__file__).parents[3]

GRID = product(["9.8", "9.10", "10.0"], [None, "9.0", "9.1"], ["a", "b"], ["aarch64", "x86_64"])
TOOLCHAIN = Toolchain("12", CudaSource("pypi", None), None, None, ("90",))
CELLS = [Cell(*values, TOOLCHAIN) for values in GRID]
NO_LIMIT = Budget(jobs=999, gpu_jobs=999)
COUNTS = st.integers(1, 12)


def some_cells() -> st.SearchStrategy[list[Cell]]:
    return st.lists(st.sampled_from(CELLS), min_size=1, unique=True)


def of(
    shipped: Matrix, cells: list[Cell], pr: Budget = NO_LIMIT, nightly: Budget = NO_LIMIT
) -> Matrix:
    """Return a matrix of any cells, whether they can exist or not."""
    axes = {**shipped.axes, "os": ("a", "b")}
    return replace(
        shipped,
        cells=tuple(sorted(cells, key=sort_key)),
        axes=axes,
        aliases={},
        tiers={"pr": pr, "nightly": nightly},
    )


def cells_of(tier: TierCells) -> list[Cell]:
    return [choice.cell for choice in tier.choices]


def parts(cell: Cell, size: int) -> set[tuple[tuple[str, str | None], ...]]:
    axes = [axis for axis in AXES if axis not in TOOL_AXES]
    return set(combinations([(axis, getattr(cell, axis)) for axis in axes], size))


def covered(cells: list[Cell], size: int = 2) -> set[tuple[tuple[str, str | None], ...]]:
    return set().union(*(parts(cell, size) for cell in cells))


@given(some_cells())
def test_without_a_limit_all_pairs_and_then_all_triples_are_covered(
    shipped: Matrix, cells: list[Cell]
) -> None:
    matrix = of(shipped, cells)
    assert covered(cells_of(tier_of(matrix, "pr"))) == covered(cells)
    nightly = tier_of(matrix, "nightly")
    assert covered(cells_of(nightly), 3) == covered(cells, 3)
    assert [(entry.of, entry.uncovered) for entry in nightly.coverage] == [
        ("pairs", ()),
        ("triples", ()),
    ]


@given(some_cells(), COUNTS, COUNTS, st.integers(0, 12))
def test_a_tier_keeps_its_budget_and_has_the_tier_before_it(
    shipped: Matrix, cells: list[Cell], jobs: int, more: int, gpu_jobs: int
) -> None:
    matrix = of(shipped, cells, Budget(jobs, gpu_jobs), Budget(jobs + more, gpu_jobs))
    pr, nightly, weekly = (tier_of(matrix, name) for name in TIERS)
    for tier, most in ((pr, jobs), (nightly, jobs + more)):
        assert len(tier.choices) <= most
        assert sum(choice.gpu for choice in tier.choices) <= gpu_jobs
    assert set(cells_of(pr)) <= set(cells_of(nightly)) <= set(cells_of(weekly)) == set(cells)


@given(some_cells(), COUNTS, COUNTS)
def test_a_larger_budget_only_adds_cells(
    shipped: Matrix, cells: list[Cell], jobs: int, more: int
) -> None:
    for name in ("pr", "nightly"):
        budgets = (Budget(jobs, 0), Budget(jobs + more, more))
        less, larger = (
            cells_of(tier_of(of(shipped, cells, budget, budget), name)) for budget in budgets
        )
        assert larger[: len(less)] == less


@given(some_cells(), st.data())
def test_each_cell_covers_something_new_or_is_asked_for(
    shipped: Matrix, cells: list[Cell], data: st.DataObject
) -> None:
    always = tuple(cell.id for cell in data.draw(st.lists(st.sampled_from(cells), unique=True)))
    matrix = of(shipped, cells, Budget(999, 0, always))
    before: list[Cell] = []
    for choice in tier_of(matrix, "nightly").choices:
        cell = choice.cell
        gains = {size: len(parts(cell, size) - covered(before, size)) for size in (2, 3)}
        assert (choice.reason == "always") == (cell.id in always)
        assert choice.reason in {
            "always",
            "endpoint",
            *(f"covers {gains[2]} pair{ending}" for ending in ("", "s") if gains[2]),
            *(f"covers {gains[3]} triple{ending}" for ending in ("", "s") if gains[3]),
        }
        assert cell.id in always or gains[3]
        before.append(cell)


@given(some_cells(), COUNTS)
def test_the_coverage_counts_what_occurs_and_names_what_is_left(
    shipped: Matrix, cells: list[Cell], jobs: int
) -> None:
    tier = tier_of(of(shipped, cells, Budget(jobs, 0)), "pr")
    (pairs,) = tier.coverage
    assert pairs.total == len(covered(cells))
    assert pairs.covered == len(covered(cells_of(tier)))
    assert len(set(pairs.uncovered)) == pairs.total - pairs.covered


def test_the_order_of_hashes_does_not_matter() -> None:
    command = [sys.executable, "-m", "envmatrix", "plan", "--tier", "nightly"]
    first, second = (
        subprocess.check_output(command, cwd=REPOSITORY, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    )
    assert first == second


def test_endpoints_come_first_and_versions_count_as_numbers(shipped: Matrix) -> None:
    choices = tier_of(of(shipped, CELLS), "pr").choices
    assert [(choice.cell.id, choice.reason) for choice in choices[:3]] == [
        ("cuda9.8-a-aarch64", "endpoint"),
        ("cuda10.0-cudnn9.1-b-x86_64", "endpoint"),
        ("cuda9.10-cudnn9.0-a-x86_64", "covers 6 pairs"),
    ]


def test_what_is_always_there_comes_first(matrix_of: MatrixOf) -> None:
    matrix = matrix_of("tiers: {pr: {jobs: 3, always: [cuda12-x86_64]}}\n")
    choices = tier_of(matrix, "pr").choices
    assert [(choice.cell.id, choice.reason) for choice in choices] == [
        ("cuda12.4-debian12-x86_64", "always"),
        ("cuda11.8-debian12-aarch64", "endpoint"),
        ("cuda12.4-debian13-x86_64", "endpoint"),
    ]


def test_a_gpu_goes_to_the_first_cells_that_can_use_one(shipped: Matrix) -> None:
    matrix = of(shipped, CELLS, Budget(jobs=9, gpu_jobs=2))
    able = [c for c in tier_of(matrix, "pr").choices if c.cell.arch == "x86_64"]
    assert [choice.gpu for choice in able] == [True, True, *[False] * (len(able) - 2)]
    weekly = tier_of(matrix, "weekly").choices
    assert all(choice.gpu == (choice.cell.arch == "x86_64") for choice in weekly)


@pytest.mark.parametrize(
    ("rest", "pr", "nightly"),
    [
        ("", Budget(12, 4), Budget(40, 12)),
        ("tiers: {pr: {jobs: 3, gpu_jobs: 0}}\n", Budget(3, 0), Budget(40, 12)),
        ("tiers: {nightly: {jobs: 99}}\n", Budget(12, 4), Budget(99, 12)),
    ],
)
def test_a_number_that_is_left_out_is_built_in(
    matrix_of: MatrixOf, rest: str, pr: Budget, nightly: Budget
) -> None:
    assert matrix_of(rest).tiers == {"pr": pr, "nightly": nightly}


def test_the_pull_requests_of_this_repository_cover_every_pair(shipped: Matrix) -> None:
    (pairs,) = tier_of(shipped, "pr").coverage
    assert pairs.uncovered == ()
