"""The matrices that jobs become."""

from __future__ import annotations

import json
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.adoption.imports.converting import converted, workflow

from envmatrix.adoption.imports.cover import globs_of, largest_product
from envmatrix.errors import ConfigurationError


def test_rows_that_are_a_product_are_axes() -> None:
    rows = [
        {"cuda": cuda, "os": os, "arch": arch}
        for cuda, os, arch in product(
            ("12.9", "12.4", "13.0"), ("rockylinux9", "ubuntu22.04"), ("arm64", "amd64")
        )
    ]
    assert converted(workflow(*rows)).text == (
        "# yaml-language-server: $schema=./matrix.schema.json\n"
        'version: "1"\n'
        "\n"
        "axes:\n"
        '  cuda: ["12.4", "12.9", "13.0"]\n'
        "  os: [rockylinux9, ubuntu22.04]\n"
        "  arch: [x86_64, aarch64]\n"
        "\n"
        'sm: ["80", "90"]\n'
        "\n"
        "libraries:\n"
        "  solver: {path: .}\n"
    )


def test_rows_outside_of_the_product_are_included() -> None:
    rows = [{"cuda": cuda} for cuda in ("12.4", "12.9")]
    result = converted(workflow(*rows, {"cuda": "12.9", "os": "ubuntu24.04"}))
    assert result.document["axes"] == {
        "cuda": ["12.4", "12.9"],
        "os": ["ubuntu22.04"],
        "arch": ["x86_64"],
    }
    assert result.document["include"] == [{"cuda": "12.9", "os": "ubuntu24.04", "arch": "x86_64"}]


def test_cells_that_cannot_exist_are_left_out_of_the_product_by_their_rule() -> None:
    # CUDA 12.4 is not for the glibc of Ubuntu 24.04 on aarch64.
    rows = [
        {"cuda": cuda, "os": "ubuntu24.04", "arch": arch}
        for cuda, arch in product(("12.4", "12.9"), ("amd64", "arm64"))
    ]
    result = converted(workflow(*rows))
    assert "include" not in result.document
    assert result.cells == [
        "cuda12.4-ubuntu24.04-x86_64",
        "cuda12.9-ubuntu24.04-aarch64",
        "cuda12.9-ubuntu24.04-x86_64",
    ]
    (left,) = result.remainders
    assert (left.what, left.rule, left.jobs) == (
        "cell: cuda12.4-ubuntu24.04-aarch64",
        "math-vector",
        1,
    )


def test_unknown_systems_and_releases_are_left_with_their_rule() -> None:
    rows = [{"cuda": "12.4"}, {"cuda": "9.2"}, {"cuda": "12.4", "os": "ubuntu18.04"}]
    result = converted(workflow(*rows))
    assert {row.what: row.rule for row in result.remainders} == {
        "cell: cuda9.2-ubuntu22.04-x86_64": "cuda",
        "cell: cuda12.4-ubuntu18.04-x86_64": "os",
    }


def test_jobs_without_a_system_have_few_systems() -> None:
    text = """\
pull_request:
  nvcc:
    - {cuda: '12.4', cpu: arm64}
    - {cuda: '13.0', cpu: amd64}
"""
    result = converted(text)
    assert result.matrix.axes["os"] == ("debian12",)
    assert result.rest["os: debian12"] == "the jobs name no operating system: it is assumed"
    assert converted(text, systems=("ubuntu22.04",)).matrix.axes["os"] == ("ubuntu22.04",)


def test_a_cudnn_without_two_parts_is_one_that_the_facts_name() -> None:
    rows = [
        {"image": "cuda:12.2.2-cudnn8-devel-ubuntu22.04"},
        {"image": "cuda:12.9.1-cudnn-devel-ubuntu22.04"},
        {"image": "cuda:12.9.1-cudnn9.10.2-devel-ubuntu22.04"},
    ]
    result = converted(workflow(*rows))
    assert {(cell.cuda, cell.cudnn) for cell in result.matrix.cells} == {
        ("12.2.2", "8.9"),
        ("12.9.1", "9.12"),
        ("12.9.1", "9.10.2"),
    }
    assert "is assumed" in result.rest["cudnn: 8"]


def test_settings_are_variants_and_combinations_without_jobs_are_excluded() -> None:
    rows = [
        {"cuda": "12.9", "std": 17, "build_type": "Release"},
        {"cuda": "12.9", "std": 20, "build_type": "Release"},
        {"cuda": "12.9", "std": 17, "build_type": "Debug"},
        {"cuda": "12.4", "std": 17, "build_type": "Release"},
        {"cuda": "12.4", "std": 20, "build_type": "Release"},
        {"cuda": "12.4", "std": 17, "build_type": "Debug"},
        {"cuda": "13.0", "std": 17, "build_type": "Release"},
    ]
    reason = "no job of the imported matrix"
    assert converted(workflow(*rows)).libraries["solver"]["variants"] == {
        "std": ["17", "20"],
        "build_type": ["Release", "Debug"],
        "exclude": [
            {"std": "17", "build_type": "Debug", "cells": ["cuda13.0-*"], "reason": reason},
            {"std": "20", "build_type": "Release", "cells": ["cuda13.0-*"], "reason": reason},
            {"std": "20", "build_type": "Debug", "reason": reason},
        ],
    }


