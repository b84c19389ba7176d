from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor
from tests.unit.sessions.contexts import context_in

from envmatrix.app.compilation import warn_of_standard
from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.variants import Variants
from envmatrix.sessions.compile_commands import FILE, for_host, write_for_host
from envmatrix.sessions.context import Instrumentation
from envmatrix.sessions.runner import Runner

PLACES = {"/src": "/home/me/my library", "/build": "/home/me/build/cell/solver/devel"}


def converted(**row: object) -> dict[str, object]:
    (result,) = json.loads(for_host(json.dumps([{"directory": "/build", **row}]), PLACES))
    return dict(result)


@pytest.mark.parametrize(
    ("word", "host"),
    [
        ("-I/src/include", "-I/home/me/my library/include"),
        ("/src/a.cpp", "/home/me/my library/a.cpp"),
        ("-I../src/include", "-I/home/me/my library/include"),
        ("--sysroot=/src", "--sysroot=/home/me/my library"),
        ("-Wl,-rpath,/build/lib", "-Wl,-rpath,/home/me/build/cell/solver/devel/lib"),
        ("-I/usr/src/include", "-I/usr/src/include"),
        ("-I/srcs", "-I/srcs"),
        ("/builder/a.cpp", "/builder/a.cpp"),
        ("CMakeFiles/a.o", "CMakeFiles/a.o"),
    ],
)
def test_paths_of_containers_become_those_of_this_machine(word: str, host: str) -> None:
    row = converted(file="/src/a.cpp", arguments=["c++", word])
    assert row["arguments"] == ["c++", host]


def test_commands_become_arguments_so_that_paths_may_have_spaces() -> None:
    row = converted(file="../src/a.cpp", command="c++ '-DNAME=\"a b\"' -c /src/a.cpp")
    assert row["arguments"] == ["c++", '-DNAME="a b"', "-c", "/home/me/my library/a.cpp"]
    assert row["file"] == "/home/me/my library/a.cpp"
    assert row["directory"] == PLACES["/build"]


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"file": "a"}]', "[" * 10**5])
def test_malformed_commands_are_an_error(text: str) -> None:
    with pytest.raises(EnvmatrixError, match="is malformed"):
        for_host(text, PLACES)


def test_commands_are_beside_the_build_directory(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    with context.build.opened() as build:
        build.write(FILE, b'[{"directory": "/build", "command": "cc a.c", "file": "/src/a.c"}]')
    write_for_host(replace(context, instrumentation=Instrumentation("asan")))
    assert not (context.directory / FILE).exists()
    write_for_host(context)
    (row,) = json.loads((context.directory / FILE).read_text())
    assert row["file"] == f"{context.source}/a.c"
    assert row["directory"] == f"{context.directory}/{context.build.name}"


def test_a_build_system_without_commands_leaves_none(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    write_for_host(context)
    assert not (context.directory / FILE).exists()


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ("-std=c++17 -c", "`lib@cxx20` is compiled as C++17, not as C++20: it sets its"),
        ("-std=c++14 -std=gnu++17", "`lib@cxx20` is compiled as C++14, C++17, not as C++20"),
        ("-std=c++17 -std=gnu++2a", ""),
        ("-O2", ""),
    ],
)
def test_a_standard_that_no_command_has_is_told(
    options: str, warning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = context_in(tmp_path)
    _, library = replace(context.library, variants=Variants(std=("17", "20"))).expanded
    runner = Runner(FakeExecutor(), replace(context, library=library), Console())
    with runner.context.build.opened() as build:
        build.write(FILE, json.dumps([{"command": f"c++ {options} a.cpp"}]).encode())
    warn_of_standard(runner)
    err = capsys.readouterr().err
    assert err.startswith(f"warning: {warning}") if warning else not err
