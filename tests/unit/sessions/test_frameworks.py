from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.sessions.contexts import build_context

from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import LibraryBuild
from envmatrix.sessions.frameworks import FRAMEWORKS
from envmatrix.sessions.frameworks.base import Batch, Invocation, listed_names, split
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import State

CONTEXT = build_context(LibraryBuild())


def case(name: str, classname: str = "", file: str = "") -> Case:
    return Case(name, classname, file, "passed", 0.0)


def listed(framework: str, text: str, program: str = "/build/tests/a_test") -> tuple[str, ...]:
    return listed_names(
        FRAMEWORKS[framework], Batch([program], None, program, label="a_test"), text
    )


def running(
    framework: str,
    run: Sequence[str] = (),
    tests: Sequence[str] | None = None,
    arguments: Sequence[str] = (),
) -> Sequence[Batch]:
    return FRAMEWORKS[framework].running(Invocation(CONTEXT, run, tests, arguments))


def argv(framework: str, tests: list[str] | None, *programs: str) -> list[list[str]]:
    batches = running(framework, programs, tests, ["--more"])
    return [list(batch.argv) for batch in batches]


# As GoogleTest 1.12 lists: a suite, its tests, types and values behind `#`.
GOOGLETEST = """\
Running main() from gtest_main.cc
Axpy.
  Scales
  Adds
Typed/0.  # TypeParam = float
  Works
Sizes/Gemm.
  Multiplies/0  # GetParam() = 1
"""


def test_googletest_tests_go_by_program_suite_and_name() -> None:
    assert listed("googletest", GOOGLETEST) == (
        "a_test:Axpy.Scales",
        "a_test:Axpy.Adds",
        "a_test:Typed/0.Works",
        "a_test:Sizes/Gemm.Multiplies/0",
    )
    batch = Batch(["/build/tests/a_test"], "r", label="a_test")
    name = FRAMEWORKS["googletest"].name_of(batch, case("Scales", "Axpy"), "r")
    assert name == "a_test:Axpy.Scales"


def test_googletest_runs_some_of_each_program() -> None:
    tests = ["b:S.x", "a:S.x", "a:S.y"]
    assert argv("googletest", tests, "/build/a", "/build/b", "/build/c") == [
        ["/build/a", "--gtest_output=xml:/build/reports/a.xml", "--gtest_filter=S.x:S.y", "--more"],
        ["/build/b", "--gtest_output=xml:/build/reports/b.xml", "--gtest_filter=S.x", "--more"],
    ]


def test_catch2_tests_go_without_their_sections() -> None:
    assert listed("catch2", "vectors add\nmatrix, dense\n") == (
        "a_test:vectors add",
        "a_test:matrix, dense",
    )
    name = FRAMEWORKS["catch2"].name_of
    batch = Batch(["/build/a_test"], "r", label="a_test")
    assert name(batch, case("vectors add/of zeros", "a_test.global"), "r") == "a_test:vectors add"


# Programs with Catch2, as far as they list: version 2 ends with the number of tests, and has a
# heading for people in its other list; version 3 does not know the first option.
CATCH2 = """\
#!/bin/sh
[ "$1" = --list-test-names-only ] || { echo 'All available test cases:'; exit 0; }
printf 'adds\\nscales\\n'
exit 2
"""
CATCH2_WITHOUT_TESTS = """\
#!/bin/sh
[ "$1" = --list-test-names-only ] || { echo 'All available test cases:'; exit 0; }
"""
CATCH3 = """\
#!/bin/sh
[ "$*" = '--list-tests --verbosity quiet' ] || { echo 'Unrecognised token' >&2; exit 255; }
printf 'adds\\nscales\\n'
"""
UNLOADABLE = """\
#!/bin/sh
echo "$0: error while loading shared libraries: libx.so: cannot open shared object file" >&2
exit 127
"""


