"""The axes `compiler` and `cuda_compiler`."""

from __future__ import annotations

import json
import re
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
    try:
        matrix = matrix_of(
            values, ["nvcc", "clang"], cuda=[cuda], os=["debian12", "debian13"], include=include
        )
    except ConfigurationError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "no cell of the matrix can have" in refused
        return
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
        "python": ("default",),
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
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(["default", "clang-19"], ["nvcc", "clang"], facts=facts)
    problem = caught.value.problems[-1]
    assert problem.message == "no cell of the matrix can have `cuda_compiler: clang`"
    assert problem.hint == (
        "`cuda12.4-debian12-clang19-cudaclang-x86_64`: "
        "clang-19 compiles for none of the GPU architectures in `sm`"
    )


@pytest.mark.parametrize(
    ("compiler", "cuda_compiler", "message", "hint"),
    [
        (
            ["default", "gcc-14"],
            ["nvcc"],
            "1:%d: no cell of the matrix can have `compiler: gcc-14`",
            "nvcc of CUDA 12.4 takes GCC 6 to 13; GCC 14 is in debian13",
        ),
        (
            ["default", "clang-19"],
            ["nvcc"],
            "1:%d: no cell of the matrix can have `compiler: clang-19`",
            "nvcc of CUDA 12.4 takes Clang 7 to 17; the nearest is `clang-16`",
        ),
        (
            ["default", "clang-16"],
            ["nvcc", "clang"],
            "1:%d: no cell of the matrix can have `cuda_compiler: clang`",
            "Clang 16 compiles CUDA up to 11.8; the cell has 12.4; the nearest is `clang-19`",
        ),
    ],
)
def test_a_compiler_that_no_cell_can_have_is_refused_with_the_nearest(
    compiler: Sequence[str], cuda_compiler: Sequence[str], message: str, hint: str
) -> None:
    (problem,) = problems_of(compiler, cuda_compiler)
    assert re.match(f"matrix.yaml:{message.replace('%d', '[0-9]+')}: ", problem)
    assert hint in problem


def test_a_compiler_that_is_excluded_everywhere_is_not_called_impossible() -> None:
    exclude = [{"compiler": "gcc-11", "reason": "why"}]
    assert parts(matrix_of(["default", "gcc-11"], exclude=exclude)) == [""]


def test_a_clang_that_is_to_be_chosen_and_compiles_no_such_cuda_is_told_with_the_newest() -> None:
    (problem,) = problems_of(["clang-newest"], ["nvcc", "clang"], cuda=["13.0"], os=["debian13"])
    assert "Clang 22 compiles CUDA up to 12.9; the cell has 13.0" in problem


@pytest.mark.parametrize("name", ["nvhpc", "nvc++", "nvhpc-24.5"])
def test_a_compiler_of_an_sdk_is_told_where_it_goes(name: str) -> None:
    (problem,) = problems_of([name])
    assert "its SDK is a key of a variant" in problem


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
    (problem,) = problems_of(["default"], defaults={"compiler": "clang-99"})
    assert "unknown compiler `clang-99`" in problem


@pytest.mark.parametrize(
    ("name", "alias", "word"),
    [
        ("cuda12-clang17", {"compiler": "clang-16"}, "clang17"),
        ("cuda12-clang16-cudaclang", {"compiler": "clang-16"}, "cudaclang"),
        ("cuda12-debian13", {"os": "debian12"}, "debian13"),
        ("cuda12-cudnn9", {}, "cudnn9"),
        ("cuda12-aarch64", {"arch": "x86_64"}, "aarch64"),
        ("cuda12.4-debian12-clang19-x86_64", {"arch": "x86_64"}, "clang19"),
        ("cuda11", {}, "cuda11"),
    ],
)
def test_the_name_of_an_alias_does_not_contradict_its_cell(
    name: str, alias: Mapping[str, str], word: str
) -> None:
    aliases = {name: {"cuda": "12.4", **alias}}
    compilers = ["default", "gcc-11", "clang-16"]
    (problem,) = problems_of(compilers, os=["debian12", "debian13"], aliases=aliases)
    assert f"alias `{name}`: its name has `{word}`, and it means `cuda12.4-" in problem


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("cuda12-clang", {"compiler": "clang-16"}),
        ("cuda12-gcc12", {}),
        ("cuda12.4.1", {}),
        ("cuda12-gcc11-debian12", {"compiler": "gcc-11", "os": "debian12"}),
        ("cuda12-h100", {}),
        ("cuda-clang17", {"compiler": "clang-16"}),
        ("clang17", {"compiler": "clang-16"}),
        ("cuda12-clang-tidy", {"compiler": "clang-16"}),
    ],
)
def test_other_names_of_aliases_are_free(name: str, alias: Mapping[str, str]) -> None:
    aliases = {name: {"cuda": "12.4", **alias}}
    matrix = matrix_of(["default", "gcc-11", "clang-16"], aliases=aliases)
    assert f"{name}-x86_64" in short_names(matrix)