def test_a_variant_that_the_compilers_refuse_is_left_with_the_rule_by_the_command() -> None:
    rows = [{"cuda": cuda, "std": std} for cuda in ("11.8", "12.9") for std in (17, 20)]
    assert converted(workflow(*rows)).libraries["solver"]["variants"] == {"std": ["17", "20"]}


def test_options_of_some_jobs_are_a_named_variant_and_those_of_all_are_the_librarys() -> None:
    rows: list[dict[str, object]] = [
        {"cuda": "12.4", "cmake_flags": "-DA=1"},
        {"cuda": "12.9", "cmake_flags": "-DA=1 -DSOLVER_WIDE=ON -DCMAKE_BUILD_TYPE=Debug"},
        {"cuda": "12.9", "cmake_flags": "-DA=1 -DCMAKE_BUILD_TYPE=Release"},
    ]
    library = converted(workflow(*rows)).libraries["solver"]
    assert library["build"] == {"options": ["-DA=1"]}
    assert library["variants"]["named"] == {
        "solver-wide-on": {
            "build_type": ["Debug"],
            "options": ["-DSOLVER_WIDE=ON"],
            "cells": ["cuda12.9-*"],
        }
    }


def test_architectures_of_all_jobs_are_those_of_the_matrix() -> None:
    rows = [{"cuda": "12.4", "cuda_arch": "70;80"}, {"cuda": "13.0", "cuda_arch": "80;120"}]
    assert converted(workflow(*rows)).document["sm"] == ["70", "80", "120"]


def test_a_release_that_knows_no_architecture_gets_one() -> None:
    rows = [{"cuda": "12.4", "cuda_arch": "60"}, {"cuda": "13.0", "cuda_arch": "5.0"}]
    document = converted(workflow(*rows)).document
    assert {"50", "60"} < set(document["sm"])


def test_libraries_are_for_their_cells_and_in_directories_of_their_name() -> None:
    text = """\
workflows:
  pull_request:
    - {jobs: [build], project: [solver, sparse], ctk: ['12.4', '13.0'], cxx: gcc12}
    - {jobs: [build], project: dense, ctk: '13.0', cxx: gcc12}
ctk_versions: {12.4: {}, 13.0: {}}
host_compilers: {gcc: {container_tag: gcc, versions: {12: {}}}}
"""
    result = converted(text, systems=("debian12",))
    assert result.libraries == {
        "solver": {"path": "solver"},
        "sparse": {"path": "sparse"},
        "dense": {"path": ".", "cells": ["cuda13.0-*"]},
    }
    assert "say in `path`" in result.rest["library: dense"]


def test_equal_values_of_a_key_are_one_row_with_the_number_of_jobs() -> None:
    rows = [{"cuda": "12.4", "os": os} for os in ("macos-14", "windows-2022", "macos-14")]
    result = converted(workflow(*rows, {"cuda": "12.4"}))
    (left,) = result.remainders
    assert (left.what, left.jobs) == ("os: macos-14, windows-2022", 3)


def test_numbers_of_jobs_are_limited() -> None:
    values = [str(number) for number in range(200)]
    matrix = dict.fromkeys(("cuda", "os", "std"), values)
    text = json.dumps({"jobs": {"a": {"runs-on": "x", "strategy": {"matrix": matrix}}}})
    with pytest.raises(ConfigurationError, match="more than 20000 jobs"):
        converted(text)


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["x0: &x0 {a: 1}"]
    lines += [
        f"x{number}: &x{number} [{', '.join([f'*x{number - 1}'] * 9)}]" for number in range(1, 9)
    ]
    with pytest.raises(ConfigurationError, match="aliases expanded"):
        converted("\n".join(lines))


@settings(max_examples=200, deadline=None)
@given(st.sets(st.tuples(*(st.sampled_from("abcd") for _ in range(3))), min_size=1, max_size=20))
def test_a_product_has_only_members_and_harmless_cells(cells: set[tuple[str, ...]]) -> None:
    def is_harmless(cell: tuple[str, ...]) -> bool:
        return cell[0] == "d"

    axes = largest_product(sorted(cells), is_harmless)
    rows = set(product(*axes))
    assert rows & cells
    assert all(row in cells or is_harmless(row) for row in rows)
    for index, values in enumerate(axes):
        assert set(values) == {row[index] for row in rows & cells}


@settings(max_examples=200, deadline=None)
@given(
    st.sets(
        st.tuples(*(st.sampled_from(["12.0", "12.1", "x", "y"]) for _ in range(3))), min_size=1
    ),
    st.data(),
)
def test_globs_match_what_they_are_for_and_nothing_else(
    cells: set[tuple[str, ...]], data: st.DataObject
) -> None:
    parts = {"-".join(cell): cell for cell in cells}
    targets = data.draw(st.sets(st.sampled_from(sorted(parts)), min_size=1))
    globs = globs_of(targets, parts.keys() - targets, parts)
    matching = {name for name in parts if any(fnmatchcase(name, glob) for glob in globs)}
    assert matching == targets


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_is_converted_or_refused(text: str) -> None:
    with suppress(ConfigurationError):
        converted(text)
