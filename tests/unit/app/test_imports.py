"""Matrices of other projects, converted and read again."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.adoption.imports.converting import workflow

from envmatrix.adoption.source_tree import SourceTree
from envmatrix.app.adoption import matrix_of
from envmatrix.app.imports import Choice, convert_contents

TREE = SourceTree("solver", ["CMakeLists.txt"], {"CMakeLists.txt": "project(solver)\n"})


def convert(*rows: Mapping[str, object]) -> tuple[str, dict[str, str | None]]:
    """Return the text of the matrix, and the rules by what is left."""
    result = convert_contents({"ci.yml": workflow(*rows).encode()}, Choice(), TREE)
    return str(result.text), {row.what: row.rule for row in result.remainders}


def test_variants_that_compilers_refuse_are_left_with_the_rule() -> None:
    rows = [{"cuda": cuda, "std": std} for cuda in ("11.8", "12.9") for std in (17, 20)]
    text, rest = convert(*rows)
    assert 'std: ["17", "20"]' in text
    assert rest == {"variant: solver@cxx20 in cuda11.8-ubuntu22.04-x86_64": "std"}


def test_standards_of_no_cell_are_left_out() -> None:
    text, rest = convert({"cuda": "11.8", "std": 17}, {"cuda": "11.8", "std": 23})
    assert "23" not in text
    assert [what for what in rest if "std" in what]


def test_options_that_variants_cannot_have_are_left_with_the_readers_reason() -> None:
    text, rest = convert(
        {"cuda": "12.4"}, {"cuda": "12.4", "cmake_options": "-DCMAKE_CUDA_COMPILER=clang++"}
    )
    assert "clang++" not in text
    assert [*rest] == [
        "libraries.solver.variants.named.cmake-cuda-compiler-clang",
        "variant of: solver in cuda12.4-ubuntu22.04-x86_64",
    ]


def test_the_repository_says_how_its_library_is_built() -> None:
    tree = SourceTree("x", ["cpp/meson.build"], {"cpp/meson.build": "project('x', 'cuda')\n"})
    result = convert_contents({"ci.yml": workflow({"cuda": "12.4"}).encode()}, Choice(), tree)
    assert "path: cpp" in str(result.text)
    assert "system: meson" in str(result.text)


def test_a_library_without_a_build_system_is_named() -> None:
    contents = {"ci.yml": workflow({"cuda": "12.4"}).encode()}
    result = convert_contents(contents, Choice(), SourceTree("solver", ["README.md"], {}))
    (left,) = result.remainders
    assert left.what == "library: solver"
    assert left.reason == "no build system is recognized in `.`: say how in `build`"


_VALUES = {
    "cuda": ["11.8", "12.0", "12.4.1", "12.9", "13.0", "9.9", "none", "x"],
    "os": ["ubuntu22.04", "ubuntu-24.04", "rockylinux8", "debian12", "windows-2022", "plan9"],
    "arch": ["amd64", "arm64", "ppc64le", "riscv64"],
    "cudnn": ["8", "9", "9.10", "any"],
    "compiler": ["gcc-12", "clang-16", "msvc", "gcc"],
    "std": ["14", "17", "20", "23", "98"],
    "build_type": ["Debug", "release", "fast"],
    "sm": ["80", "90a;100", "native", "35"],
    "cmake_options": ["-DX=1", "-DX=1 -DY=2", "'", "-DCMAKE_CUDA_ARCHITECTURES=80", "--fresh"],
    "gpu": ["h100", "t4", "nothing \n"],
    "image": ["nvidia/cuda:12.2.2-cudnn-devel-ubi9", "cuda:13.0.1-ubuntu24.04"],
    "python": ["3.12"],
}
_ROWS = st.lists(
    st.fixed_dictionaries({}, optional={key: st.sampled_from(row) for key, row in _VALUES.items()}),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(_ROWS, _ROWS)
def test_every_matrix_is_one_that_the_reader_takes_or_says_why_not(
    build: list[dict[str, object]], test: list[dict[str, object]]
) -> None:
    contents = {"ci.yml": workflow(build=build, test=test).encode()}
    result = convert_contents(contents, Choice(), TREE)
    assert result == convert_contents(contents, Choice(), TREE)
    if result.text:
        assert len(matrix_of({"matrix.yaml": result.text}).cells) == result.cells > 0