def library_with(
    environment: Mapping[str, str], cells: str = "*", variants: Mapping[str, object] | None = None
) -> dict[str, object]:
    build = {"environment": environment}
    return {"a": {"path": "a", "build": build, "cells": cells, "variants": variants or {}}}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CC", "gcc-12"),
        ("CXX", "g++ -m64"),
        ("CXX", "mpicxx"),
        ("CUDAHOSTCXX", "/usr/bin/g++-12"),
        ("NVCC_CCBIN", "g++"),
    ],
)
def test_a_library_does_not_replace_other_compilers_of_its_cells(variable: str, value: str) -> None:
    libraries = library_with({variable: value})
    (problem,) = problems_of(["default", "clang-16"], libraries=libraries)
    message = f"`{variable}` replaces the compiler of `cuda12.4-debian12-clang16-x86_64`"
    assert message in problem


@pytest.mark.parametrize(
    ("compilers", "variable", "value", "cells"),
    [
        (["default"], "CXX", "mpicxx", "*"),
        (["default", "clang-16"], "CC", "cc", "*"),
        (["default", "clang-16"], "CXX", "mpicxx", "cuda12-gcc-x86_64"),
        (["default", "gcc-11"], "CXX", "g++ -m64", "*"),
        (["default", "clang-16"], "CUDACXX", "/usr/local/cuda/bin/nvcc", "*"),
        (["default", "clang-16"], "CFLAGS", "-O1", "*"),
    ],
)
def test_a_library_names_compilers_where_its_cells_name_none(
    compilers: Sequence[str], variable: str, value: str, cells: str
) -> None:
    assert matrix_of(compilers, libraries=library_with({variable: value}, cells)).cells


@pytest.mark.parametrize(
    ("system", "option"),
    [
        ("cmake", "-DCMAKE_CXX_COMPILER=g++-11"),
        ("cmake", "-DCMAKE_C_COMPILER:STRING=gcc-11"),
        ("cmake", "-D CMAKE_CUDA_HOST_COMPILER=g++-11"),
        ("python", "cmake.define.CMAKE_CXX_COMPILER=g++-11"),
        ("make", "CXX=g++-11"),
        ("make", "CC=gcc-11"),
        ("bazel", "--repo_env=CC=gcc-11"),
        ("bazel", "--action_env=CXX=g++-11"),
    ],
)
def test_an_option_does_not_replace_other_compilers_of_cells(system: str, option: str) -> None:
    libraries = {"a": {"path": "a", "build": {"system": system, "options": [option]}}}
    (problem,) = problems_of(["default", "clang-16"], libraries=libraries)
    message = f"`{option}` replaces the compiler of `cuda12.4-debian12-clang16-x86_64`"
    assert message in problem
    assert matrix_of(["default"], libraries=libraries).cells


def test_an_option_does_not_replace_clang_as_the_compiler_of_cuda() -> None:
    libraries = {"a": {"path": "a", "build": {"options": ["-DCMAKE_CUDA_COMPILER=nvcc"]}}}
    (problem,) = problems_of(["clang-19"], ["clang"], libraries=libraries)
    assert "replaces the compiler of `cuda12.4-debian12-clang19-cudaclang" in problem


def test_options_that_name_the_compilers_of_cells_are_accepted() -> None:
    build = {"system": "make", "options": ["CXX=c++", "CXXFLAGS=-O2"]}
    other = {"options": ["-DCXX=g++-11"]}  # a variable of the project
    libraries = {"a": {"path": "a", "build": build}, "b": {"path": "b", "build": other}}
    assert matrix_of(["default", "clang-16"], libraries=libraries).cells


