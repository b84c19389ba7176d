"""Settings of variants, as build systems and programs get them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from tests.unit.sessions.contexts import build_context

from envmatrix.matrix.library import BuildSystemName, Library, LibraryBuild, LibraryTest
from envmatrix.matrix.variants import NamedVariant, Variants
from envmatrix.sessions import tasks
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.context import BuildContext

SM = ("80", "90")
CUDA20 = [
    "-DCMAKE_CUDA_STANDARD=20",
    "-DCMAKE_CUDA20_STANDARD_COMPILE_OPTION=-std=c++20",
    "-DCMAKE_CUDA20_EXTENSION_COMPILE_OPTION=-std=c++20",
    (
        "-DCMAKE_TRY_COMPILE_PLATFORM_VARIABLES="
        "CMAKE_CUDA20_STANDARD_COMPILE_OPTION;CMAKE_CUDA20_EXTENSION_COMPILE_OPTION"
    ),
]
SLOW = NamedVariant(
    std=("20",),
    build_type=("RelWithDebInfo",),
    options=("--own",),
    definitions={"ARCHS": "{sm,}"},
    environment={"LEVEL": "2"},
)
ASAN = "-fsanitize=address -fno-omit-frame-pointer -g"


def context_of(
    variant: NamedVariant, build: LibraryBuild | None = None, cell: str = "cuda13.5-debian12-x86_64"
) -> BuildContext:
    """Return the build of a variant `v` of a library in a cell."""
    context = build_context(build, cell=cell)
    declared = replace(context.library, variants=Variants(named={"v": variant}))
    _, library = declared.expanded
    return replace(context, library=context.system.configured(library, library.variant.sm or SM))


def configured(system: BuildSystemName, variant: NamedVariant, **build: object) -> LibraryBuild:
    commands = ("make",) if system == "script" else ()
    table = LibraryBuild(system, commands=commands, **build)  # type: ignore[arg-type]
    return context_of(variant, table).library.build


@pytest.mark.parametrize(
    ("system", "options"),
    [
        (
            "cmake",
            [
                *("-DCMAKE_CXX_STANDARD=20", *CUDA20),
                *("-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DARCHS=80,90"),
            ],
        ),
        ("meson", ["-Dcpp_std=c++20", "--buildtype=debugoptimized", "-DARCHS=80,90"]),
        ("make", ["ARCHS=80,90"]),
        ("python", ["ARCHS=80,90"]),
        (
            "bazel",
            [
                *("--cxxopt=-std=c++20", "--compilation_mode=opt", "--copt=-g"),
                "--define=ARCHS=80,90",
            ],
        ),
    ],
)
def test_a_build_system_gets_settings_as_its_own_options(
    system: BuildSystemName, options: Sequence[str]
) -> None:
    build = configured(system, SLOW, options=("-DX",))
    assert build.options == ("-DX", "--own", *options)
    assert build.environment["LEVEL"] == "2"


@pytest.mark.parametrize("system", ["make", "script"])
def test_build_systems_without_settings_get_flags(system: BuildSystemName) -> None:
    variant = replace(SLOW, definitions={}, options=(), sanitizer=("asan",))
    assert configured(system, variant).environment == {
        "LEVEL": "2",
        "CFLAGS": f"-O2 -g -DNDEBUG {ASAN}",
        "CXXFLAGS": f"-std=c++20 -O2 -g -DNDEBUG {ASAN}",
        "CUDAFLAGS": f"-std=c++20 -O2 -g -DNDEBUG -Xcompiler={ASAN.replace(' ', ',')}",
        "LDFLAGS": ASAN,
    }


def test_flags_of_a_variant_follow_those_of_the_library() -> None:
    build = configured("make", NamedVariant(std=("20",)), environment={"CXXFLAGS": "-Wall"})
    assert build.environment["CXXFLAGS"] == "-Wall -std=c++20"
    variables = configured("make", NamedVariant(std=("20",), environment={"EMPTY": ""})).environment
    assert variables["EMPTY"] == ""


def test_a_wheel_is_built_with_cmake_or_with_flags() -> None:
    environment = configured("python", NamedVariant(std=("20",), build_type=("Debug",))).environment
    options = ["-DCMAKE_CXX_STANDARD=20", *CUDA20, "-DCMAKE_BUILD_TYPE=Debug"]
    assert environment["CMAKE_ARGS"] == " ".join(options)
    assert environment["SKBUILD_CMAKE_BUILD_TYPE"] == "Debug"
    assert environment["CXXFLAGS"] == "-std=c++20 -O0 -g"


@pytest.mark.parametrize(
    ("system", "options", "flags"),
    [
        ("cmake", (), ASAN),
        ("meson", ("-Db_sanitize=address",), None),
        (
            "bazel",
            tuple(f"--{kind}={flag}" for kind in ("copt", "linkopt") for flag in ASAN.split()[:2]),
            None,
        ),
    ],
)
def test_a_sanitizer_is_an_option_or_flags(
    system: BuildSystemName, options: tuple[str, ...], flags: str | None
) -> None:
    build = configured(system, NamedVariant(sanitizer=("asan",)))
    assert (build.options, build.environment.get("CXXFLAGS")) == (options, flags)


def test_gpu_architectures_of_a_variant_replace_those_of_the_cell() -> None:
    build = configured("cmake", NamedVariant(sm=("90a",)), options=("-DA={sm}",))
    assert build.options == ("-DA=90a", "-DCMAKE_CUDA_ARCHITECTURES=90a")
    assert build.environment == {"CUDAARCHS": "90a"}


def test_a_library_without_cuda_gets_no_standard_for_it() -> None:
    library = Library("a", cuda="none", variants=Variants(std=("20",)))
    (variant,) = library.expanded
    assert BUILD_SYSTEMS["cmake"].configured(variant, SM).build.options == (
        "-DCMAKE_CXX_STANDARD=20",
    )


def test_a_library_without_variants_has_only_its_architectures_filled_in() -> None:
    library = Library("a", build=LibraryBuild(options=("-DA={sm}",)), test=LibraryTest("ctest"))
    for system in BUILD_SYSTEMS.values():
        assert system.configured(library, SM) == library.with_sm(SM)


def test_options_of_a_variant_follow_the_default_build_type() -> None:
    context = context_of(NamedVariant(build_type=("Debug",)))
    words = shlex.split(dict(context.system.by_hand(context))["configure"])
    types = [word for word in words if word.startswith("-DCMAKE_BUILD_TYPE=")]
    assert types == ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_BUILD_TYPE=Debug"]


def runtime(context: BuildContext) -> Mapping[str, str]:
    return tasks.in_runtime(context, ["true"]).environment


def test_variables_of_a_variant_are_those_of_its_build_and_its_tests() -> None:
    context = context_of(NamedVariant(environment={"LEVEL": "2"}))
    assert tasks.in_compiler(context, ["true"]).environment["LEVEL"] == "2"
    assert runtime(context)["LEVEL"] == "2"
    tests = LibraryTest("ctest", environment={"LEVEL": "1", "MODE": "a"})
    context = replace(context, library=replace(context.library, test=tests))
    assert runtime(context).items() >= {"LEVEL": "2", "MODE": "a"}.items()


def test_clang_gets_flags_of_the_host_compiler_as_its_own() -> None:
    context = context_of(NamedVariant(sanitizer=("asan",), build_type=("Debug",)))
    flags = tasks.in_compiler(context, ["true"]).environment["CUDAFLAGS"]
    assert "-Xcompiler=-fsanitize=address,-fno-omit-frame-pointer,-g" in flags
    clang = replace(context.cell, compiler="clang-22", cuda_compiler="clang")
    of_clang = tasks.in_compiler(replace(context, cell=clang), ["true"]).environment["CUDAFLAGS"]
    assert "-fsanitize=address -fno-omit-frame-pointer -g" in of_clang
    assert "-Xcompiler" not in of_clang


def test_tests_with_a_sanitizer_run_where_its_library_is() -> None:
    sanitized = NamedVariant(sanitizer=("asan",))
    native, crossed = (
        context_of(sanitized, cell=f"cuda13.5-debian12-{arch}") for arch in ("x86_64", "aarch64")
    )
    assert native.test_image == native.compiler
    assert crossed.test_image == crossed.runtime
    assert tasks.in_runtime(native, ["true"]).image == str(native.compiler)
    assert "protect_shadow_gap=0" in runtime(native)["ASAN_OPTIONS"]
    own = context_of(replace(sanitized, environment={"ASAN_OPTIONS": "detect_leaks=0"}))
    assert runtime(own)["ASAN_OPTIONS"] == "detect_leaks=0"


def test_variants_have_directories_of_their_own_at_the_same_path() -> None:
    context = context_of(SLOW)
    plain = build_context()
    assert context.directory == plain.directory.with_name("lib@v")
    assert context.build.name == plain.build.name
    targets = [
        [mount.target for mount in tasks.in_compiler(of, ["true"]).mounts]
        for of in (context, plain)
    ]
    assert targets[0] == targets[1]
