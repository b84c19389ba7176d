from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sessions.ctest import BUILD, CTEST

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.test_dependencies import (
    Dependencies,
    NinjaGraph,
    Selection,
    Test,
    dependencies,
    files_of_library,
    listed_tests,
    parse_ninja,
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
TESTS = (
    Test("t", ["/build/tests/t"]),
    Test("elf", ["/build/tests/t", "--check", "/build/libx.so", "/src/data/expected.txt"]),
)
FOREIGN = Test("foreign", ["/usr/bin/python3", "/src/check.py"])


def test_a_test_depends_on_what_its_program_is_made_of() -> None:
    graph = dependencies(parse_ninja(GRAPH, DEPS), TESTS, "/src")
    assert set(graph.files) == {"t", "elf"}
    sources = {"include/x.cuh", "include/x.h", "src/x.cu", "tests/t.cpp"}
    assert graph.files["t"] == sources
    assert graph.compiled == sources


def test_a_test_depends_on_files_that_its_command_names() -> None:
    graph = dependencies(parse_ninja(GRAPH, DEPS), TESTS, "/src")
    assert "data/expected.txt" in graph.files["elf"]


@pytest.mark.parametrize(
    "word",
    [
        "/src/only/ordered.txt",
        "--in=/src/only/ordered.txt",
        "-I/src/only/ordered.txt",
        "first:/src/only/ordered.txt",
        "../only/ordered.txt",
        "/src/data/../only/ordered.txt",
    ],
)
def test_a_file_is_named_in_any_part_of_a_word(word: str) -> None:
    test = Test("t", ["/build/tests/t", word], "/src/data")
    assert "only/ordered.txt" in dependencies(parse_ninja(GRAPH, DEPS), [test], "/src").files["t"]


def test_what_is_an_input_of_no_compilation_is_not_compiled() -> None:
    build = NinjaGraph(
        {"t": frozenset({"t.o", "copy.txt"}), "copy.txt": frozenset({"/src/d.txt"})}, {}
    )
    graph = dependencies(build, [Test("t", ["/build/t"])], "/src")
    assert "d.txt" in graph.files["t"]
    assert "d.txt" not in graph.compiled


def test_what_a_source_is_generated_of_is_compiled() -> None:
    inputs = {"t": frozenset({"t.o"}), "x.cpp": frozenset({"/src/x.in"})}
    build = NinjaGraph(inputs, {"t.o": frozenset({"x.cpp"})})
    assert dependencies(build, [Test("t", ["/build/t"])], "/src").compiled == {"x.in"}


def test_what_runs_a_program_that_was_crossed_is_not_the_program() -> None:
    crossed = CTEST.replace('"command": [', '"command": ["/usr/bin/env", ')
    assert crossed != CTEST
    assert listed_tests(crossed) == listed_tests(CTEST)


def test_nothing_is_known_of_a_program_from_elsewhere() -> None:
    graph = dependencies(parse_ninja(GRAPH, DEPS), (*TESTS, FOREIGN), "/src")
    assert "foreign" not in graph.files
    assert selection(graph, ["src/x.cu"]).tests is None


def test_nothing_is_known_of_a_test_whose_program_does_not_exist() -> None:
    (test,) = listed_tests('{"tests": [{"name": "t", "properties": []}]}')
    assert "t" not in dependencies(parse_ninja(GRAPH, DEPS), [test], "/src").files


def test_tests_of_one_name_are_one_test() -> None:
    both = [Test("t", ["/build/t1"]), Test("t", ["/build/t2"])]
    assert dependencies(BUILD, both, "/src").files["t"] == {"t1.cpp", "t2.cpp"}
    unknown = [*both, Test("t", ["/usr/bin/true"])]
    assert "t" not in dependencies(BUILD, unknown, "/src").files


def reached(changed: str, listing: str = CTEST) -> Selection:
    return selection(dependencies(BUILD, listed_tests(listing), "/src"), [changed])


def test_a_setup_reaches_whoever_requires_its_fixture_over_any_number_of_steps() -> None:
    tests = reached("setup.cpp").tests or {}
    assert set(tests) == {"setup", "t6", "t7", "cleanup"}
    assert tests["t6"] == "depends on the test `setup`"
    assert tests["t7"] == "depends on the test `t6`"


def test_a_fixture_needs_no_dependency_that_is_listed() -> None:
    listing = json.loads(CTEST)
    for test in listing["tests"]:
        test["properties"] = [entry for entry in test["properties"] if entry["name"] != "DEPENDS"]
    assert set(reached("setup.cpp", json.dumps(listing)).tests or ()) == {"setup", "t6", "t7"}


def test_a_test_reaches_whoever_depends_on_it_over_any_number_of_steps() -> None:
    assert reached("t1.cpp").tests == {
        "t1": "depends on `t1.cpp`",
        "t12": "depends on the test `t1`",
        "t13": "depends on the test `t12`",
    }


def test_a_dependency_reaches_no_earlier_test() -> None:
    assert set(reached("t13.cpp").tests or ()) == {"t13"}


def test_tests_that_depend_on_each_other_are_selected_once() -> None:
    graph = Dependencies({"a": {"a.cpp"}, "b": ()}, {"a": {"b", "gone"}, "b": {"a"}}, {"a.cpp"})
    assert set(selection(graph, ["a.cpp"]).tests or ()) == {"a", "b"}


def test_a_file_that_a_test_requires_selects_it() -> None:
    assert set(reached("t2.cpp").tests or ()) == {"t2", "reads", "t13"}


def test_what_the_environment_of_a_test_names_selects_it() -> None:
    assert set(reached("libplugin.cpp").tests or ()) == {"t7"}


def test_a_file_that_is_only_named_selects_all_tests() -> None:
    result = reached("data/d.txt")
    assert result.tests is None
    assert result.reason == "it is not known who depends on `data/d.txt`"


@pytest.mark.parametrize(
    "listing",
    [
        "",
        "[]",
        '{"tests": 1}',
        '{"tests": [1]}',
        '{"tests": [{"name": 1}]}',
        '{"tests": [{"name": "a", "command": "b"}]}',
        '{"tests": [{"name": "a", "command": [1]}]}',
        '{"tests": [{"name": "a", "properties": [{"name": "DEPENDS", "value": [1]}]}]}',
        '{"tests": [{"name": "a", "properties": [{"name": "WORKING_DIRECTORY", "value": []}]}]}',
        '{"tests": [{"name": "a", "properties": [{"name": [], "value": []}]}]}',
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(listing: str) -> None:
    with pytest.raises(EnvmatrixError, match="the list of tests of `ctest` cannot be read"):
        listed_tests(listing)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_ROWS = st.fixed_dictionaries(
    {"name": st.text() | _VALUES},
    optional={
        "command": st.lists(st.text()) | _VALUES,
        "properties": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["DEPENDS", "FIXTURES_SETUP", "FIXTURES_REQUIRED"]),
                    "value": st.lists(st.text()) | _VALUES,
                }
            )
        ),
    },
)