def catch2_listing(directory: Path, program: str) -> subprocess.CompletedProcess[str]:
    """List a program's tests with the shell of this machine."""
    file = directory / "a_test"
    file.write_text(program)
    file.chmod(0o755)
    (batch,) = FRAMEWORKS["catch2"].listing(Invocation(CONTEXT, [str(file)]))
    return subprocess.run(batch.argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        (CATCH2, ("a_test:adds", "a_test:scales")),
        (CATCH3, ("a_test:adds", "a_test:scales")),
        (CATCH2_WITHOUT_TESTS, ()),
    ],
    ids=["version 2", "version 3", "no tests"],
)
def test_both_versions_of_catch2_list_their_tests(
    tmp_path: Path, program: str, tests: tuple[str, ...]
) -> None:
    done = catch2_listing(tmp_path, program)
    assert (done.returncode, done.stderr) == (0, "")
    assert listed("catch2", done.stdout) == tests


def test_a_program_with_catch2_that_cannot_be_loaded_lists_nothing_but_its_error(
    tmp_path: Path,
) -> None:
    done = catch2_listing(tmp_path, UNLOADABLE)
    assert (done.returncode, done.stdout) == (127, "")
    assert "error while loading shared libraries: libx.so" in done.stderr


def test_catch2_names_are_escaped_where_they_would_mean_more() -> None:
    (run,) = argv("catch2", ["a:matrix, [dense] *"], "/build/a")
    assert r"matrix\, \[dense\] \*" in run


def test_ctest_runs_exactly_the_names_that_are_wanted() -> None:
    (run,) = argv("ctest", ["a.b", "c+(d)"])
    assert run[run.index("-R") + 1] == r"^(a\.b|c\+\(d\))$"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12))
@example("{0}")
def test_a_name_for_ctest_matches_itself_only(name: str) -> None:
    (run,) = argv("ctest", [name])
    # Braces mean nothing to CMake.
    pattern = re.sub(r"[{}]", r"[\g<0>]", run[run.index("-R") + 1])
    assert re.search(pattern, name)
    assert not re.search(pattern, f"{name}x")


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '"tests"',
        '{"tests": [{"name": ["a"]}]}',
        '{"tests": [{"name": 1}]}',
        "[" * 100_000,
        " " * (17 << 20),
    ],
    ids=["text", "list", "word", "names", "number", "depth", "size"],
)
def test_ctest_lists_as_json(text: str) -> None:
    assert listed("ctest", '{"tests": [{"name": "a"}, {"name": "b"}]}') == ("a", "b")
    with pytest.raises(EnvmatrixError, match="list of tests"):
        listed("ctest", text)


def test_pytest_tests_go_by_their_node_ids() -> None:
    output = "tests/test_a.py::TestB::test_c[1]\ntests/test_a.py::test_d\n\n2 tests collected\n"
    ids = listed("pytest", output)
    assert ids == ("tests/test_a.py::TestB::test_c[1]", "tests/test_a.py::test_d")
    name = FRAMEWORKS["pytest"].name_of
    batch = Batch(["python3"], "r")
    parametrized = case("test_c[1]", "tests.test_a.TestB", "tests/test_a.py")
    assert name(batch, parametrized, "r") == ids[0]
    assert name(batch, case("test_d", "tests.test_a", "tests/test_a.py"), "r") == ids[1]
    imported = case("test_d", "tests.test_a", "lib/helpers.py")
    assert name(batch, imported, "r") == "tests/test_a.py::test_d"


def test_pytest_does_not_import_from_where_it_is_started() -> None:
    (run,) = argv("pytest", None, "tests")
    assert run[:2] == ["python3", "-P"]
    assert run[-1] == "tests"
    assert argv("pytest", ["tests/test_a.py::test_d"], "tests")[0][-1] == "tests/test_a.py::test_d"


def test_each_command_is_a_test() -> None:
    batches = running("commands", ["a --b", "c"], ["c"], [])
    assert [(batch.program, batch.argv[-1]) for batch in batches] == [("c", "c")]
    (every, _) = running("commands", ["a --b", "c"], None, ["x y"])
    assert every.argv[-1] == "a --b 'x y'"


