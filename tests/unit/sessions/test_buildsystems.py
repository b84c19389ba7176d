from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sessions.contexts import SDIST, build_context

from envmatrix.images.model import CompilerCache
from envmatrix.matrix.library import (
    BuildSystemName,
    LibraryBuild,
    TestFrameworkName,
)
from envmatrix.sessions import tasks
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.buildsystems.cmake import ONE_TRY, is_probe
from envmatrix.sessions.context import BuildContext, Command, Instrumentation, jobs_for
from envmatrix.sessions.frameworks import FRAMEWORKS


def commands(context: BuildContext, jobs: int = 7) -> Sequence[Command]:
    return context.system.commands(replace(context, jobs=jobs))


def words(build: LibraryBuild, **others: object) -> list[str]:
    steps = commands(build_context(build, **others))  # type: ignore[arg-type]
    return [f"{command.step}: {' '.join(command.argv)} in {command.directory}" for command in steps]


def test_cmake_takes_a_preset_or_ninja_and_a_release() -> None:
    preset = words(LibraryBuild(preset="fast", options=("-DX=ON",)))
    arguments = "-S /src -B /build --preset fast -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DX=ON"
    assert preset[0].endswith(f" cmake {arguments} in /build")
    plain = words(LibraryBuild())
    assert "-G Ninja -DCMAKE_BUILD_TYPE=Release" in plain[0]


def test_cmake_builds_targets_with_so_many_jobs() -> None:
    (_, compiled) = commands(build_context(LibraryBuild(targets=("a", "b"))))
    assert list(compiled.argv[-4:]) == ["7", "--target", "a", "b"]


EXTERNAL = """\
cmake_minimum_required(VERSION 3.16)
project(x NONE)
include(ExternalProject)
ExternalProject_Add(e URL "http://127.0.0.1:1/x.tar.gz" CONFIGURE_COMMAND "" BUILD_COMMAND ""
                    INSTALL_COMMAND "")
"""