@given(st.lists(_ROWS | _VALUES))
def test_a_list_is_read_or_refused(rows: list[object]) -> None:
    try:
        tests = listed_tests(json.dumps({"tests": rows}))
    except EnvmatrixError:
        return
    assert len(tests) == len(rows)
    dependencies(BUILD, tests, "/src")


KNOWN = Dependencies(
    {"a": ("src/x.cu", "src/a.cpp"), "b": ("src/x.cu", "data")},
    {"a": (), "b": ()},
    {"src/x.cu", "src/a.cpp"},
)


def test_a_change_reaches_the_tests_that_depend_on_it() -> None:
    assert selection(KNOWN, ["src/a.cpp"]).tests == {"a": "depends on `src/a.cpp`"}
    assert set(selection(KNOWN, ["src/x.cu"]).tests or ()) == {"a", "b"}


def test_no_change_reaches_no_test() -> None:
    assert selection(KNOWN, []).tests == {}
    assert selection(KNOWN, ["docs/x.md"], ["*.md"]).tests == {}


def test_where_there_is_no_telling_everything_runs() -> None:
    assert selection(KNOWN, ["CMakeLists.txt"]).tests is None
    assert selection(KNOWN, ["src/a.cpp", "data"]).tests is None
    more = {**KNOWN.earlier, "new": ()}
    assert selection(Dependencies(KNOWN.files, more, KNOWN.compiled), ["src/a.cpp"]).tests is None
    assert selection(Dependencies({}, {"a": ()}, ()), ["src/a.cpp"]).tests is None


def test_files_of_the_repository_reach_a_library_below_its_path_only() -> None:
    changed = ["README.md", "libs/a/src/x.cu", "libs/ab/y.cu"]
    assert files_of_library(changed, "libs/a") == ("src/x.cu",)
    assert files_of_library(changed, ".") == tuple(changed)
