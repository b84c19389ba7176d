"""Variants of libraries: their names, where they are built, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import Facts, load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import (
    explain_libraries,
    find_cell,
    is_for,
    library_verdicts,
    select_libraries,
)
from envmatrix.matrix.variant_rules import compiler_verdicts
from envmatrix.matrix.variants import NO_VARIANTS, PLAIN, Variant

OLD, NEW, ARM = (f"cuda{name}" for name in ("11.8-x86_64", "13.5-x86_64", "13.5-aarch64"))
HEAD = """\
version: "1"
axes: {cuda: ["11.8", "12.4", "13.5"], os: [debian12], arch: [x86_64, aarch64]}
sm: ["80", "90"]
libraries:
  other: {path: other}
"""
# Every kind of variant; the first line of `variants` is line 9 of the file.
PRODUCT = """\
std: ["17", "20"]
build_type: [Release, Debug]
named:
  static: {std: ["17", "20"], definitions: {SHARED: "OFF"}}
  hopper: {sm: [90a]}
  asan: {sanitizer: asan, build_type: Debug, cells: "*-x86_64"}
exclude:
  - {std: "20", build_type: Debug, cells: "cuda12*", reason: "slow"}
"""


def matrix_with(variants: str, library: str = "path: ops", head: str = HEAD) -> Matrix:
    lines = "".join(f"      {line}\n" for line in variants.splitlines())
    text = f"{head}  ops:\n    {library}\n    variants:\n{lines}"
    return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})


def problems(variants: str, library: str = "path: ops", head: str = HEAD) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(variants, library, head)
    texts = (
        f"{problem} ({problem.hint})" if problem.hint else str(problem)
        for problem in caught.value.problems
    )
    return [text.removeprefix("matrix.yaml:") for text in texts]


def names(variants: str) -> list[str]:
    return [library.name for library in matrix_with(variants).variants]


def in_cell(matrix: Matrix, cell: str) -> list[str]:
    place = find_cell(matrix, cell)
    return [each.name for each in matrix.variants if is_for(each, place, matrix)]


def test_the_name_of_a_variant_has_what_differs_from_the_first_values() -> None:
    assert names('std: ["17", "20"]\nbuild_type: [Release, Debug]') == [
        *("ops", "ops@debug", "ops@cxx20", "ops@cxx20-debug", "other"),
    ]
    assert names("sanitizer: [asan, none]") == ["ops", "ops@unsanitized", "other"]


def test_a_named_variant_has_its_key_and_the_settings_with_several_values() -> None:
    assert names('named: {static: {std: ["17", "20"]}, asan: {sanitizer: asan}}') == [
        *("ops", "ops@cxx17-static", "ops@cxx20-static", "ops@asan", "other"),
    ]
    assert names('std: ["17", "23"]\nnamed: {static: {std: ["17", "20"], preset: static}}') == [
        *("ops", "ops@cxx23", "ops@static", "ops@cxx20-static", "other"),
    ]


def test_one_more_value_or_list_renames_nothing() -> None:
    before = names('std: ["17", "20"]')
    assert {*before} <= {*names('std: ["17", "20", "23"]')}
    assert {*before} <= {*names('std: ["17", "20"]\nbuild_type: [Release, Debug]')}


def test_a_library_without_variants_is_its_own() -> None:
    (library,) = (each for each in matrix_with("std: [17, 20]").libraries if each.name == "other")
    assert library.expanded == (library,)
    assert (library.variants, library.variant) == (NO_VARIANTS, PLAIN)
    assert library.declared_name == "other"


def test_a_variant_is_a_library_with_other_settings() -> None:
    named = "s: {options: [-DA], preset: static, definitions: {B: 1}, environment: {C: 2}}"
    build = "build: {preset: all, options: [-DX]}"
    matrix = matrix_with(f"std: [17]\nnamed: {{{named}}}", f"path: ops\n    {build}")
    plain, static, _ = matrix.variants
    assert plain.build.options == ("-DX",)
    assert plain.variant == Variant(std="17")
    assert (static.build.preset, static.build.options) == ("static", ("-DX", "-DA"))
    assert static.variant.definitions == {"B": "1"}
    assert static.variant.environment == {"C": "2"}
    assert (static.declared_name, static.path, static.variants) == ("ops", "ops", NO_VARIANTS)


def test_gpu_architectures_are_filled_into_settings_of_variants() -> None:
    matrix = matrix_with('named: {s: {definitions: {A: "x{sm,}"}, environment: {B: "{sm}"}}}')
    _, static, _ = matrix.variants
    variant = static.with_sm(["80", "90"]).variant
    assert (variant.definitions, variant.environment) == ({"A": "x80,90"}, {"B": "80;90"})


def test_a_variant_is_built_where_compilers_take_it_and_nothing_excludes_it() -> None:
    matrix = matrix_with(PRODUCT)
    old = ["ops", "ops@debug", "ops@static", "ops@asan", "other"]
    assert in_cell(matrix, OLD) == old
    assert in_cell(matrix, "cuda12.4-x86_64") == [
        *("ops", "ops@debug", "ops@cxx20", "ops@static", "ops@cxx20-static"),
        *("ops@hopper", "ops@asan", "other"),
    ]
    assert {*in_cell(matrix, NEW)} - {*in_cell(matrix, ARM)} == {"ops@asan"}
    assert "ops@cxx20-debug" in in_cell(matrix, NEW)


def test_an_exclude_applies_to_a_default_variant_without_settings() -> None:
    matrix = matrix_with("named: {d: {build_type: Debug}}\nexclude: [{cells: cuda11*, reason: x}]")
    assert in_cell(matrix, OLD) == ["other"]
    assert in_cell(matrix, NEW) == ["ops", "ops@d", "other"]


def test_a_declared_library_is_for_every_cell_of_its_variants() -> None:
    """Sources and wheels are locked for all of them."""
    matrix = matrix_with("named: {d: {build_type: Debug}}\nexclude: [{cells: cuda11*, reason: x}]")
    (declared,) = (library for library in matrix.libraries if library.name == "ops")
    assert is_for(declared, find_cell(matrix, OLD), matrix)


def verdict_of(matrix: Matrix, cell: str, name: str) -> tuple[str, str]:
    (explanation,) = explain_libraries(matrix, [find_cell(matrix, cell)], [name])
    assert not explanation.present
    failed = next(verdict for verdict in explanation.verdicts if not verdict.passed)
    assert failed.ref
    return failed.rule, failed.explanation


def test_the_reason_that_a_variant_is_left_out_names_the_rule() -> None:
    matrix = matrix_with(PRODUCT)
    no_standard = "nvcc of CUDA 11.8 has no C++20; the nearest that it has is C++17"
    assert verdict_of(matrix, OLD, "ops@cxx20") == ("std", no_standard)
    no_sm = "CUDA 11.8 has no GPU architecture 90a; did you mean `90`?"
    assert verdict_of(matrix, OLD, "ops@hopper") == ("sm", no_sm)
    assert verdict_of(matrix, "cuda12-x86_64", "ops@cxx20-debug") == ("exclude", "slow")
    assert verdict_of(matrix, ARM, "ops@asan") == ("cells", "variant `asan` is for `*-x86_64`")


@pytest.mark.parametrize(
    ("std", "gcc", "cuda", "lacking"),
    [
        ("17", "9", "toolkit", None),
        ("20", "9", "toolkit", "GCC 9"),
        ("23", "12", "toolkit", None),
        ("26", "14", "toolkit", "nvcc of CUDA 13.5"),
        ("26", "14", "none", None),
        ("26", "13", "none", "GCC 13"),
    ],
)
def test_both_compilers_have_to_take_a_standard(
    facts: Facts, shipped: Matrix, std: str, gcc: str, cuda: str, lacking: str | None
) -> None:
    cell = find_cell(shipped, "cuda13.5-debian12-x86_64")
    cell = replace(cell, toolchain=replace(cell.toolchain, gcc=gcc))
    library = Library("a", cuda=cuda, variant=Variant(std=std))  # type: ignore[arg-type]
    (verdict,) = compiler_verdicts(library, cell, facts)
    assert verdict.passed == (lacking is None)
    assert verdict.explanation.startswith(f"{lacking} has no C++{std}" if lacking else f"C++{std}")


def test_the_first_tier_has_the_default_variant_and_those_that_are_listed() -> None:
    tiers = matrix_with(f"{PRODUCT}tiers: {{pr: ['cxx20*']}}").declared["ops"].variants
    narrow = matrix_with(f"{PRODUCT}tiers: {{nightly: [asan]}}").declared["ops"].variants
    combinations = [*tiers.combinations()]
    in_tiers = {
        tier: [each.name for each in combinations if tiers.runs_in(tier, each)]
        for tier in ("pr", "nightly", "weekly")
    }
    assert in_tiers["pr"] == ["", "cxx20", "cxx20-debug", "cxx20-static"]
    assert in_tiers["nightly"] == in_tiers["weekly"] == [each.name for each in combinations]
    assert [each.name for each in combinations if narrow.runs_in("nightly", each)] == ["", "asan"]


def test_a_name_selects_one_variant_and_a_glob_many() -> None:
    matrix = matrix_with(PRODUCT)

    def selected(*patterns: str) -> list[str]:
        return [library.name for library in select_libraries(matrix, patterns)]

    assert selected("ops") == ["ops"]
    assert selected("ops@cxx20") == ["ops@cxx20"]
    assert selected("ops@*static", "other") == ["ops@static", "ops@cxx20-static", "other"]
    assert selected("ops@*") == [name for name in selected() if name.startswith("ops")]
    assert selected("o*") == selected()


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("ops@cxx2", "matrix.yaml has no library `ops@cxx2`", "did you mean `ops@cxx20`?"),
        ("ops@", "matrix.yaml has no library `ops@`", "did you mean `ops@cxx20`?"),
        ("other@x*", "matrix.yaml has no library `other@x*`", "did you mean `other`?"),
    ],
)
def test_a_wrong_name_gets_the_names_that_there_are(name: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        select_libraries(matrix_with('std: ["17", "20"]'), [name])
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == (message, hint)


def test_rules_of_libraries_come_before_those_of_variants() -> None:
    matrix = matrix_with(PRODUCT, "path: ops\n    cells: cuda13*")
    variant = next(each for each in matrix.variants if each.name == "ops@cxx20")
    verdicts = library_verdicts(variant, find_cell(matrix, OLD), matrix)
    assert [(verdict.rule, verdict.passed) for verdict in verdicts] == [
        *(("cells", False), ("std", False)),
    ]


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ('std: ["17", "17"]', "9:19: `17` is already listed at matrix.yaml:9:13"),
        (
            "build_type: [debug]",
            (
                "9:20: `libraries.ops.variants.build_type[0]` must be `Release`, `Debug`, "
                "`RelWithDebInfo` or `MinSizeRel`, not `debug` (did you mean `Debug`?)"
            ),
        ),
        (
            "biuld_type: [Debug]",
            ("9:7: unknown key `libraries.ops.variants.biuld_type` (did you mean `build_type`?)"),
        ),
        (
            "build_type: [Release, Debug]\nnamed: {debug: {sanitizer: asan}}",
            (
                "10:15: there is another variant `ops@debug` "
                "(names of values and of variants have to differ)"
            ),
        ),
        (
            "build_type: [Release, Debug]\nnamed: {slow: {build_type: Debug}}",
            ("10:15: variant `ops@slow` has the settings of `ops@debug` (leave one of them out)"),
        ),
        (
            "named: {same: {}}",
            ("9:15: variant `ops@same` has the settings of `ops` (leave one of them out)"),
        ),
        (
            'std: ["17", "26"]',
            (
                "9:19: no cell can build `ops@cxx26`: GCC 12 has no C++26; the nearest "
                "that it has is C++23 (the last one is `cuda13.5-debian12-x86_64`)"
            ),
        ),
        (
            'std: "26"\nnamed: {d: {build_type: Debug}}',
            (
                "9:12: no cell can build `ops`, `ops@d`: GCC 12 has no C++26; the nearest "
                "that it has is C++23 (the last one is `cuda13.5-debian12-x86_64`)"
            ),
        ),
        (
            'named: {new: {std: "20", cells: [cuda11*]}}',
            (
                "9:26: no cell can build `ops@new`: nvcc of CUDA 11.8 has no C++20; the nearest "
                "that it has is C++17 (the last one is `cuda11.8-debian12-x86_64`)"
            ),
        ),
        (
            "named: {new: {sm: [90a], cells: [cuda11*]}}",
            (
                "9:25: no cell can build `ops@new`: CUDA 11.8 has no GPU architecture 90a; did "
                "you mean `90`? (the last one is `cuda11.8-debian12-x86_64`)"
            ),
        ),
        (
            "named: {d: {build_type: Debug, cells: [cuda12-x86_65]}}",
            "9:46: `cuda12-x86_65` matches no cell (did you mean `cuda12-x86_64`?)",
        ),
        (
            "named: {d: {build_type: Debug}}\nexclude: [{named: e, reason: x}]",
            "10:25: `named` has no variant `e`",
        ),
        (
            'std: ["17", "20"]\nexclude: [{std: "23", reason: x}]',
            "10:17: excludes nothing that is not excluded before it",
        ),
        (
            'std: ["17", "20"]\ntiers: {pr: [cxx21]}',
            ("10:20: `cxx21` matches no variant of library `ops` (did you mean `cxx20`?)"),
        ),
        (
            'named: {d: {options: ["-DCMAKE_BUILD_TYPE:STRING=Debug"]}}',
            (
                "9:29: `-DCMAKE_BUILD_TYPE:STRING=Debug` sets what `build_type` of "
                "variants sets (write `build_type` in `variants` instead)"
            ),
        ),
        (
            'named: {d: {definitions: {CMAKE_CXX_STANDARD: "20"}}}',
            (
                "9:33: `CMAKE_CXX_STANDARD` sets what `std` of variants sets "
                "(write `std` in `variants` instead)"
            ),
        ),
        (
            "named: {d: {environment: {CUDAARCHS: all}}}",
            (
                "9:33: `CUDAARCHS` sets what `sm` of variants sets "
                "(write `sm` in `variants` instead)"
            ),
        ),
        (
            "named: {d: {definitions: {CMAKE_CXX_COMPILER: clang++}}}",
            ("9:33: `CMAKE_CXX_COMPILER` sets what envmatrix sets for the cell (leave it out)"),
        ),
        (
            "named: {d: {options: [--toolchain=x]}}",
            "9:29: `--toolchain=x` sets what envmatrix sets for the cell (leave it out)",
        ),
        (
            'named: {d: {definitions: {A: "1"}, options: ["-DB=1", "-DA:STRING=2"]}}',
            (
                "9:61: `-DA:STRING=2` sets `A`, which `definitions` sets as well "
                "(leave one of them out)"
            ),
        ),
        (
            "std: ['17']\nnamed: {d: {definitions: {CMAKE_CXX_FLAGS: -O1 -std=c++14}}}",
            (
                "10:33: `CMAKE_CXX_FLAGS` sets what `std` of variants sets "
                "(write `std` in `variants` instead)"
            ),
        ),
    ],
)
def test_what_is_wrong_with_variants_has_its_position(variants: str, expected: str) -> None:
    assert problems(variants) == [expected]


@pytest.mark.parametrize(
    ("build", "variants", "expected"),
    [
        (
            "{options: [-DA=1, -DCMAKE_BUILD_TYPE=Debug]}",
            "build_type: [Release, Debug]",
            (
                "8:30: `-DCMAKE_BUILD_TYPE=Debug` sets what `build_type` of variants sets "
                "(write `build_type` in `variants` instead)"
            ),
        ),
        (
            "{system: meson, options: [-Dcpp_std=c++17]}",
            'std: ["17", "20"]',
            (
                "8:38: `-Dcpp_std=c++17` sets what `std` of variants sets "
                "(write `std` in `variants` instead)"
            ),
        ),
        (
            "{system: make, environment: {CUDAARCHS: '80'}}",
            "named: {s: {sm: [90a]}}",
            (
                "8:41: `CUDAARCHS` sets what `sm` of variants sets "
                "(write `sm` in `variants` instead)"
            ),
        ),
        (
            "{system: make}",
            "named: {s: {preset: static}}",
            "10:19: a library of system `make` has no `preset`",
        ),
        (
            "{system: script, commands: [make]}",
            "named: {s: {definitions: {A: 1}}}",
            (
                "10:19: a library of system `script` has no `definitions` "
                "(a script gets variables: `environment`)"
            ),
        ),
    ],
)
def test_a_library_does_not_set_what_its_variants_set(
    build: str, variants: str, expected: str
) -> None:
    (problem,) = problems(variants, f"path: ops\n    build: {build}")
    assert problem == expected


@pytest.mark.parametrize(
    ("system", "option", "key"),
    [
        ("cmake", "-DCMAKE_CXX_FLAGS=-O1 -std=c++14", "std"),
        ("make", "CXXFLAGS=-std=gnu++17", "std"),
        ("bazel", "--cxxopt=-std=c++14", "std"),
        ("bazel", "-c dbg", "build_type"),
        ("bazel", "--compilation_mode=dbg", "build_type"),
    ],
)
def test_flags_of_a_library_do_not_set_what_its_variants_set(
    system: str, option: str, key: str
) -> None:
    library = f"path: ops\n    build: {{system: {system}, options: ['{option}']}}"
    (problem,) = problems('std: ["17", "20"]\nbuild_type: [Release, Debug]', library)
    assert f"`{option}` sets what `{key}` of variants sets" in problem


@pytest.mark.parametrize(
    ("system", "option"),
    [
        ("bazel", "--host_cxxopt=-std=c++17"),
        ("bazel", "-k"),
        ("make", "CFLAGS=-std=c11"),
        ("cmake", "-DUSE_STD=c++17"),
    ],
)
def test_other_flags_stay_beside_variants(system: str, option: str) -> None:
    library = f"path: ops\n    build: {{system: {system}, options: ['{option}']}}"
    assert matrix_with('std: ["17", "20"]', library).variants


@pytest.mark.parametrize(
    "build",
    [
        "{options: [-DCMAKE_TOOLCHAIN_FILE=x]}",
        "{options: [--toolchain=x]}",
        "{options: [--toolchain x]}",
        "{options: [--toolchain, x]}",
        "{environment: {CMAKE_TOOLCHAIN_FILE: x}}",
        "{system: meson, options: [--cross-file=x]}",
        "{system: python, options: [cmake.define.CMAKE_TOOLCHAIN_FILE=x]}",
    ],
)
def test_a_library_does_not_set_what_envmatrix_sets(build: str) -> None:
    (problem,) = problems("{}", f"path: ops\n    build: {build}")
    assert "sets what envmatrix sets for the cell" in problem


@pytest.mark.parametrize(
    ("system", "option"),
    [
        ("cmake", "-DCMAKE_INSTALL_PREFIX=/opt"),
        ("cmake", "--install-prefix=/opt"),
        ("meson", "--prefix=/opt"),
        ("make", "PREFIX=/opt"),
    ],
)
def test_a_library_that_others_need_is_installed_where_they_find_it(
    system: str, option: str
) -> None:
    library = f"path: ops\n    build: {{system: {system}, options: [{option}]}}"
    assert matrix_with("{}", library).libraries
    (problem,) = problems("{}", f"{library}\n  app:\n    path: app\n    needs: [ops]")
    assert f"`{option}` sets where library `ops` is installed" in problem


def test_options_of_a_library_may_set_what_no_variant_sets() -> None:
    build = "build: {options: [-DCMAKE_BUILD_TYPE=Debug]}"
    assert matrix_with('std: ["17", "20"]', f"path: ops\n    {build}").variants


def test_a_text_of_a_variant_fits_into_an_argument() -> None:
    (problem,) = problems(f"named: {{s: {{definitions: {{A: {'x' * 140_000}}}}}}}")
    assert "`definitions` of library `ops` has a text of 140002 bytes" in problem


def test_a_variant_needs_a_cell_of_its_library() -> None:
    (problem,) = problems(
        "named: {d: {build_type: Debug, cells: [cuda11*]}}", "path: ops\n    cells: cuda13*"
    )
    assert "`cells` has no cell of library `ops`" in problem


SDK = HEAD.replace('"13.5"', '"13.2"').replace("arch: [x86_64, aarch64]", "arch: [x86_64]")


def test_an_sdk_compiles_in_the_cells_of_its_cuda() -> None:
    matrix = matrix_with(
        'std: ["17"]\nnamed: {hpc: {sdk: nvhpc-26.5, std: ["17", "20"]}}', head=SDK
    )
    cells = {cell.id for cell in matrix.cells if "ops@hpc" in in_cell(matrix, cell.id)}
    assert cells == {"cuda13.2-debian12-x86_64"}
    (row,) = explain_libraries(matrix, [find_cell(matrix, "cuda12.4-x86_64")], ["ops@hpc"])
    failed = next(verdict for verdict in row.verdicts if not verdict.passed)
    assert failed.explanation == (
        "`cuda12.4-debian12-x86_64` is not for NVHPC 26.5: it brings CUDA 13.2"
    )


def test_an_impossible_sdk_is_an_error_at_its_place() -> None:
    assert problems("named: {hpc: {sdk: nvhpc-26}}", head=SDK) == [
        "9:26: unknown SDK `nvhpc-26` (did you mean `nvhpc-26.5`?)"
    ]
    (problem,) = problems("named: {hpc: {sdk: nvhpc-26.3}}", head=SDK)
    assert problem.startswith(
        "9:26: no cell can build `ops@hpc`: `cuda13.2-debian12-x86_64` is not for"
    )
    (problem,) = problems('named: {hpc: {sdk: nvhpc-26.5, std: "14"}}', head=SDK)
    assert "NVHPC 26.5 has C++17, C++20" in problem


def test_an_sdk_compiles_a_library_without_cuda_with_any_release() -> None:
    library = "path: ops\n    cuda: none"
    matrix = matrix_with("named: {hpc: {sdk: nvhpc-26.5}}", library, SDK)
    assert all("ops@hpc" in in_cell(matrix, cell.id) for cell in matrix.cells)


def test_excludes_that_leave_nothing_of_a_library_are_an_error() -> None:
    expected = "leave no variant of library `ops` in any cell (leave the library out, or exclude "
    for exclude in ("[{reason: x}]", '[{std: "17", reason: x}, {std: "20", reason: x}]'):
        (problem,) = problems(f'std: ["17", "20"]\nexclude: {exclude}')
        assert expected in problem


def test_an_impossible_variant_is_named_with_the_excludes_that_take_it_from_other_cells() -> None:
    (problem,) = problems(
        'std: ["17", "20"]\nbuild_type: [Release, Debug]\n'
        'exclude: [{std: "20", build_type: Debug, cells: ["cuda12*", "cuda13*"], reason: x}]'
    )
    assert problem == (
        "9:19: no cell can build `ops@cxx20-debug`: nvcc of CUDA 11.8 has no C++20; the nearest "
        "that it has is C++17 (`exclude` takes it out of the others; the last one is "
        "`cuda11.8-debian12-x86_64`)"
    )