@pytest.mark.parametrize(
    "table",
    [
        {"test": {"framework": "ctest", "environment": {"CXX": "g++-11"}}},
        {"steps": {"s": {"commands": ["true"], "environment": {"CXX": "g++-11"}}}},
        {"variants": {"named": {"v": {"environment": {"CXX": "g++-11"}}}}},
        {
            "build": {"system": "make"},
            "variants": {"named": {"v": {"definitions": {"CXX": "g++-11"}}}},
        },
    ],
)
def test_no_part_of_a_library_replaces_other_compilers(table: Mapping[str, object]) -> None:
    libraries = {"a": {"path": "a", **table}}
    (problem,) = problems_of(["default", "clang-16"], libraries=libraries)
    assert "`CXX` replaces the compiler of `cuda12.4-debian12-clang16-x86_64`" in problem


def test_a_variant_does_not_replace_the_compiler_of_its_sdk() -> None:
    named = {"hpc": {"sdk": "nvhpc-26.5", "environment": {"CXX": "g++-12"}}}
    libraries = library_with({}, variants={"named": named})
    (problem,) = problems_of(["default"], cuda=["13.2"], libraries=libraries)
    assert "`CXX` replaces the compiler of `sdk: nvhpc-26.5`" in problem


def test_a_pattern_without_cells_is_told_beside_a_replaced_compiler() -> None:
    environment = {"CXX": "g++-12"}
    compilers = ["default", "clang-16"]
    named = {"small": {"options": ["-DA=1"], "cells": "nothing"}}
    libraries = library_with(environment, "nothing", {"named": named})
    messages = problems_of(compilers, libraries=libraries)
    assert sum("`nothing` matches no cell" in message for message in messages) == 2


def test_a_library_does_not_replace_clang_as_the_compiler_of_cuda() -> None:
    libraries = library_with({"CUDACXX": "/usr/local/cuda/bin/nvcc"})
    (problem,) = problems_of(["clang-19"], ["clang"], libraries=libraries)
    assert "`CUDACXX` replaces the compiler of `cuda12.4-debian12-clang19-cudaclang" in problem


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
    assert set(AXES) - set(axes) == {"cuda_compiler", "python"}


def test_no_hint_suggests_what_is_refused() -> None:
    assert problems_of(defaults={"compiler": "minmax"})[0].endswith("not `minmax`: None")


def test_each_compiler_of_an_exclude_has_to_be_on_the_axis() -> None:
    exclude = [{"compiler": ["gcc-11", "gcc-10"], "reason": "why"}]
    (problem,) = problems_of(["default", "gcc-11"], exclude=exclude)
    assert "axis `compiler` has no value `gcc-10`" in problem
    exclude = [{"compiler": ["gcc-11", "oldest"], "reason": "why"}]
    assert parts(matrix_of(["default", "gcc-11", "minmax"], exclude=exclude))


def test_a_name_with_the_default_compiler_or_python_means_the_cell() -> None:
    text = (
        'version: "1"\nsm: ["90"]\naxes: {cuda: ["12.4"], os: [debian12], arch: [x86_64, aarch64], '
        'compiler: [default, clang-16], python: [default, "3.13"]}\n'
    )
    matrix = expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})
    stem = "cuda12.4-debian12"
    expected = {
        f"{stem}-gcc12-x86_64": [f"{stem}-x86_64"],
        f"{stem}-py3.11-x86_64": [f"{stem}-x86_64"],
        f"{stem}-gcc12-py3.11-x86_64": [f"{stem}-x86_64"],
        f"{stem}-clang16-py3.11-x86_64": [f"{stem}-clang16-x86_64"],
        f"{stem}-clang16": [f"{stem}-clang16-aarch64", f"{stem}-clang16-x86_64"],
        f"{stem}-gcc12": [f"{stem}-aarch64", f"{stem}-x86_64"],
    }
    for name, ids in expected.items():
        assert [cell.id for cell in select(matrix, [name])] == ids
        assert [cell.id for cell in candidates_named(matrix, name)] == ids
    assert len(select(matrix, [stem])) == len(matrix.cells)


def test_a_compiler_at_the_end_of_a_name_is_taken_for_no_architecture() -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_cell(matrix_of(["default", "clang-16"]), "cuda12.4-debian12-clang17")
    (problem,) = caught.value.problems
    assert str(problem) == "there is no cell `cuda12.4-debian12-clang17`"


def test_an_alias_takes_no_name_that_states_the_default_compiler() -> None:
    aliases = {"cuda12.4-debian12-gcc12": {"cuda": "12.4"}}
    (problem,) = problems_of(["default", "clang-16"], aliases=aliases)
    assert "already means something else" in problem
