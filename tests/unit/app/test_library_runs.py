"""`envmatrix run` as far as the engine, which has all images and starts no container."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest
from tests.fake_engine import NO_CONTAINER
from tests.repositories import committed
from tests.unit.app.conftest import CELL, ONE
from tests.unit.prompt import EARLY, Prompt

from envmatrix.app import revisions, testing
from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.library_runs import build_context
from envmatrix.app.revisions import RevisionDiff
from envmatrix.app.testing import TestOptions
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EngineError
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.testing import Testing, TestRequest

TWO = "libraries: {first: {path: first}, second: {path: second}}\n"
MEASURED = """\
libraries:
  first: {path: first, benchmark: bench}
  second: {path: second}
"""
TESTED = """\
libraries:
  first: {path: first, test: {framework: ctest}}
  second: {path: second, test: {framework: ctest}}
"""


def arguments(name: str = CELL) -> CellArguments:
    return {"name": name, "libraries": (), "emulate": False, "jobs": 3, "memory": 64_000}


def journals(workspace: Workspace) -> list[str]:
    return [file.read_text() for file in (workspace.root / ".envmatrix/journals").glob("*")]


def test_a_session_has_the_names_of_its_images(engine: Workspace) -> None:
    session = open_session(Console(), **arguments("cuda13.0-x86_64"))
    assert (session.cell.id, [library.name for library in session.libraries]) == (CELL, ["first"])
    assert session.names.keys() == {session.compiler, session.runtime}
    assert session.names[session.compiler].startswith(f"{session.compiler.reference}-")


def test_a_session_that_only_compiles_needs_no_other_image(engine: Workspace) -> None:
    session = open_session(Console(), "compiler", **arguments())
    assert [*session.names] == [session.compiler]
    assert session.runtime is not None


def test_people_get_an_image_of_their_own_only_if_the_matrix_asks_for_it(engine: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="there is no flavour `dev`") as caught:
        open_session(Console(), "dev", **arguments())
    (problem,) = caught.value.problems
    assert "`policy: {dev_images: on}`" in str(problem.hint)


def test_people_get_no_image_of_their_own_to_cross_compile_in(engine: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="is cross-compiled here"):
        open_session(Console(), "dev", **arguments("cuda13.0-debian12-aarch64"))


@pytest.mark.parametrize("libraries", [f"{ONE}policy: {{dev_images: on}}\n"], indirect=True)
def test_people_work_in_the_directories_of_the_image_that_compiles(engine: Workspace) -> None:
    session = open_session(Console(), "dev", **arguments())
    assert [image.flavour for image in session.names] == ["devel", "dev"]
    assert build_context(session, session.libraries[0]).build.name == "devel"


def test_limits_of_the_user_become_those_of_the_build(engine: Workspace) -> None:
    session = open_session(Console(), **arguments())
    context = build_context(session, session.libraries[0])
    assert (context.jobs, context.memory) == (3, 64_000 * 10**6)
    assert context.source == engine.root / "first"
    assert context.library.name == "first"


def test_the_failure_of_a_single_library_is_shown_once_and_recorded(
    envmatrix: Prompt, engine: Workspace
) -> None:
    answer = envmatrix("run", "compile", CELL)
    assert answer.status == EngineError.exit_code
    assert answer.err.count("error: ") == 1
    assert NO_CONTAINER in answer.err
    (journal,) = journals(engine)
    assert '"infrastructure"' in journal


@pytest.mark.parametrize("libraries", [TWO], indirect=True)
def test_every_library_is_tried_even_if_one_fails(envmatrix: Prompt, engine: Workspace) -> None:
    answer = envmatrix("run", "compile", CELL)
    assert answer.status == EngineError.exit_code
    assert answer.err.count("error: ") == 2
    assert len(journals(engine)) == 2


@pytest.mark.parametrize("libraries", [TWO], indirect=True)
def test_a_named_library_is_the_only_one(envmatrix: Prompt, engine: Workspace) -> None:
    envmatrix("run", "compile", CELL, "--library", "second")
    (journal,) = journals(engine)
    assert '"second"' in journal


@pytest.mark.parametrize("libraries", [TWO], indirect=True)
def test_several_libraries_are_named(envmatrix: Prompt, engine: Workspace) -> None:
    envmatrix("run", "compile", CELL, "--library", "second", "--library", "first")
    assert len(journals(engine)) == 2


@pytest.mark.parametrize("libraries", [TESTED], indirect=True)
def test_a_revision_is_compared_once_for_all_libraries(
    engine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    diffs = []

    def select_tests(_: Testing, diff: RevisionDiff) -> NoReturn:
        diffs.append(diff)
        raise Skipped("nothing is selected")

    monkeypatch.setattr(revisions, "select_tests", select_tests)
    monkeypatch.setattr(testing, "compile_recorded", lambda *_: iter(()))
    committed(engine.root)
    session = open_session(Console(-1), **arguments())
    testing.test_libraries(session, TestOptions(TestRequest(), since="HEAD"), EARLY, lambda _: None)
    first, second = diffs
    assert first is second


@pytest.mark.parametrize("verb", [("shell",), ("run", "shell")])
def test_a_shell_needs_a_terminal(
    envmatrix: Prompt, engine: Workspace, verb: tuple[str, ...]
) -> None:
    answer = envmatrix(*verb, CELL)
    assert answer.err.splitlines()[-2:] == [
        "error: a shell needs a terminal",
        "hint: run it from one, or a command: `envmatrix exec CELL -- COMMAND`",
    ]


def test_without_a_gpu_nothing_is_measured(envmatrix: Prompt, engine: Workspace) -> None:
    answer = envmatrix("run", "perf", CELL, "--device", "example.com/none=0")
    assert answer.status == 77
    assert answer.err.startswith(f"skipped: no GPU for `{CELL}`: ")
    assert not (engine.root / ".envmatrix").exists()


@pytest.mark.parametrize("libraries", [MEASURED], indirect=True)
def test_without_a_gpu_nothing_is_built_to_measure_many_cells(
    envmatrix: Prompt, engine: Workspace
) -> None:
    answer = envmatrix("perf", CELL, "--json")
    document = json.loads(answer.out)
    assert answer.status == 77
    assert [(job["kind"], job["subject"], job["state"]) for job in document["jobs"]] == [
        ("measure", ["first", CELL], "skipped")
    ]
    assert "NVIDIA" in document["jobs"][0]["message"]
    assert not (engine.root / "build" / CELL).exists()


@pytest.mark.parametrize("libraries", [MEASURED], indirect=True)
def test_cells_of_another_machine_are_skipped_by_all_that_measures(
    envmatrix: Prompt, engine: Workspace
) -> None:
    answer = envmatrix("perf", "cuda13-aarch64")
    assert answer.status == 77
    reason = "can be measured only on a machine of its own architecture"
    assert f"left out  cuda13.0-debian12-aarch64: {reason}" in answer.out


@pytest.mark.parametrize("libraries", [TWO], indirect=True)
def test_measuring_needs_a_benchmark(envmatrix: Prompt, engine: Workspace) -> None:
    answer = envmatrix("perf")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "".join(
        f"error: library `{name}` has no `benchmark`\nhint: name it in matrix.yaml\n"
        for name in ("first", "second")
    )


@pytest.mark.parametrize("libraries", [TWO], indirect=True)
def test_a_shell_is_for_one_library(envmatrix: Prompt, engine: Workspace) -> None:
    answer = envmatrix("shell", CELL, "--library", "first", "--library", "second")
    assert answer.status == 2
    assert answer.err.splitlines()[0] == "error: this is for one library; give --library once"


def test_exec_needs_a_command(envmatrix: Prompt, engine: Workspace) -> None:
    answer = envmatrix("exec", CELL)
    assert answer.status == 2
    assert "give the command behind `--`" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shadow"], "`--shadow` is about `--since REV`, which is not given"),
        (["--explain"], "`--explain` is about `--since REV`, which is not given"),
    ],
)
def test_options_about_changes_need_a_revision(
    envmatrix: Prompt, engine: Workspace, options: list[str], message: str
) -> None:
    answer = envmatrix("run", "test", CELL, *options)
    assert (answer.status, answer.err.splitlines()[0]) == (2, f"error: {message}")


def test_arguments_need_a_library_with_tests(envmatrix: Prompt, engine: Workspace) -> None:
    matrix = engine.root / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("{path: first}", "{path: first, test: none}"))
    answer = envmatrix("run", "test", CELL, "--", "-L", "host")
    assert answer.err.splitlines()[-2:] == [
        "error: arguments are for a test framework, and `first` has no tests",
        "hint: leave out what follows `--`",
    ]


def test_images_that_the_engine_has_are_reused(envmatrix: Prompt, engine: Workspace) -> None:
    rows = json.loads(envmatrix("plan", "--select", CELL, "--json").out)
    assert [(row["action"], row["reason"]) for row in rows] == [("reuse", "up to date")] * 2
    assert envmatrix("build", "--select", CELL, "--dry-run").out.splitlines() == [
        f"reuse    {engine.plan(engine.images([CELL]))[index].image}: up to date"
        for index in range(2)
    ]