@pytest.mark.parametrize("generator", ["Ninja", "Unix Makefiles"])
def test_a_download_is_tried_once(tmp_path: Path, generator: str) -> None:
    if not (shutil.which("cmake") and shutil.which("ninja") and shutil.which("make")):
        pytest.skip("there is no CMake, ninja or make")
    (tmp_path / "CMakeLists.txt").write_text(EXTERNAL)
    build = tmp_path / "a build"
    subprocess.run(["cmake", "-G", generator, "-S", tmp_path, "-B", build], check=True)

    (_, compiled) = commands(build_context(LibraryBuild()))
    assert ONE_TRY in compiled.argv[2]
    for _ in range(2):
        subprocess.run(["sh", "-euc", ONE_TRY], cwd=build, check=True)
    done = subprocess.run(
        ["cmake", "--build", build], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode != 0
    assert "Each download failed" in done.stdout + done.stderr
    assert "Retry" not in done.stdout + done.stderr


def test_no_other_file_is_changed_for_a_download(tmp_path: Path) -> None:
    text = "set(retry_number 5)\n"
    others = ("e-stamp/e.cmake", "src/download-e.cmake", "outside")
    for name in (*others, "sub/e-stamp/download-e.cmake"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "e-stamp/download-link.cmake").symlink_to("../outside")

    subprocess.run(["sh", "-euc", ONE_TRY], cwd=tmp_path, check=True)

    assert "0" in (tmp_path / "sub/e-stamp/download-e.cmake").read_text()
    assert all((tmp_path / name).read_text() == text for name in others)


def test_meson_is_set_up_once_and_across_with_a_file() -> None:
    native = words(LibraryBuild("meson", options=("-Da=b",)))
    assert native[0].endswith("meson /build /src --buildtype=release -Da=b in /build")
    assert native[1] == "compile: ninja -C /build -j7 in /build"
    across = words(LibraryBuild("meson"), cell="cuda13.5-debian12-aarch64")
    assert "--cross-file toolchain.ini" in across[0]
    assert "--cross-file emulated.ini" in across[0]


def test_what_writes_among_its_sources_has_a_copy_of_them() -> None:
    assert words(LibraryBuild("make", options=("A=1",), targets=("all",))) == [
        "compile: make -j7 A=1 all in /build/source"
    ]
    assert words(LibraryBuild("script", commands=("./b.sh",))) == [
        "compile: bash -euo pipefail -c ./b.sh in /build/source"
    ]


def test_a_source_of_its_own_is_built_in_a_directory_of_it() -> None:
    lines = words(LibraryBuild("make"), source=SDIST, path="native")
    assert lines == ["compile: make -j7 in /build/source/native"]
    assert "-S /src/native" in words(LibraryBuild(), source=SDIST, path="native")[0]


def test_a_python_package_becomes_a_wheel_of_what_is_locked() -> None:
    (command,) = commands(build_context(LibraryBuild("python", options=("a=b",))))
    assert "--no-isolation" in command.argv
    assert "--config-setting=a=b" in command.argv
    assert command.environment["MAX_JOBS"] == "7"
    spec = tasks.in_compiler(build_context(), command.argv)
    assert spec.environment["PYTHONPATH"] == "/requires"


def test_a_wheel_has_no_time_and_no_name_of_chance_unless_the_library_says_so() -> None:
    own = {"SOURCE_DATE_EPOCH": "1700000000"}
    (usual,) = commands(build_context(LibraryBuild("python")))
    (explicit,) = commands(build_context(LibraryBuild("python", environment=own)))
    assert usual.environment["SOURCE_DATE_EPOCH"] == "315532800"
    assert usual.environment["SKBUILD_BUILD_DIR"] == "/build/skbuild"
    assert "SOURCE_DATE_EPOCH" not in explicit.environment


def test_a_wheel_has_the_platform_that_it_is_crossed_to() -> None:
    native, crossed = (
        commands(build_context(LibraryBuild("python"), cell=f"cuda13.5-debian12-{arch}"))[
            0
        ].environment
        for arch in ("x86_64", "aarch64")
    )
    assert native == crossed


def test_bazel_keeps_everything_in_the_build_directory() -> None:
    (line,) = words(LibraryBuild("bazel"))
    assert "--batch --output_user_root=/build/.bazel build" in line
    assert "--symlink_prefix=/build/bazel- --jobs=7 //... in /src" in line


def test_the_source_is_read_only_and_the_network_is_nothing_it_can_have() -> None:
    spec = tasks.in_compiler(build_context(), ["true"])
    read_only = {mount.target: mount.read_only for mount in spec.mounts}
    assert read_only == {"/src": True, "/build": False, "/requires": True} | {
        "/ccache": False,
        "/opt/envmatrix": True,
    }


@pytest.mark.parametrize("name", ["ccache", "sccache"])
def test_compilers_are_called_through_the_launcher(name: str) -> None:
    spec = tasks.in_compiler(build_context(cache=CompilerCache(name, "0123")), ["true"])
    (mount,) = (mount for mount in spec.mounts if mount.target == "/opt/envmatrix")
    launcher = spec.environment["CMAKE_CUDA_COMPILER_LAUNCHER"]
    assert isinstance(mount.source, Path)
    assert (mount.source / launcher.removeprefix("/opt/envmatrix/")).is_file()
    assert spec.environment["ENVMATRIX_COMPILER_CACHE"] == name
    assert spec.environment["ENVMATRIX_TOOLCHAIN"] == "0123"
    only_c = CompilerCache(name, "0123", ("C",))
    environment = tasks.in_compiler(build_context(cache=only_c), ["true"]).environment
    assert "CMAKE_CUDA_COMPILER_LAUNCHER" not in environment


def test_without_a_compiler_cache_there_is_no_launcher() -> None:
    spec = tasks.in_compiler(build_context(cache=None), ["true"])
    assert not any("LAUNCHER" in name for name in spec.environment)
    assert "/opt/envmatrix" not in {mount.target for mount in spec.mounts}


def test_no_variable_of_a_build_configures_ccache() -> None:
    environment = tasks.in_compiler(build_context(), ["true"]).environment
    assert not [name for name in environment if "CCACHE_" in name.replace("COMPILER_CACHE", "")]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, "--objdir-as-tempdir"),
        ({"NVCC_APPEND_FLAGS": "-DA=5 -O3"}, "-DA=5 -O3 --objdir-as-tempdir"),
        ({"NVCC_APPEND_FLAGS": "-objtemp -DA"}, "-objtemp -DA"),
        ({"NVCC_PREPEND_FLAGS": "-DA"}, "--objdir-as-tempdir"),
    ],
)
def test_flags_for_nvcc_are_combined(own: dict[str, str], expected: str) -> None:
    for of in (
        build_context(LibraryBuild(environment=own)),
        replace(build_context(), instrumentation=Instrumentation("sanitized", own)),
    ):
        environment = tasks.in_compiler(of, ["true"]).environment
        assert environment["NVCC_APPEND_FLAGS"] == expected
        assert environment.items() >= {**own, "NVCC_APPEND_FLAGS": expected}.items()


