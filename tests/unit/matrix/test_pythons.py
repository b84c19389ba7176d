"""The axis `python`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.pythons import suggest_release
from envmatrix.matrix.selection import (
    candidates_named,
    explain,
    explain_libraries,
    find_cell,
    presence_of,
    select,
    short_names,
)
from envmatrix.matrix.tiers import tier_of

RELEASES = ["default", "newest", "oldest", "3.11", "3.13", "3.13t", "3.14"]


def matrix_of(
    python: Sequence[str] = ("default",),
    *,
    overlay: Mapping[str, object] | None = None,
    cuda: Sequence[str] = ("12.4",),
    os: Sequence[str] = ("debian12",),
    arch: Sequence[str] = ("x86_64",),
    compiler: Sequence[str] = ("default",),
    **rest: object,
) -> Matrix:
    axes = {"cuda": cuda, "os": os, "arch": arch, "compiler": compiler}
    axes |= {"python": python} if python != ("default",) else {}
    content = {"version": "1", "sm": ["75", "90"], "axes": axes, **rest}
    document = parse_document(json.dumps(content).encode(), "matrix.yaml")
    change = {"version": "1", "reason": "why", **(overlay or {})}
    overlays = [parse_document(json.dumps(change).encode(), "matrix.d/a.yaml")] if overlay else []
    return expand(document, load_facts(), {}, overlays)


def ids(matrix: Matrix) -> list[str]:
    return [cell.id for cell in matrix.cells]


def problems_of(python: Sequence[str] = ("default",), **rest: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(python, **rest)  # type: ignore[arg-type]
    return [f"{problem}: {problem.hint}" for problem in caught.value.problems]


def test_another_python_is_in_the_id_and_that_of_the_system_is_not() -> None:
    matrix = matrix_of(["default", "3.13", "3.14"], compiler=["default", "clang-16"])
    assert ids(matrix) == [
        "cuda12.4-debian12-x86_64",
        "cuda12.4-debian12-py3.13-x86_64",
        "cuda12.4-debian12-py3.14-x86_64",
        "cuda12.4-debian12-clang16-x86_64",
        "cuda12.4-debian12-clang16-py3.13-x86_64",
        "cuda12.4-debian12-clang16-py3.14-x86_64",
    ]
    assert {cell.environment for cell in matrix.cells} == {"cuda12.4-debian12"}
    assert matrix.cells[4].flavour("devel") == "devel-clang16-py3.13"
    assert matrix.cells[4].flavour("runtime") == "runtime-py3.13"


def test_values_are_resolved_in_each_system() -> None:
    matrix = matrix_of(["oldest", "3.13"], os=["debian12", "debian13"])
    assert ids(matrix) == [
        "cuda12.4-debian12-x86_64",
        "cuda12.4-debian12-py3.13-x86_64",
        "cuda12.4-debian13-x86_64",
        "cuda12.4-debian13-py3.11-x86_64",
    ]


@given(st.lists(st.sampled_from(RELEASES), min_size=1, unique=True))
@settings(max_examples=50)
def test_values_with_one_meaning_are_one_cell(values: list[str]) -> None:
    include = [{"cuda": "12.9", "os": "debian12", "arch": "x86_64"}]
    matrix = matrix_of(values, os=["debian12", "debian13"], include=include)
    every = [*matrix.cells, *(exclusion.cell for exclusion in matrix.exclusions)]
    assert len({cell.id for cell in every}) == len(every)
    for cell in matrix.cells:
        assert cell.python != load_facts().os[cell.os].python
        assert find_cell(matrix, cell.id) == cell


def test_without_the_axis_nothing_changes() -> None:
    plain, explicit = matrix_of(), matrix_of(["default"])
    assert plain.cells == explicit.cells
    assert plain.axes["python"] == ("default",)
    assert tier_of(plain, "pr") == tier_of(explicit, "pr")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (
            "cuda12.4-debian12-py3.12-x86_64",
            ("Python 3.12 has no source; 3.11, 3.13, 3.14 have one; the nearest is `3.13`"),
        ),
        (
            "cuda12.4-debian13-py3.14t-x86_64",
            (
                "Python 3.14t has no source; 3.13 has one for a Python without the GIL; "
                "the nearest is `3.13t`"
            ),
        ),
        (
            "cuda12.4-ubuntu22.04-py3.13-x86_64",
            "ubuntu22.04 has its own Python; others are compiled in debian12, debian13 alone",
        ),
        (
            "cuda12.6-debian12-py3.13-jetson",
            "Python is compiled on x86_64, and not for jetson",
        ),
    ],
)
def test_an_impossible_python_has_a_reason(cell: str, reason: str) -> None:
    matrix = matrix_of()
    (candidate,) = candidates_named(matrix, cell)
    failed = [row for row in explain(matrix, candidate).verdicts if not row.passed]
    assert ("python", reason) in [(row.rule, row.explanation) for row in failed]
    assert not presence_of(matrix, candidate).present


def test_an_image_that_has_cuda_has_its_own_python() -> None:
    image = f"mirror.example/cuda@sha256:{'a' * 64}"
    sources = [{"source": "image", "image": image, "cuda": "12.4"}]
    matrix = matrix_of(["default", "3.13"], cuda=["12.4", "12.9"], sources=sources)
    assert [(row.cell.id, row.rule, row.reason) for row in matrix.exclusions] == [
        (
            "cuda12.4-debian12-py3.13-x86_64",
            "python",
            "an image that has CUDA has its own Python alone",
        )
    ]


def test_a_python_that_no_cell_can_have_is_refused_with_the_nearest() -> None:
    (problem,) = problems_of(["default", "3.12"])
    assert re.match(r"matrix.yaml:1:\d+: no cell of the matrix can have `python: 3.12`: ", problem)
    assert problem.endswith("have one; the nearest is `3.13`")


def test_an_exclude_means_pythons_as_the_axis_does() -> None:
    exclude = [{"python": "3.13", "reason": "why"}]
    matrix = matrix_of(["default", "3.13"], os=["debian12", "debian13"], exclude=exclude)
    assert ids(matrix) == ["cuda12.4-debian12-x86_64"]


def test_an_exclude_of_a_python_that_no_cell_has_is_refused() -> None:
    exclude = [{"python": "3.14", "reason": "why"}]
    (problem,) = problems_of(["default", "3.13"], exclude=exclude)
    assert "excludes nothing" in problem


def test_an_include_and_an_overlay_add_a_python() -> None:
    cell = {"cuda": "12.4", "os": "debian12", "arch": "x86_64"}
    expected = ["cuda12.4-debian12-x86_64", "cuda12.4-debian12-py3.13-x86_64"]
    assert ids(matrix_of(include=[{**cell, "python": "3.13"}])) == expected
    matrix = matrix_of(overlay={"axes": {"python": {"add": ["3.13"]}}})
    assert ids(matrix) == expected
    assert str(matrix.cells[1].position).startswith("matrix.d/a.yaml")


def test_an_entry_of_runs_names_pythons() -> None:
    libraries = {"a": {"path": "a"}}
    runs = [{"libraries": "a", "python": ["3.11", "3.13"]}]
    matrix = matrix_of(["default", "3.13", "3.14"], libraries=libraries, runs=runs)
    assert ids(matrix) == ["cuda12.4-debian12-x86_64", "cuda12.4-debian12-py3.13-x86_64"]
    (problem,) = problems_of(["default", "3.14"], libraries=libraries, runs=runs)
    assert "axis `python` has no value `3.13`" in problem


def test_the_name_of_an_alias_says_the_python_of_its_cell() -> None:
    aliases = {"cuda12-py3.14": {"cuda": "12.4"}}
    (problem,) = problems_of(["default", "3.13"], aliases=aliases)
    assert "its name has `py3.14`, and it means `cuda12.4-debian12-x86_64`" in problem


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("cuda12-x86_64", "cuda12.4-debian12-x86_64"),
        ("cuda12-py3.11-x86_64", "cuda12.4-debian12-x86_64"),
        ("cuda12-py3.13-x86_64", "cuda12.4-debian12-py3.13-x86_64"),
        ("cuda12-py3.14-x86_64", "cuda12.4-debian12-py3.14-x86_64"),
        ("cuda12.4-debian12-py3.11-x86_64", "cuda12.4-debian12-x86_64"),
        ("free-x86_64", "cuda12.4-debian12-py3.14-x86_64"),
    ],
)
def test_short_names_have_the_python(name: str, cell: str) -> None:
    aliases = {"free": {"cuda": "12.4", "python": "3.14"}}
    matrix = matrix_of(["default", "3.13", "3.14"], aliases=aliases)
    assert find_cell(matrix, name).id == cell


def test_defaults_name_the_python_that_short_names_leave_out() -> None:
    matrix = matrix_of(["default", "3.13"], defaults={"python": "3.13", "arch": "x86_64"})
    assert short_names(matrix)["cuda12"].id == "cuda12.4-debian12-py3.13-x86_64"
    assert short_names(matrix)["cuda12-py3.11"].id == "cuda12.4-debian12-x86_64"
    (problem,) = problems_of(defaults={"python": "3.14"})
    assert "no cell has Python `3.14`" in problem


def test_a_pattern_of_an_environment_selects_all_its_pythons() -> None:
    matrix = matrix_of(["default", "3.13"], os=["debian12", "debian13"])
    assert [cell.python for cell in select(matrix, ["cuda12.4-debian12"])] == [None, "3.13"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("python3.14", "3.14"),
        ("py3.14t", "3.14t"),
        ("cp314", "3.14"),
        ("cp314t", "3.14t"),
        ("3.14.2", "3.14"),
        ("3.14-freethreading", "3.14t"),
        ("CPython 3.13", "3.13"),
        ("latest", "newest"),
        ("defualt", "default"),
    ],
)
def test_another_name_of_a_release_gets_the_right_one_as_a_hint(text: str, hint: str) -> None:
    (problem,) = problems_of([text])
    assert problem.endswith(f"did you mean `{hint}`?")


@given(st.text())
def test_any_text_gets_a_hint_or_none(text: str) -> None:
    assert "did you mean" in (suggest_release(text) or "did you mean")


def test_tiers_cover_pythons() -> None:
    matrix = matrix_of(["default", "3.13"], cuda=["12.4", "13.0"])
    tier = tier_of(matrix, "pr")
    assert {choice.cell.python for choice in tier.choices} == {None, "3.13"}
    (coverage,) = tier.coverage
    assert not coverage.uncovered


def test_a_library_is_for_the_python_of_a_cell() -> None:
    libraries = {"a": {"path": "a", "python": ">=3.13", "build": {"system": "python"}}}
    matrix = matrix_of(["default", "3.13", "3.14"], libraries=libraries)
    rows = explain_libraries(matrix, matrix.cells, ["a"])
    assert [row.present for row in rows] == [False, True, True]
    (problem,) = problems_of(libraries=libraries)
    assert "no cell has Python >=3.13: `debian12` has 3.11" in problem
