"""Paths of this machine in output of containers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.sessions.contexts import context_in

from envmatrix.sessions.host_paths import NO_PATHS, HostPaths

PATHS = HostPaths({"/src": "libs/lib", "/build/source": "copies/lib", "/build": "build/out"})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/src/a.cpp:3:22: error: b", "libs/lib/a.cpp:3:22: error: b"),
        ("/src/k.cu(12): error: b", "libs/lib/k.cu:12: error: b"),
        ("../src/a.cpp:3: note: b", "libs/lib/a.cpp:3: note: b"),
        ('in "/src/a.cu".', 'in "libs/lib/a.cu".'),
        ("-I/build/generated", "-I/build/generated"),
        ("x: /build/gen/a.h:1: b", "x: build/out/gen/a.h:1: b"),
        ("/build/source/a.c:1", "copies/lib/a.c:1"),
        ("/usr/src/a.c:1 /srcs/a.c:1", "/usr/src/a.c:1 /srcs/a.c:1"),
    ],
)
def test_a_path_of_a_container_is_that_of_this_machine_with_its_line(line: str, text: str) -> None:
    assert PATHS.text(line) == text


def test_without_directories_nothing_changes() -> None:
    assert NO_PATHS.text("/src/a.cpp:3") == "/src/a.cpp:3"


def test_a_repository_that_is_the_library_has_paths_without_a_directory() -> None:
    assert HostPaths({"/src": "."}).text("/src/a.cpp:3") == "a.cpp:3"


def test_paths_below_the_current_directory_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert HostPaths.of(context).text("/src/a.cpp:3") == "tree/a.cpp:3"
    elsewhere = replace(context, source=Path("/elsewhere/tree"))
    assert HostPaths.of(elsewhere).text("/src/a.cpp:3") == "/elsewhere/tree/a.cpp:3"


def test_what_a_build_made_in_a_copied_source_is_in_the_copy(tmp_path: Path) -> None:
    (tmp_path / "a.c").touch()
    paths = HostPaths({"/build/source": f"{tmp_path}", "/build": "out"}, "out/source")
    assert paths.text("/build/source/a.c:1") == f"{tmp_path}/a.c:1"
    assert paths.text("/build/source/tests/a: not found") == "out/source/tests/a: not found"
