"""What a library needs is found in its containers, and a library that is needed is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor, build_directory
from tests.unit.sessions.contexts import build_context, context_in

from envmatrix.confined import Area
from envmatrix.console import Console
from envmatrix.engine.tasks import OnOutput, Task, TaskResult
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import LibraryBuild, LibraryTest
from envmatrix.matrix.needs_checks import WITHOUT_INSTALLATION
from envmatrix.sessions import installation, prefixes, tasks
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.buildsystems.python import PYTHON_PATH
from envmatrix.sessions.compilation import clear_outdated, compile_library, is_installed
from envmatrix.sessions.context import BuildContext, Instrumentation, installation_record
from envmatrix.sessions.host_paths import HostPaths
from envmatrix.sessions.runner import Runner

CROSS = "cuda13.5-debian12-aarch64"


def needing(context: BuildContext | None = None) -> BuildContext:
    """Return a library that needs `png`, which needs `z`."""
    needs = {"z": Path("/z/devel.prefix"), "png": Path("/png/devel.prefix")}
    return replace(context or build_context(), prefixes=needs, python="3.11")


def needed(context: BuildContext | None = None) -> BuildContext:
    return replace(context or build_context(), is_installed=True)


def variables(task: Task) -> Mapping[str, str]:
    return task.environment


def test_builds_find_what_a_library_needs_by_the_usual_variables() -> None:
    task = tasks.in_compiler(needing(), ["true"])
    mounts = {mount.target: (mount.source, mount.read_only) for mount in task.mounts}
    assert mounts["/prefix/z"] == (Path("/z/devel.prefix"), True)
    assert mounts["/prefix/png"] == (Path("/png/devel.prefix"), True)
    values = variables(task)
    assert values["CMAKE_PREFIX_PATH"] == "/prefix/png:/prefix/z"
    assert values["PKG_CONFIG_PATH"].startswith("/prefix/png/lib/pkgconfig:")
    assert "/prefix/z/share/pkgconfig" in values["PKG_CONFIG_PATH"].split(":")
    assert values["CPPFLAGS"] == "-I/prefix/png/include -I/prefix/z/include"
    path = "/prefix/png/lib:/prefix/png/lib64:/prefix/z/lib:/prefix/z/lib64"
    assert values["LDFLAGS"].split()[-4:] == [
        *("-Xlinker", f"-rpath={path}", "-Xlinker", f"-rpath-link={path}"),
    ]
    assert "LD_LIBRARY_PATH" not in values


def test_a_library_without_needs_is_built_as_before() -> None:
    task = tasks.in_compiler(build_context(), ["true"])
    assert not {"CMAKE_PREFIX_PATH", "LDFLAGS", "PREFIX"} & variables(task).keys()
    assert not [mount.target for mount in task.mounts if mount.target.startswith("/prefix")]
    assert tasks.in_runtime(build_context(), ["true"]).command == ["true"]


def test_variables_of_the_library_come_first() -> None:
    build = LibraryBuild(environment={"LDFLAGS": "-L/own", "CMAKE_PREFIX_PATH": "/own"})
    values = variables(tasks.in_compiler(needing(build_context(build)), ["true"]))
    assert values["LDFLAGS"].startswith("-L/own -L/prefix/png/lib ")
    assert values["CMAKE_PREFIX_PATH"] == "/own:/prefix/png:/prefix/z"


def test_flags_of_an_analyser_are_kept() -> None:
    context = replace(needing(), instrumentation=Instrumentation.with_flags("asan", "-fsanitize=x"))
    values = variables(tasks.in_compiler(context, ["true"]))
    assert values["LDFLAGS"].startswith("-fsanitize=x -L/prefix/png/lib ")


def test_python_finds_what_a_library_needs_behind_the_library_itself() -> None:
    task = tasks.in_runtime(needing(), ["true"])
    own = prefixes.joined({**task.environment, **PYTHON_PATH}, prefixes.python_variables(needing()))
    for values in (variables(task), own):
        paths = values["PYTHONPATH"].split(":")
        assert paths[-4:] == [
            f"/prefix/{name}/lib/{python}/site-packages"
            for name in ("png", "z")
            for python in ("python3", "python3.11")
        ]
        assert len(paths) == len({*paths})
    assert own["PYTHONPATH"].startswith("/build/site:/requires:")


def test_programs_load_what_a_library_needs_and_what_the_image_has(tmp_path: Path) -> None:
    command = tasks.in_runtime(needing(), ["sh", "-c", "echo $LD_LIBRARY_PATH"]).command
    for before, end in (({"LD_LIBRARY_PATH": "/cuda/lib64"}, ":/cuda/lib64"), ({}, "")):
        environment = {"PATH": os.environ["PATH"], **before}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        expected = "/prefix/png/lib:/prefix/png/lib64:/prefix/z/lib:/prefix/z/lib64"
        assert done.stdout.strip() == f"{expected}{end}"


def test_people_get_the_same_as_builds() -> None:
    shell = tasks.shell(needing())
    assert variables(shell)["CMAKE_PREFIX_PATH"] == "/prefix/png:/prefix/z"
    at_runtime = tasks.by_hand(needing(), ["x"], at_runtime=True)
    assert at_runtime.command[:2] == ["sh", "-euc"]


def test_paths_of_what_is_installed_are_those_of_this_machine() -> None:
    paths = HostPaths.of(needing())
    assert paths.text("/prefix/z/include/z.h:3: x") == "/z/devel.prefix/include/z.h:3: x"
    assert paths.text("/prefix/other/a.h:3") == "/prefix/other/a.h:3"


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (LibraryBuild(), "cmake --install /build"),
        (LibraryBuild("meson"), "meson install -C /build --no-rebuild"),
        (
            LibraryBuild("make", options=("A=1",)),
            "make -j1 PREFIX=/prefix/lib prefix=/prefix/lib A=1 install",
        ),
    ],
)
def test_each_build_system_installs_into_the_prefix(build: LibraryBuild, words: str) -> None:
    context = needed(build_context(build))
    (command,) = prefixes.installation(context)
    assert (command.step, " ".join(command.argv)) == ("install", words)


def test_others_are_known_to_have_no_command_for_it() -> None:
    lacking = {name for name, each in BUILD_SYSTEMS.items() if not each.installation(needed())}
    assert lacking == {*WITHOUT_INSTALLATION}


def test_a_library_is_configured_for_its_prefix_only_if_it_is_installed() -> None:
    for system, option in (
        ("cmake", "-DCMAKE_INSTALL_PREFIX=/prefix/lib"),
        ("meson", "--libdir=lib"),
    ):
        context = build_context(LibraryBuild(system))  # type: ignore[arg-type]
        for each, expected in ((needed(context), True), (context, False)):
            words = [word for command in each.system.commands(each) for word in command.argv]
            assert (option in words) is expected


def test_commands_of_the_library_install_it() -> None:
    build = LibraryBuild("script", commands=("make",), install=("make install", "rm x"))
    commands = prefixes.installation(needed(build_context(build)))
    assert [command.argv[-1] for command in commands] == ["make install", "rm x"]
    task = tasks.in_compiler(needed(build_context(build)), ["true"])
    assert variables(task)["PREFIX"] == "/prefix/lib"
    (mount,) = (mount for mount in task.mounts if mount.target == "/prefix/lib")
    assert isinstance(mount.source, Area)


def test_a_build_for_an_analyser_is_not_installed() -> None:
    context = replace(needed(), instrumentation=Instrumentation("coverage"))
    assert context.prefix is None


def test_a_wheel_is_installed_with_its_data(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/a-1-py3-none-any.whl", "w") as wheel:
        for name in ("a.py", "a-1.dist-info/METADATA", "a-1.data/data/share/a.txt"):
            wheel.writestr(name, "")
        wheel.writestr("a-1.data/headers/a.h", "")
        wheel.writestr("a-1.data/platlib/b.py", "")
    context = needed(build_context(LibraryBuild("python")))
    (command,) = prefixes.installation(context)
    target = str(tmp_path / "prefix")
    argv = [word.replace("/prefix/lib", target) for word in command.argv]
    argv = [word.replace("python3 -c", f"{sys.executable} -c") for word in argv]
    subprocess.run(argv, check=True, cwd=tmp_path)
    files = {str(file.relative_to(target)) for file in Path(target).rglob("*") if file.is_file()}
    site = "lib/python3/site-packages"
    assert files >= {f"{site}/a.py", f"{site}/b.py", "share/a.txt", "include/a.h"}


def runner_of(root: Path, files: Mapping[str, bytes]) -> Runner:
    """Return a runner of a library that is installed as these files."""
    context = context_in(root, needed(build_context(test=LibraryTest("none"))))

    def program(task: Task, _on_output: OnOutput) -> TaskResult:
        with build_directory(task).opened() as directory:
            directory.write("outputs", b"")
        if "--install" in " ".join(task.command):
            (mount,) = (mount for mount in task.mounts if mount.target == "/prefix/lib")
            assert isinstance(mount.source, Area)
            with mount.source.opened() as directory:
                for name, content in files.items():
                    directory.write(name, content)
        return TaskResult(0)

    return Runner(FakeExecutor(program), context, Console(-1))


def installed(runner: Runner) -> Sequence[str]:
    with runner.context.installed.opened() as directory:
        return [file.name for file in directory.files(["**/*"])]


def test_a_compiled_library_is_installed_where_no_container_writes(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, {"lib/libx.so": b"x", "include/x.h": b""})
    compile_library(runner, "state")
    assert installed(runner) == ["include/x.h", "lib/libx.so"]
    areas = {str(area) for task in _tasks(runner) for area in task.outputs}
    assert str(runner.context.installed) not in areas
    assert is_installed(runner.context, "state")
    assert not is_installed(runner.context, "other state")


def _tasks(runner: Runner) -> Sequence[Task]:
    assert isinstance(runner.executor, FakeExecutor)
    return runner.executor.tasks


def test_what_is_no_longer_installed_is_removed(tmp_path: Path) -> None:
    compile_library(runner_of(tmp_path, {"lib/a": b"", "lib/b": b""}), "one")
    runner = runner_of(tmp_path, {"lib/a": b"more"})
    compile_library(runner, "two")
    assert installed(runner) == ["lib/a"]
    assert is_installed(runner.context, "two")


def test_an_equal_installation_keeps_its_times(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, {"lib/a": b"x"})
    compile_library(runner, "one")
    file = Path(str(runner.context.installed)) / "lib/a"
    os.utime(file, (1, 1))
    compile_library(runner, "two")
    assert file.stat().st_mtime == 1
    assert is_installed(runner.context, "two")


def test_a_removed_installation_is_made_again(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, {"lib/a": b"x"})
    compile_library(runner, "one")
    shutil.rmtree(str(runner.context.installed))
    assert not is_installed(runner.context, "one")


def test_a_library_that_installs_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvmatrixError, match="`lib` installed nothing into /prefix/lib"):
        compile_library(runner_of(tmp_path, {}))


def test_a_directory_that_was_made_with_another_installation_is_cleared(tmp_path: Path) -> None:
    prefix = tmp_path / "z/devel.prefix"
    prefix.mkdir(parents=True)
    context = replace(context_in(tmp_path), prefixes={"z": prefix})
    record = installation_record(prefix.parent, "devel")

    def is_cleared(identity: str) -> bool:
        with context.build.opened() as build:
            build.write("old", b"")
        record.write_text(f"inputs {identity}\n")
        clear_outdated(context, Console(-1))
        with context.build.opened() as build:
            return build.is_empty

    assert is_cleared("one")
    assert not is_cleared("one")
    assert is_cleared("two")


def test_what_was_brought_from_elsewhere_is_not_up_to_date_here(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, {"lib/a": b"x"})
    compile_library(runner, "one")
    identity = installation_record(runner.context.directory, "devel").read_text().split()[1]
    installation.note_restored(runner.context)
    assert installation_record(runner.context.directory, "devel").read_text().split()[1] == identity
    assert not is_installed(runner.context, "one")