def test_bazel_tests_go_by_their_labels() -> None:
    assert listed("bazel", "//a:b\n//c/d:e\nLoading: 0 packages\n") == ("//a:b", "//c/d:e")
    name = FRAMEWORKS["bazel"].name_of
    assert name(Batch(["bazel"], "r"), case("c/d/e"), "c/d/e/test.xml") == "//c/d:e"
    assert name(Batch(["bazel"], "r"), case("Suite.x"), "a/b/test.xml") == "//a:b Suite.x"
    (batch,) = running("bazel", [], ["//a:b"], [])
    assert batch.needs_compiler
    assert batch.argv[-1] == "//a:b"


def test_bazel_lists_tests_without_options_of_compilations() -> None:
    options = ("--config=ci", "--cxxopt=-std=c++20", "--compilation_mode=dbg", "--define=A=1")
    context = build_context(LibraryBuild("bazel", options=options))
    (batch,) = FRAMEWORKS["bazel"].listing(Invocation(context))
    assert "--config=ci" in batch.argv
    assert not {*options[1:]} & {*batch.argv}


def test_meson_tests_are_named_on_its_command_line() -> None:
    assert listed("meson", '[{"name": "a", "suite": ["x"]}]') == ("a",)
    (run,) = argv("meson", ["a"])
    assert run[:4] == ["meson", "test", "-C", "/build"]
    assert run[-1] == "a"


# More names than one argument holds, and more than an expression of CMake.
MANY = [f"some.fairly_long_test_name_of_a_suite_number_{number}" for number in range(2500)]
# Of Linux, for one argument.
LONGEST_ARGUMENT = 128 << 10


@pytest.mark.parametrize("framework", sorted(set(FRAMEWORKS) - {"commands"}))
def test_names_that_are_too_many_for_one_command_line_are_all_in_several(framework: str) -> None:
    prefix = {"bazel": "//", "catch2": "a:", "googletest": "a:"}.get(framework, "")
    tests = [f"{prefix}{name}" for name in MANY]
    batches = running(framework, ["/build/a"], tests, ["--more"])
    assert len(batches) > 1
    assert [name for batch in batches for name in batch.tests] == tests
    for batch in batches:
        assert sum(map(len, batch.argv)) < LONGEST_ARGUMENT
        numbers = re.findall(r"_number_(\d+)", " ".join(batch.argv))
        assert [f"{prefix}{MANY[int(number)]}" for number in numbers] == list(batch.tests)


def compiled(pattern: str) -> int:
    """Return the most that CMake compiles a list of escaped names to: 3 bytes for each alternative,
    4 for each run of characters, of which one that is escaped is its own."""
    runs = len(re.findall(r"\\.|[^\\|]+", pattern))
    return len(pattern) + 4 * runs + 3 * (pattern.count("|") + 1)


@given(st.lists(st.text(st.sampled_from("a.$|(\\"), min_size=1, max_size=3000), max_size=60))
@example(["a"] * 9000)
@example(["."] * 9000)
@example(["a." * 1500] * 60)
def test_no_expression_is_too_big_for_cmake(tests: list[str]) -> None:
    for run in argv("ctest", tests):
        assert compiled(run[run.index("-R") + 1]) < 64 << 10


def test_programs_of_one_base_name_are_told_apart_by_their_paths() -> None:
    programs = ["/build/a/t", "/build/b/t", "/build/b/u"]
    for framework, listing in (("googletest", "S.\n  a\n"), ("catch2", "S.a\n")):
        batches = FRAMEWORKS[framework].listing(Invocation(CONTEXT, programs))
        names = [listed_names(FRAMEWORKS[framework], batch, listing) for batch in batches]
        assert names == [("a/t:S.a",), ("b/t:S.a",), ("u:S.a",)]
    runs = argv("googletest", ["b/t:S.a", "u:S.a"], *programs)
    assert [run[0] for run in runs] == ["/build/b/t", "/build/b/u"]
    every = running("googletest", programs, None, [])
    assert len({batch.report for batch in every}) == 3
    assert FRAMEWORKS["googletest"].name_of(every[0], case("a", "S"), "r") == "a/t:S.a"


def test_a_program_itself_is_wanted_with_all_its_tests() -> None:
    (run,) = argv("googletest", ["/build/a"], "/build/a", "/build/b")
    assert run == ["/build/a", "--gtest_output=xml:/build/reports/a.xml", "--more"]


