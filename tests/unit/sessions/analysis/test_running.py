"""What an analysis of a library comes to, and what it accepts; the analysers are stand-ins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import FakeExecutor, Program, build_directory
from tests.unit.sessions.contexts import build_context, context_in
from tests.unit.sessions.test_binaries import elf

from envmatrix.console import Console
from envmatrix.engine.tasks import Gpus, OnOutput, Task, TaskResult
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import LibraryBuild, LibraryTest
from envmatrix.sessions.analysis.analysers import ANALYSERS
from envmatrix.sessions.analysis.baselines import load_baseline
from envmatrix.sessions.analysis.running import Analysis
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.runner import Runner

Printed = Mapping[str, tuple[int, str]]


def analysers(output: Printed, files: Mapping[str, str]) -> Program:
    """Return what compiles a library, with `files` beside it; and programs that end and print as in
    `printed`, to the standard output and, if that is not kept, to the log."""

    def program(task: Task, on_output: OnOutput) -> TaskResult:
        status, text = next(
            (end for name, end in output.items() if name in " ".join(task.command)), (0, "")
        )
        with build_directory(task).opened() as build:
            build.write("libx.so", elf(62))
            for name, content in files.items():
                build.write(name, content.encode())
        on_output(0, text.encode())
        return TaskResult(status, text)

    return program


def analysis_in(
    root: Path,
    output: Printed,
    files: Mapping[str, str] | None = None,
    *,
    gpus: Gpus | None = None,
    build: LibraryBuild | None = None,
    test: LibraryTest | None = None,
) -> Analysis:
    context = context_in(root, build_context(build, test))
    context = replace(context, library=replace(context.library, artifacts=("*.so",)))
    executor = FakeExecutor(analysers(output, files or {}))
    return Analysis.of(Runner(executor, context, Console(-1)), gpus)


COMPILE_COMMANDS = {"compile_commands.json": "[]"}
TIDY = "/src/a.cpp:3:1: warning: a name [bugprone-a]"


def test_findings_are_new_until_they_are_accepted(tmp_path: Path) -> None:
    output = {"run-clang-tidy": (0, TIDY)}
    first = analysis_in(tmp_path, output, COMPILE_COMMANDS)
    first.examine("clang-tidy")
    (finding,) = first.compare_with_baseline()
    assert (finding.file, finding.is_new) == ("a.cpp", True)
    document = json.loads((first.runner.context.directory / "analysis.sarif").read_text())
    assert document["runs"][0]["tool"]["driver"]["name"] == "clang-tidy"
    first.accept()

    second = analysis_in(tmp_path, output, COMPILE_COMMANDS)
    second.examine("clang-tidy")
    assert [item.is_new for item in second.compare_with_baseline()] == [False]


def test_analysers_with_one_instrumentation_share_its_build(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path, {}, {**COMPILE_COMMANDS, "cppcheck.xml": "<results/>"})
    analysis.examine("clang-tidy")
    analysis.examine("cppcheck")
    assert isinstance(analysis.runner.executor, FakeExecutor)
    programs = [task.command[0] for task in analysis.runner.executor.tasks]
    assert programs == ["sh", "run-clang-tidy", "cppcheck"]


@pytest.mark.parametrize("kind", ["clang-tidy", "cppcheck"])
def test_sources_are_not_examined_where_no_build_system_tells_how_they_compile(
    tmp_path: Path, kind: str
) -> None:
    with pytest.raises(Skipped, match=f"{kind} needs compile_commands.json, which `cmake`"):
        analysis_in(tmp_path, {}).examine(kind)


@pytest.mark.parametrize(
    ("kind", "program", "message"),
    [
        ("clang-tidy", "run-clang-tidy", "clang-tidy failed"),
        ("cppcheck", "cppcheck", "Cppcheck failed"),
        ("abi", "abidw", "abidw cannot read `libx.so`"),
        ("licences", "readelf", "licences of `lib` in .* failed with exit code 3"),
    ],
)
def test_an_analyser_that_fails_is_an_error(
    tmp_path: Path, kind: str, program: str, message: str
) -> None:
    analysis = analysis_in(tmp_path, {program: (3, "")}, COMPILE_COMMANDS)
    with pytest.raises(EnvmatrixError, match=message):
        analysis.examine(kind)


def test_sizes_and_licences_are_accepted_and_others_keep_theirs(tmp_path: Path) -> None:
    output = {"readelf": (0, "libm.so.6\tlibc6\tLGPL-2.1\n")}
    analysis = analysis_in(tmp_path, output)
    analysis.examine("size")
    assert [item.name for item in analysis.measurements] == ["size of libx.so"]
    analysis.accept()
    analysis = analysis_in(tmp_path, output)
    analysis.examine("licences")
    assert analysis.compare_with_baseline() == ()
    analysis.accept()
    context = analysis.runner.context
    baseline = load_baseline(context.root, context.library.name, context.cell.id)
    assert baseline.sizes == {"libx.so": len(elf(62))}
    assert baseline.licences == ("LGPL-2.1",)

    strict = analysis_in(tmp_path, {"readelf": (0, "libm.so.6\tlibc6\tGPL-3\n")})
    strict.examine("licences")
    assert [item.rule for item in strict.compare_with_baseline()] == ["GPL-3"]


def test_an_abi_is_compared_with_the_one_that_was_accepted(tmp_path: Path) -> None:
    dump = {"abi/libx.so": "<abi/>"}
    first = analysis_in(tmp_path, {}, dump)
    first.examine("abi")
    assert first.compare_with_baseline() == ()
    first.accept()
    context = first.runner.context
    accepted = context.root / "baselines/lib" / context.cell.id / "libx.so.abi"
    assert accepted.read_text() == "<abi/>"

    output = {"abidiff": (4, "  [D] 'function int f()'    {_Z1fv}\n")}
    second = analysis_in(tmp_path, output, {"abi/libx.so": "<other/>"})
    second.examine("abi")
    assert [item.message for item in second.compare_with_baseline()] == [
        "function int f() is removed"
    ]
    second.accept()
    assert accepted.read_text() == "<other/>"
    assert load_baseline(context.root, "lib", context.cell.id).findings == ()


def test_an_abi_that_cannot_be_compared_can_be_accepted_anew(tmp_path: Path) -> None:
    first = analysis_in(tmp_path, {}, {"abi/libx.so": "broken"})
    first.examine("abi")
    first.accept()
    second = analysis_in(tmp_path, {"abidiff": (1, "")}, {"abi/libx.so": "<abi/>"})
    with pytest.raises(EnvmatrixError, match="abidiff cannot compare"):
        second.examine("abi")
    second.accept()
    context = second.runner.context
    accepted = context.root / "baselines/lib" / context.cell.id / "libx.so.abi"
    assert accepted.read_text() == "<abi/>"


def test_a_sanitizer_reports_while_tests_run(tmp_path: Path) -> None:
    report = "<testsuite><testcase name='a' status='run'/></testsuite>"
    summary = "SUMMARY: AddressSanitizer: heap-use-after-free /src/a.cpp:5:3 in main\n"
    analysis = analysis_in(
        tmp_path, {"ctest": (0, summary)}, {"reports/ctest.xml": report}, test=LibraryTest("ctest")
    )
    analysis.examine("asan")
    (finding,) = analysis.compare_with_baseline()
    assert (finding.tool, finding.rule, finding.line) == (
        "AddressSanitizer",
        "heap-use-after-free",
        5,
    )
    assert isinstance(analysis.runner.executor, FakeExecutor)
    build, *_ = analysis.runner.executor.tasks
    assert "-fsanitize=address" in build.environment["CXXFLAGS"]


def test_a_library_without_tests_is_not_sanitized(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match=r"`lib` has no `test` in matrix\.yaml"):
        analysis_in(tmp_path, {}, build=LibraryBuild("make")).examine("asan")


def test_gpu_code_is_examined_with_a_gpu_and_ctest_only(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="needs a GPU"):
        analysis_in(tmp_path, {}).examine("compute-sanitizer")
    pytest_library = LibraryTest("pytest")
    with pytest.raises(Skipped, match="for libraries with CTest"):
        analysis_in(tmp_path, {}, gpus=Gpus(), test=pytest_library).examine("compute-sanitizer")

    output = {"compute-sanitizer": (1, "========= ERROR SUMMARY: 2 errors\n")}
    analysis = analysis_in(tmp_path, output, gpus=Gpus(), test=LibraryTest("ctest", timeout=60))
    analysis.examine("compute-sanitizer")
    (finding,) = analysis.compare_with_baseline()
    assert (finding.message, finding.level) == ("========= ERROR SUMMARY: 2 errors", "error")
    assert isinstance(analysis.runner.executor, FakeExecutor)
    task = analysis.runner.executor.tasks[-1]
    assert (task.gpus, task.limits.seconds) == (Gpus(), 60)
    assert task.command[-3:] == ["ctest", "--test-dir", "/build"]


def test_coverage_is_that_of_gcc(tmp_path: Path) -> None:
    analysis = analysis_in(tmp_path, {}, test=LibraryTest("ctest"))
    context = analysis.runner.context
    cell = replace(context.cell, compiler="clang-16")
    with pytest.raises(Skipped, match="Clang compiles the cell"):
        replace(
            analysis, runner=replace(analysis.runner, context=replace(context, cell=cell))
        ).examine("coverage")


def test_coverage_is_merged_for_the_cell_and_for_all(tmp_path: Path) -> None:
    gcov = {"files": [{"file": "/src/a.cpp", "lines": [{"line_number": 1, "count": 2}]}]}
    files = {
        "reports/ctest.xml": "<testsuite><testcase name='a' status='run'/></testsuite>",
        "merged/coverage.xml": '<coverage line-rate="0.5"/>',
        "merged/index.html": "<html/>",
    }
    analysis = analysis_in(
        tmp_path, {"gcov": (0, json.dumps(gcov))}, files, test=LibraryTest("ctest")
    )
    context = analysis.runner.context
    (context.source / "a.cpp").touch()
    analysis.examine("coverage")
    (measurement,) = analysis.measurements
    assert (measurement.name, measurement.value) == ("line coverage", 50)
    assert (context.directory / "coverage/index.html").read_text() == "<html/>"
    assert (context.root / "build/coverage/lib/coverage.xml").is_file()
    trace = json.loads((context.directory / "coverage.json").read_text())
    assert [file["file"] for file in trace["files"]] == ["a.cpp"]


def test_the_slowest_analyses_run_where_they_are_chosen_only() -> None:
    assert [kind for kind, analyser in ANALYSERS.items() if not analyser.is_default] == [
        "tsan",
        "compute-sanitizer",
    ]
