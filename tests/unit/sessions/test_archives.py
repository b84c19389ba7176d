"""Archives that builds would download: where they are in containers, and who asks for them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeExecutor
from tests.unit.sessions.contexts import SDIST, build_context, context_in

from envmatrix.console import Console
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.matrix.library import LibraryBuild, LibraryTest
from envmatrix.sessions import tasks
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.buildsystems.cmake import archive_options, cmake_arguments
from envmatrix.sessions.compilation import clear_outdated, compile_library
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.runner import Runner

UNUSED = """\
-- Generating done
CMake Warning:
  Manually-specified variables were not used by the project:

    CPM_fmt_SOURCE
    CPM_googletest_SOURCE
    FETCHCONTENT_SOURCE_DIR_FMT


-- Build files have been written to: /build
"""


def context_with(*names: str, build: LibraryBuild | None = None) -> BuildContext:
    context = build_context(build)
    library = replace(context.library, archives=dict.fromkeys(names, SDIST))
    return replace(context, library=library, archives={name: Path(f"/a/{name}") for name in names})


def test_fetchcontent_and_cpm_find_archives_by_their_own_variables() -> None:
    library = context_with("nlohmann_json", "Catch2").library
    assert archive_options(library) == [
        "-DFETCHCONTENT_SOURCE_DIR_CATCH2=/archives/Catch2",
        "-DFETCHCONTENT_SOURCE_DIR_NLOHMANN_JSON=/archives/nlohmann_json",
        "-DCPM_Catch2_SOURCE=/archives/Catch2",
        "-DCPM_nlohmann_json_SOURCE=/archives/nlohmann_json",
    ]


def test_options_of_a_library_come_after_those_for_its_archives() -> None:
    own = "-DFETCHCONTENT_SOURCE_DIR_X=/src/x"
    arguments = [*cmake_arguments(context_with("x", build=LibraryBuild(options=(own,))).library)]
    assert arguments.index(own) > arguments.index("-DFETCHCONTENT_SOURCE_DIR_X=/archives/x")


def test_archives_are_read_only_where_a_library_is_compiled_and_tested() -> None:
    context = context_with("x")
    for task in (tasks.in_compiler(context, ["true"]), tasks.in_runtime(context, ["true"])):
        (mount,) = (mount for mount in task.mounts if mount.target == "/archives/x")
        assert (mount.source, mount.read_only) == (Path("/a/x"), True)


def test_other_build_systems_get_archives_by_a_placeholder() -> None:
    build = LibraryBuild(
        "script", commands=("cp -r {archive:x} ${archive:x}",), environment={"X": "{archive:x}/y"}
    )
    test = LibraryTest("commands", run=("cat {archive:x}/data",))
    library = replace(build_context(build, test).library, archives={"x": SDIST})
    library = BUILD_SYSTEMS["script"].configured(library, ["80"])
    assert library.build.commands == ("cp -r /archives/x ${archive:x}",)
    assert library.build.environment == {"X": "/archives/x/y"}
    assert library.test
    assert library.test.run == ("cat /archives/x/data",)


def test_an_archive_that_nothing_asks_for_is_noticed() -> None:
    cmake = BUILD_SYSTEMS["cmake"]
    library = context_with("fmt", "googletest").library
    assert cmake.unused_archives(library, UNUSED) == ["fmt"]
    assert cmake.unused_archives(library, "") == []
    options = LibraryBuild(options=("-DFMT_DIR=/archives/fmt",))
    assert cmake.unused_archives(replace(library, build=options), UNUSED) == []
    assert not BUILD_SYSTEMS["make"].unused_archives(library, UNUSED)


@given(st.text())
def test_any_log_is_read(log: str) -> None:
    library = context_with("fmt").library
    assert BUILD_SYSTEMS["cmake"].unused_archives(library, log) in ([], ["fmt"])


@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no CMake")
def test_cmake_says_so_in_these_words(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(x NONE)\n"
        "message(STATUS ${FETCHCONTENT_SOURCE_DIR_GOOGLETEST})\n"
    )
    library = context_with("fmt", "googletest").library
    command = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "b"), *archive_options(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert BUILD_SYSTEMS["cmake"].unused_archives(library, done.stdout + done.stderr) == ["fmt"]


def test_a_compilation_warns_of_an_archive_with_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def configure(_: Task, on_output: OnOutput) -> TaskResult:
        on_output(0, UNUSED.encode())
        return TaskResult(0)

    context = context_in(tmp_path, context_with("fmt", "googletest"))
    archives = dict.fromkeys(context.archives, tmp_path)
    context = replace(context, archives=archives)
    compile_library(Runner(FakeExecutor(configure), context, Console()))
    error = capsys.readouterr().err
    assert "nothing in `lib` asks for its archive `fmt`" in error
    assert "googletest" not in error


def test_a_build_directory_belongs_to_its_archives(tmp_path: Path) -> None:
    context = context_in(tmp_path, context_with("fmt"))
    clear_outdated(context, Console(-1))
    with context.build.opened() as build:
        build.write("output", b"1")
    clear_outdated(context, Console(-1))
    with context.build.opened() as build:
        assert not build.is_empty
    clear_outdated(replace(context, archives={"fmt": Path("/a/other")}), Console(-1))
    with context.build.opened() as build:
        assert build.is_empty