def test_an_old_nvcc_keeps_its_own_flags_alone() -> None:
    old = build_context(LibraryBuild(environment={"NVCC_APPEND_FLAGS": "-DA"}))
    cell = replace(old.cell, cuda="11.1")
    environment = tasks.in_compiler(replace(old, cell=cell), ["true"]).environment
    assert environment["NVCC_APPEND_FLAGS"] == "-DA"


@given(
    st.integers(1, 256),
    st.none() | st.integers(0, 2**44),
    st.integers(1, 10**5),
    st.none() | st.integers(1, 512),
)
def test_jobs_fit_into_memory_and_there_is_always_one(
    processors: int, memory: int | None, job: int, limit: int | None
) -> None:
    jobs = jobs_for(processors, memory, job, limit)
    assert 1 <= jobs <= (limit or processors)
    if memory is not None and jobs > 1:
        assert jobs * job * 10**6 <= memory


@pytest.mark.parametrize("text", ["", "echo 'a  b' $# \"$*\"; false; echo no", "# é\necho $$ >&2"])
def test_a_script_does_the_same_however_long_it_is(text: str) -> None:
    short = subprocess.run(["sh", "-euc", text], capture_output=True, check=False)
    for padding in (0, 200_000):
        command = tasks.shell_arguments(f"{'# é' + 'x' * padding}\n{text}")
        assert max(len(word.encode()) for word in command) < 131_072
        long = subprocess.run(command, capture_output=True, check=False)
        assert (long.returncode, long.stdout) == (short.returncode, short.stdout)
        assert bool(long.stderr) == bool(short.stderr)


def test_commands_are_one_script_and_each_step_has_a_stream_of_its_own() -> None:
    script = [
        Command("configure", ["sh", "-c", 'printf "%s|" "$@" >&2', "sh", "a b", "$x"]),
        Command("compile", ["sh", "-c", "echo $VALUE"], "/", {"VALUE": "it's"}),
        Command("compile", ["false"], "/"),
        Command("compile", ["echo", "never"], "/"),
    ]
    text = tasks.join_commands(script).replace("cd /build", "cd /")
    done = subprocess.run(["sh", "-euc", text], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("a b|$x|", "\nit's\n")
    assert done.returncode == 1
    done = subprocess.run(
        ["sh", "-euc", tasks.join_commands([Command("configure", ["false"], "/"), *script])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("path", "is_own"),
    [
        ("CMakeFiles/3.25.1/CompilerIdCUDA/tmp/a_dlink.o", True),
        ("sub/build/CMakeFiles/4.0.2/CompilerIdCXX/a.out", True),
        ("CMakeFiles/CMakeScratch/TryCompile-x/a.o", True),
        ("CMakeFiles/a.dir/a.cu.o", False),
        ("CMakeFiles/3.25.1/a.dir/a.cu.o", False),
        ("CMakeFiles/3d.dir/a.cu.o", False),
        ("NoCMakeFiles/CMakeScratch/a.o", False),
    ],
)
def test_what_cmake_compiles_for_itself_is_known_by_its_place(path: str, *, is_own: bool) -> None:
    assert is_probe(path) == is_own


def test_every_system_and_framework_of_matrix_yaml_is_registered() -> None:
    assert set(get_args(BuildSystemName)) == set(BUILD_SYSTEMS)
    assert set(get_args(TestFrameworkName)) == {*FRAMEWORKS, "none"}
