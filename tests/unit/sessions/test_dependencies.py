from __future__ import annotations

import re

from envmatrix.sessions.dependencies import (
    build_of,
    commands_of,
    dependencies,
    of_library,
    selection,
)

# As ninja 1.11 prints, shortened: t is linked of t.o and of libx.so, which must be there before.
GRAPH = """\
digraph ninja {
"0x1" [label="tests/t"]
"0x2" [label="CXX_EXECUTABLE_LINKER__t_Release", shape=ellipse]
"0x2" -> "0x1"
"0x3" -> "0x2" [arrowhead=none]
"0x4" -> "0x2" [arrowhead=none]
"0x9" -> "0x2" [arrowhead=none style=dotted]
"0x3" [label="tests/t.cpp.o"]
"0x5" -> "0x3" [label=" CXX_COMPILER"]
"0x5" [label="/src/tests/t.cpp"]
"0x4" [label="libx.so"]
"0x6" -> "0x4" [label=" phony"]
"0x6" [label="libx.so.1"]
"0x7" [label="LINK", shape=ellipse]
"0x7" -> "0x6"
"0x8" -> "0x7" [arrowhead=none]
"0x8" [label="x.cu.o"]
"0xa" -> "0x8" [label=" CUDA_COMPILER"]
"0xa" [label="/src/src/x.cu"]
"0x9" [label="ordered"]
"0xb" -> "0x9" [label=" phony"]
"0xb" [label="/src/only/ordered.txt"]
}
"""
DEPS = """\
tests/t.cpp.o: #deps 2, deps mtime 1 (VALID)
    /src/tests/t.cpp
    /src/include/x.h

x.cu.o: #deps 1, deps mtime 1 (VALID)
    /usr/include/stdio.h
    /src/include/x.cuh
"""
# As CMake 3.25 writes it, and as 3.16 did.
CTEST = """\
add_test([=[t]=] "/build/tests/t")
set_tests_properties([=[t]=] PROPERTIES  _BACKTRACE_TRIPLES "/src/CMakeLists.txt;8;add_test")
add_test(elf "/build/tests/t" "--check" "/build/libx.so" "/src/data/expected.txt")
add_test([=[foreign]=] "/usr/bin/python3" "/src/check.py")
"""


def test_a_test_depends_on_what_its_program_is_made_of() -> None:
    tests = commands_of([CTEST])
    assert set(tests) == {"t", "elf", "foreign"}
    found = dependencies(build_of(GRAPH, DEPS), tests, "/src")
    made = ("include/x.cuh", "include/x.h", "src/x.cu", "tests/t.cpp")
    assert found["t"] == made


def test_a_test_depends_on_files_that_its_command_names() -> None:
    found = dependencies(build_of(GRAPH, DEPS), commands_of([CTEST]), "/src")
    assert "data/expected.txt" in found["elf"]


def test_what_runs_a_program_that_was_crossed_is_not_the_program() -> None:
    crossed = re.sub(r'add_test\((\S+) "', r'add_test(\1 "/usr/bin/env" "', CTEST)
    assert crossed != CTEST
    assert commands_of([crossed]) == commands_of([CTEST])


def test_nothing_is_known_of_a_program_from_elsewhere() -> None:
    found = dependencies(build_of(GRAPH, DEPS), commands_of([CTEST]), "/src")
    assert "foreign" not in found


KNOWN = {"a": ("src/x.cu", "src/a.cpp"), "b": ("src/x.cu",)}


def test_a_change_reaches_the_tests_that_depend_on_it() -> None:
    found = selection(KNOWN, ["a", "b"], ["src/a.cpp"])
    assert found.tests == {"a": "depends on `src/a.cpp`"}
    assert set(selection(KNOWN, ["a", "b"], ["src/x.cu"]).tests or ()) == {"a", "b"}


def test_no_change_reaches_no_test() -> None:
    assert selection(KNOWN, ["a", "b"], []).tests == {}
    assert selection(KNOWN, ["a", "b"], ["docs/x.md"], ["*.md"]).tests == {}


def test_where_there_is_no_telling_everything_runs() -> None:
    assert selection(KNOWN, ["a", "b"], ["CMakeLists.txt"]).tests is None
    assert selection(KNOWN, ["a", "b"], ["src/a.cpp", "data"]).tests is None
    assert selection(KNOWN, ["a", "b", "new"], ["src/a.cpp"]).tests is None
    assert selection({}, ["a"], ["src/a.cpp"]).tests is None


def test_files_of_the_repository_reach_a_library_below_its_path_only() -> None:
    changed = ["README.md", "libs/a/src/x.cu", "libs/ab/y.cu"]
    assert of_library(changed, "libs/a") == ("src/x.cu",)
    assert of_library(changed, ".") == tuple(changed)