@pytest.mark.parametrize(
    ("framework", "tests", "reported", "missing"),
    [
        ("ctest", ["a", "b"], ["a"], ["b"]),
        ("ctest", ["x" * 3000, "a\nb"], [], []),
        ("googletest", ["t:S.a", "t:S.b"], ["t:S.b"], ["t:S.a"]),
        ("pytest", ["t/a.py::T::test_b[x/y::z]"], ["t/a/T.py::test_b[x/y::z]"], []),
        ("pytest", ["t/a.py::T::test_b[x]"], ["t/a/T.py::test_b[y]"], ["t/a.py::T::test_b[x]"]),
        ("bazel", ["//a:b/c", "//a:d"], ["//a/b:c S.x"], ["//a:d"]),
        ("meson", ["a", "b"], ["a"], ["b"]),
        ("meson", ["a", "b"], ["1 of a's own"], []),
        ("meson", ["a", "b"], [], ["a", "b"]),
        ("catch2", ["t:a", "t:asserts nothing"], ["t:a"], []),
        ("catch2", ["t:a"], [], ["t:a"]),
    ],
)
def test_what_is_wanted_and_not_reported_is_missing(
    framework: str, tests: list[str], reported: list[str], missing: list[str]
) -> None:
    assert list(FRAMEWORKS[framework].missing(tests, reported)) == missing


@pytest.mark.parametrize(
    ("framework", "option", "narrows"),
    [
        ("ctest", "-L", True),
        ("ctest", "--stop-on-failure", True),
        ("ctest", "-j4", False),
        ("googletest", "--gtest_filter=-*Slow*", True),
        ("googletest", "--gtest_shuffle", False),
        ("catch2", "[fast]", True),
        ("catch2", "--durations", False),
        ("pytest", "-m", True),
        ("pytest", "-k fast", True),
        ("pytest", "-x", True),
        ("pytest", "-v", False),
        ("pytest", "--durations=3", False),
        ("meson", "--suite=fast", True),
        ("meson", "--timeout-multiplier=2", False),
        ("bazel", "--test_tag_filters=-gpu", True),
        ("bazel", "--test_output=all", False),
        ("commands", "-k", False),
    ],
)
def test_some_options_leave_out_tests(framework: str, option: str, *, narrows: bool) -> None:
    assert FRAMEWORKS[framework].narrows(["--other", option]) == narrows


def test_bazel_runs_the_target_of_a_case_and_tells_parts_of_one_as_one() -> None:
    (batch,) = running("bazel", [], ["//a:b S.x", "//a:b S.y"], [])
    assert batch.argv[-1] == "//a:b"
    assert batch.argv.count("//a:b") == 1
    name = FRAMEWORKS["bazel"].name_of(batch, case("S.x"), "a/b/shard_1_of_2/test.xml")
    assert name == "//a:b S.x"


@given(st.none() | st.lists(st.text(min_size=1, max_size=8)), st.integers(1, 40))
def test_a_batch_is_split_into_parts_with_all_selected_tests_in_their_order(
    selected: list[str] | None, most: int
) -> None:
    batch = Batch(["program"], None)
    parts = split(batch, selected, most)
    if selected is None:
        assert parts == [batch]
    else:
        assert [name for part in parts for name in part.tests] == selected
        assert all(part.tests and part.argv == batch.argv for part in parts)


@pytest.mark.parametrize(
    ("framework", "state", "message", "ending", "status"),
    [
        ("bazel", "errored", "exited with error code 127", "", 127),
        ("bazel", "failed", "exited with error code 127", "", None),
        ("bazel", "errored", "timed out", "", None),
        ("meson", "errored", "", "exit status 126", 126),
        ("meson", "errored", "", "killed by signal 11 SIGSEGV", None),
        ("ctest", "failed", "exited with error code 1", "exit status 126", None),
    ],
)
def test_each_framework_knows_where_exit_codes_are_in_its_own_reports(
    framework: str, state: State, message: str, ending: str, status: int | None
) -> None:
    reported = Case("a", "", "", state, 0.0, message)
    assert FRAMEWORKS[framework].status_of(reported, ending) == status
