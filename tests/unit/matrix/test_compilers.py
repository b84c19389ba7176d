"""The axes `compiler` and `cuda_compiler`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import Facts, load_facts
from envmatrix.matrix.cells import AXES, OMITTED
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import (
    candidates_named,
    explain,
    find_cell,
    presence_of,
    select,
    short_names,
)
from envmatrix.matrix.tiers import tier_of

VALUES = [
    *("default", "newest", "oldest", "minmax", "gcc-minmax", "clang-minmax", "clang-newest"),
    *("clang-oldest", "gcc-11", "gcc-12", "clang-14", "clang-16", "clang-19"),
]


def matrix_of(
    compiler: Sequence[str] = ("default",),
    cuda_compiler: Sequence[str] = ("nvcc",),
    *,
    overlay: Mapping[str, object] | None = None,
    facts: Facts | None = None,
    cuda: Sequence[str] = ("12.4",),
    os: Sequence[str] = ("debian12",),
    arch: Sequence[str] = ("x86_64",),
    **rest: object,
) -> Matrix:
    axes: dict[str, object] = {"cuda": cuda, "os": os, "arch": arch}
    axes |= {"compiler": compiler} if compiler != ("default",) else {}
    axes |= {"cuda_compiler": cuda_compiler} if cuda_compiler != ("nvcc",) else {}
    content = {"version": "1", "sm": ["75", "90"], "axes": axes, **rest}
    document = parse_document(json.dumps(content).encode(), "matrix.yaml")
    change = {"version": "1", "reason": "why", **(overlay or {})}
    overlays = [parse_document(json.dumps(change).encode(), "matrix.d/a.yaml")] if overlay else []
    return expand(document, facts or load_facts(), {}, overlays)


def parts(matrix: Matrix) -> list[str]:
    """Return the compilers in the ids of the cells of a matrix with one environment."""
    return [cell.compilers for cell in matrix.cells]


def problems_of(*arguments: Sequence[str], **rest: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(*arguments, **rest)  # type: ignore[arg-type]
    return [f"{problem}: {problem.hint}" for problem in caught.value.problems]


def test_another_compiler_is_in_the_id_and_the_default_one_is_not() -> None:
    matrix = matrix_of(["default", "gcc-11", "clang-16"])
    assert [cell.id for cell in matrix.cells] == [
        "cuda12.4-debian12-x86_64",
        "cuda12.4-debian12-gcc11-x86_64",
        "cuda12.4-debian12-clang16-x86_64",
    ]
    assert {cell.environment for cell in matrix.cells} == {"cuda12.4-debian12"}
    assert [cell.host_compiler.name for cell in matrix.cells] == ["gcc-12", "gcc-11", "clang-16"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("newest", [""]),
        ("gcc-newest", [""]),
        ("oldest", ["gcc11"]),
        ("minmax", ["", "gcc11"]),
        ("gcc-12", [""]),
        ("clang-newest", ["clang16"]),
        ("clang-oldest", ["clang13"]),
        ("clang-minmax", ["clang13", "clang16"]),
    ],
)
def test_a_selector_chooses_among_what_cuda_and_the_system_have(
    value: str, expected: list[str]
) -> None:
    assert parts(matrix_of([value])) == expected


def test_a_selector_is_resolved_in_each_cell() -> None:
    matrix = matrix_of(["oldest", "clang-newest"], os=["debian12", "debian13"])
    assert [cell.id for cell in matrix.cells] == [
        "cuda12.4-debian12-gcc11-x86_64",
        "cuda12.4-debian12-clang16-x86_64",
        "cuda12.4-debian13-gcc12-x86_64",
        "cuda12.4-debian13-clang17-x86_64",
    ]


@given(
    st.lists(st.sampled_from(VALUES), min_size=1, unique=True), st.sampled_from(["11.8", "13.5"])
)
@settings(max_examples=50)
def test_values_with_one_meaning_are_one_cell(values: list[str], cuda: str) -> None:
    include = [{"cuda": "12.9", "os": "debian12", "arch": "x86_64"}]
    matrix = matrix_of(
        values, ["nvcc", "clang"], cuda=[cuda], os=["debian12", "debian13"], include=include
    )
    every = [*matrix.cells, *(exclusion.cell for exclusion in matrix.exclusions)]
    assert len({cell.id for cell in every}) == len(every)
    for cell in matrix.cells:
        assert cell.compiler != f"gcc-{cell.toolchain.gcc}"
        assert find_cell(matrix, cell.id) == cell


def test_without_the_axes_nothing_changes() -> None:
    plain, explicit = matrix_of(), matrix_of(["default"], ["nvcc"])
    assert plain.cells == explicit.cells
    assert {axis: plain.axes[axis] for axis in OMITTED} == {
        "cudnn": ("none",),
        "compiler": ("default",),
        "cuda_compiler": ("nvcc",),
    }
    assert tier_of(plain, "pr") == tier_of(explicit, "pr")


def test_clang_compiles_cuda_as_its_own_host_compiler() -> None:
    matrix = matrix_of(["default", "clang-newest"], ["nvcc", "clang"])
    assert parts(matrix) == ["", "clang16", "clang19-cudaclang"]
    (impossible,) = matrix.exclusions
    assert impossible.cell.id == "cuda12.4-debian12-cudaclang-x86_64"
    assert impossible.rule == "cuda-compiler"
    assert impossible.reason == (
        "Clang compiles CUDA for itself as the host compiler, not for the default compiler, a GCC; "
        "the nearest is `clang-19`"
    )


@pytest.mark.parametrize(
    ("cell", "rule", "reason"),
    [
        (
            "cuda12.4-debian12-clang18-x86_64",
            "compiler",
            (
                "debian12 has Clang 13, 14, 15, 16, 19; nvcc of CUDA 12.4 takes Clang 7 to 17; "
                "Clang 18 is in debian13, ubuntu24.04; the nearest is `clang-16`"
            ),
        ),
        (
            "cuda12.4-debian12-clang19-x86_64",
            "compiler",
            (
                "debian12 has Clang 13, 14, 15, 16, 19; nvcc of CUDA 12.4 takes Clang 7 to 17; "
                "the nearest is `clang-16`"
            ),
        ),
        (
            "cuda12.4-debian12-clang16-cudaclang-x86_64",
            "cuda-compiler",
            "Clang 16 compiles CUDA up to 11.8; the cell has 12.4; the nearest is `clang-19`",
        ),
        (
            "cuda13.5-debian12-clang13-cudaclang-x86_64",
            "cuda-compiler",
            "Clang 13 compiles no known release of CUDA; the cell has 13.5",
        ),
        (
            "cuda12.4-debian12-gcc11-windows",
            "compiler",
            "windows has a compiler of its own",
        ),
        (
            "cuda12.4-rockylinux9-gcc12-x86_64",
            "compiler",
            "a second compiler is supported on Debian and its derivatives only",
        ),
        (
            "cuda12.4-ubuntu26.04-clangnewest-x86_64",
            "compiler",
            "ubuntu26.04 has Clang 19, 20, 21, 22; nvcc of CUDA 12.4 takes Clang 7 to 17",
        ),
    ],
)
def test_an_impossible_compiler_has_a_reason(cell: str, rule: str, reason: str) -> None:
    matrix = matrix_of()
    (candidate,) = candidates_named(matrix, cell)
    failed = [row for row in explain(matrix, candidate).verdicts if not row.passed]
    assert (rule, reason) in [(row.rule, row.explanation) for row in failed]
    assert not presence_of(matrix, candidate).present


def with_gpu_architectures_of_clang(*sm: str) -> Facts:
    facts = load_facts()
    return replace(facts, clang={"19": replace(facts.clang["19"], sm=sm)})


def test_clang_compiles_for_the_gpu_architectures_that_it_knows() -> None:
    facts = with_gpu_architectures_of_clang("75", "100")
    matrix = matrix_of(["clang-19"], ["clang"], facts=facts)
    assert [cell.toolchain.sm for cell in matrix.cells] == [("75",)]


def test_a_clang_that_knows_no_gpu_architecture_of_the_matrix_makes_no_cell() -> None:
    facts = with_gpu_architectures_of_clang("100")
    matrix = matrix_of(["default", "clang-19"], ["nvcc", "clang"], facts=facts)
    reasons = {row.cell.compilers: (row.rule, row.reason) for row in matrix.exclusions}
    assert reasons["clang19-cudaclang"] == (
        "cuda-compiler",
        "clang-19 compiles for none of the GPU architectures in `sm`",
    )


def test_an_exclude_means_compilers_as_the_axis_does() -> None:
    exclude = [{"compiler": "gcc-12", "reason": "why"}]
    matrix = matrix_of(["minmax"], os=["debian12", "debian13"], exclude=exclude)
    assert [cell.id for cell in matrix.cells] == [
        "cuda12.4-debian12-gcc11-x86_64",
        "cuda12.4-debian13-x86_64",
    ]


def test_an_exclude_of_a_compiler_that_no_cell_has_is_refused() -> None:
    exclude = [{"compiler": "clang-15", "reason": "why"}]
    (problem,) = problems_of(["default", "clang-16"], exclude=exclude)
    assert "excludes nothing" in problem


def test_an_include_adds_a_compiler() -> None:
    cell = {"cuda": "12.4", "os": "debian12", "arch": "x86_64"}
    matrix = matrix_of(include=[{**cell, "compiler": "clang-newest"}])
    assert parts(matrix) == ["", "clang16"]
    (problem,) = problems_of(include=[{**cell, "compiler": "gcc-12"}])
    assert "`cuda12.4-debian12-x86_64` is in the matrix already" in problem


def test_an_overlay_adds_compilers_to_the_default_one() -> None:
    matrix = matrix_of(overlay={"axes": {"compiler": {"add": ["clang-16"]}}})
    assert parts(matrix) == ["", "clang16"]
    matrix = matrix_of(overlay={"axes": {"compiler": {"add": ["clang-16"], "remove": ["default"]}}})
    assert parts(matrix) == ["clang16"]
    assert str(matrix.cells[0].position).startswith("matrix.d/a.yaml")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("cuda12-x86_64", "cuda12.4-debian12-x86_64"),
        ("cuda12-gcc-x86_64", "cuda12.4-debian12-x86_64"),
        ("cuda12-gcc12-x86_64", "cuda12.4-debian12-x86_64"),
        ("cuda12-gcc11-x86_64", "cuda12.4-debian12-gcc11-x86_64"),
        ("cuda12-clang-x86_64", "cuda12.4-debian12-clang16-x86_64"),
        ("cuda12-clang14-x86_64", "cuda12.4-debian12-clang14-x86_64"),
        ("cuda12-clang-cudaclang-x86_64", "cuda12.4-debian12-clang19-cudaclang-x86_64"),
        ("cuda12.4-debian12-gcc12-x86_64", "cuda12.4-debian12-x86_64"),
        ("c14-x86_64", "cuda12.4-debian12-clang14-x86_64"),
    ],
)
def test_short_names_have_the_compiler_or_its_kind(name: str, cell: str) -> None:
    aliases = {"c14": {"cuda": "12.4", "compiler": "clang-14"}}
    compilers = ["default", "gcc-11", "clang-14", "clang-newest"]
    matrix = matrix_of(compilers, ["nvcc", "clang"], aliases=aliases)
    assert find_cell(matrix, name).id == cell


def test_defaults_name_the_compiler_that_short_names_leave_out() -> None:
    defaults = {"compiler": "clang-newest", "arch": "x86_64"}
    matrix = matrix_of(["default", "clang-14", "clang-16"], defaults=defaults)
    assert short_names(matrix)["cuda12"].id == "cuda12.4-debian12-clang16-x86_64"
    assert short_names(matrix)["cuda12-gcc12"].id == "cuda12.4-debian12-x86_64"
    (problem,) = problems_of(["default"], defaults={"compiler": "clang-14"})
    assert "no cell has compiler `clang-14`" in problem


def test_a_pattern_of_an_environment_selects_all_its_compilers() -> None:
    matrix = matrix_of(["default", "clang-16"], os=["debian12", "debian13"])
    chosen = select(matrix, ["cuda12.4-debian12"])
    assert [cell.compilers for cell in chosen] == ["", "clang16"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("gcc12", "gcc-12"),
        ("g++-12", "gcc-12"),
        ("g++12", "gcc-12"),
        ("GCC 12", "gcc-12"),
        ("gcc-12.2", "gcc-12"),
        ("llvm-16", "clang-16"),
        ("clang16", "clang-16"),
        ("clang++-16", "clang-16"),
        ("clang", "clang-newest"),
        ("gcc", "gcc-newest"),
        ("latest", "newest"),
        ("defualt", "default"),
    ],
)
def test_another_name_of_a_compiler_gets_the_right_one_as_a_hint(text: str, hint: str) -> None:
    (problem,) = problems_of([text])
    assert problem.endswith(f"did you mean `{hint}`?")


def test_a_compiler_that_nobody_has_is_unknown() -> None:
    (problem,) = problems_of(["default", "gcc-99"])
    assert "unknown compiler `gcc-99`" in problem


def test_tiers_cover_compilers() -> None:
    matrix = matrix_of(["default", "clang-16"], cuda=["12.4", "13.0"], os=["debian12"])
    tier = tier_of(matrix, "pr")
    assert {choice.cell.compilers for choice in tier.choices} == {"", "clang16"}
    (coverage,) = tier.coverage
    assert not coverage.uncovered
    axes = ("cuda", "cudnn", "os", "arch", "compiler")
    values = {axis: {getattr(cell, axis) for cell in matrix.cells} for axis in axes}
    assert coverage.total == sum(
        len(values[first]) * len(values[second])
        for index, first in enumerate(axes)
        for second in axes[index + 1 :]
    )
    assert set(AXES) - set(axes) == {"cuda_compiler"}


def test_no_hint_suggests_what_is_refused() -> None:
    assert problems_of(defaults={"compiler": "minmax"})[0].endswith("not `minmax`: None")
