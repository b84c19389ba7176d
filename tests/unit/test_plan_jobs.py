"""`envmatrix plan --jobs`, with no container engine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import lock_of, write_repository
from tests.repositories import committed
from tests.unit.prompt import Prompt

from envmatrix.app.workspace import Workspace
from envmatrix.jobs.model import Job
from envmatrix.lock.lock_file import dumps
from envmatrix.matrix.loading import load_matrix
from envmatrix.results.job_records import JobRecords
from envmatrix.results.location import Location
from envmatrix.results.records import End, Run, line_of
from envmatrix.sessions.outcomes import State, Step

AXES = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64, aarch64]'
LIBRARIES = """\
libraries:
  own: {path: own, test: {framework: ctest}, benchmark: bench}
  other: {path: other, test: none}
"""
CELL = "cuda13.0-debian12-x86_64"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, envmatrix: Prompt) -> Path:
    monkeypatch.delenv("ENVMATRIX_RESULTS", raising=False)
    root = write_repository(tmp_path / "repository", AXES, LIBRARIES)
    (root / "matrix.lock.json").write_text(dumps(lock_of(load_matrix(root), tmp_path / "scratch")))
    for name in ("own", "other"):
        (root / name).mkdir()
        (root / name / "CMakeLists.txt").write_text("project(library)\n")
    monkeypatch.chdir(root)
    assert envmatrix("generate", "-q").status == 0
    return root


def jobs_of(envmatrix: Prompt, *arguments: str) -> dict[str, Any]:
    answer = envmatrix("plan", "--jobs", "--json", *arguments)
    assert answer.status == 0, answer.err
    document: dict[str, Any] = json.loads(answer.out)
    return document


def subjects(document: dict[str, Any], kind: str) -> set[str]:
    return {" ".join(job["subject"]) for job in document["jobs"] if job["kind"] == kind}


@pytest.mark.usefixtures("repository")
def test_every_library_is_compiled_in_every_cell_and_tested_if_it_has_tests(
    envmatrix: Prompt,
) -> None:
    document = jobs_of(envmatrix)
    cells = (CELL, "cuda13.0-debian12-aarch64")
    assert subjects(document, "compile") == {
        f"{name} {cell}" for name in ("own", "other") for cell in cells
    }
    assert subjects(document, "test") == {f"own {cell}" for cell in cells}
    assert subjects(document, "source") == {"own", "other"}
    assert subjects(document, "base") == {"debian12-amd64-base", "debian12-arm64-base"}
    assert subjects(document, "base") < subjects(document, "download")
    numbers = {job["id"]: number for number, job in enumerate(document["jobs"])}
    assert all(
        numbers[need] < numbers[job["id"]] for job in document["jobs"] for need in job["needs"]
    )
    assert list(document["seconds"]) == ["1", "4", "16", "64"]
    assert {*document["critical_path"]} <= {*numbers}


@pytest.mark.usefixtures("repository")
def test_cells_and_a_library_are_selected(envmatrix: Prompt) -> None:
    document = jobs_of(envmatrix, "--select", CELL, "--library", "own", "--shards", "2")
    assert subjects(document, "test") == {f"own {CELL} 1/2", f"own {CELL} 2/2"}
    assert subjects(document, "compile") == {f"own {CELL}"}


@pytest.mark.usefixtures("repository")
def test_cells_are_named_as_for_the_verbs_and_libraries_several_times(envmatrix: Prompt) -> None:
    document = jobs_of(envmatrix, "cuda13-x86_64", "--library", "own", "--library", "other")
    assert subjects(document, "compile") == {f"own {CELL}", f"other {CELL}"}


@pytest.mark.usefixtures("repository")
def test_the_jobs_of_other_verbs_are_planned(envmatrix: Prompt) -> None:
    kinds = {
        verb: {job["kind"] for job in jobs_of(envmatrix, CELL, "--verb", verb)["jobs"]}
        for verb in ("compile", "test", "perf")
    }
    compiling = {"download", "base", "image", "source", "compile"}
    assert kinds == {
        "compile": compiling,
        "test": compiling | {"test"},
        "perf": compiling | {"measure"},
    }


@pytest.mark.usefixtures("repository")
def test_measurements_are_planned_for_libraries_with_a_benchmark_on_their_own_machine(
    envmatrix: Prompt,
) -> None:
    document = jobs_of(envmatrix, "--verb", "perf")
    assert subjects(document, "compile") == subjects(document, "measure") == {f"own {CELL}"}
    *_, last = document["critical_path"]
    (job,) = (job for job in document["jobs"] if job["id"] == last)
    assert (job["kind"], job["command"][:3]) == ("measure", ["envmatrix", "run", "perf"])
    assert document["left_out"] == [
        {
            "cell": "cuda13.0-debian12-aarch64",
            "reason": "can be measured only on a machine of its own architecture",
        }
    ]


def test_only_what_a_change_affects_is_planned(envmatrix: Prompt, repository: Path) -> None:
    committed(repository)
    (repository / "own" / "main.cu").write_text("int main() {}\n")
    document = jobs_of(envmatrix, "--since", "HEAD", "--verb", "compile")
    assert {job["subject"][0] for job in document["jobs"] if job["kind"] == "compile"} == {"own"}


def test_an_edit_makes_other_jobs_of_its_library_alone(envmatrix: Prompt, repository: Path) -> None:
    before = {job["id"]: job for job in jobs_of(envmatrix)["jobs"]}
    (repository / "own" / "main.cu").write_text("int main() {}\n")
    after = {job["id"]: job for job in jobs_of(envmatrix)["jobs"]}
    changed = [after[key] for key in after.keys() - before.keys()]
    assert {job["kind"] for job in changed} == {"source", "compile", "test"}
    assert {job["subject"][0] for job in changed} == {"own"}


def test_builds_and_results_within_a_library_change_no_job(
    envmatrix: Prompt, repository: Path
) -> None:
    matrix = repository / "matrix.yaml"
    matrix.write_text(matrix.read_text("utf-8").replace("path: own", "path: ."), "utf-8")
    before = [job["id"] for job in jobs_of(envmatrix)["jobs"]]
    for name in ("build/main.o", ".envmatrix/notes"):
        (repository / name).parent.mkdir()
        (repository / name).write_text("new\n")
    assert [job["id"] for job in jobs_of(envmatrix)["jobs"]] == before


def record(location: Location, key: str, verb: str, started: float, **steps: float) -> None:
    """Record a run with steps of these seconds."""
    run = Run(key * 32, "own", CELL, verb, started)
    parts: tuple[Run | Step, ...] = (
        run,
        *(Step(name, 0, seconds, "") for name, seconds in steps.items()),
    )
    lines = [*map(line_of, parts), line_of(End("passed", sum(steps.values())))]
    (location.journals / f"{run.id}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_expected_durations_are_those_of_the_newest_run(
    envmatrix: Prompt, repository: Path
) -> None:
    location = Location.of(repository)
    location.prepare()
    record(location, "2", "compile", 2.0, configure=2.0, compile=40.0)
    record(location, "1", "test", 1.0, configure=9.0, compile=90.0, list=1.0, test=5.0)
    record(location, "3", "perf", 3.0, perf=8.0)
    record(location, "4", "analyse", 4.0, configure=1.0, coverage=9.0)

    def seconds(verb: str) -> Mapping[str, float]:
        jobs = jobs_of(envmatrix, "--select", CELL, "--verb", verb)["jobs"]
        return {job["kind"]: job["seconds"] for job in jobs if job["subject"][0] == "own"}

    assert (seconds("test")["compile"], seconds("test")["test"]) == (42, 6)
    assert (seconds("perf")["compile"], seconds("perf")["measure"]) == (42, 8)


@pytest.mark.usefixtures("repository")
def test_people_see_the_critical_path_and_the_expected_times(envmatrix: Prompt) -> None:
    answer = envmatrix("plan", "--jobs", "--select", CELL)
    line = r"^[0-9a-f]{12} +1 min  to do       compile own cuda13"
    assert re.search(line, answer.out, re.MULTILINE)
    chain = "download debian12-amd64-base -> base debian12-amd64-base -> image "
    assert f"critical path, 5 min: {chain}" in answer.out
    assert re.search(r"^ +64  5 min$", answer.out, re.MULTILINE)


def prospects(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the kinds of jobs with what would become of them."""
    return {(job["kind"], job["prospect"]) for job in document["jobs"]}


@pytest.mark.usefixtures("repository")
def test_each_job_says_whether_its_result_would_be_reused(envmatrix: Prompt) -> None:
    selection = (CELL, "--library", "own")
    document = jobs_of(envmatrix, *selection)
    kinds = ("download", "base", "image", "compile", "test")
    assert prospects(document) == {(kind, "to do") for kind in kinds} | {("source", "not needed")}

    *_, row = document["jobs"]
    test = Job(row["id"], row["kind"], tuple(row["subject"]))
    run = Run("1" * 32, "own", CELL, "test", started=1.0)
    JobRecords.of_user().keep(test, (run, End("passed", 9.0)))

    others = {(kind, "not needed") for kind in (*kinds[:-1], "source")}
    assert prospects(jobs_of(envmatrix, *selection)) == others | {("test", "reused")}
    text = envmatrix("plan", "--jobs", *selection).out
    assert re.search(rf"^\w{{12}} +\S+ s  reused      test own {CELL}$", text, re.MULTILINE)
    assert re.search(r"^1 reused, \d+ not needed, 0 to do$", text, re.MULTILINE)


def test_new_failures_are_planned_first_within_a_budget(
    envmatrix: Prompt, repository: Path
) -> None:
    location = Location.of(repository)
    location.prepare()
    ends: list[tuple[str, State]] = [("1", "passed"), ("2", "failed")]
    for number, state in ends:
        run = Run(number * 32, "own", CELL, "test", started=float(number))
        lines = [line_of(run), line_of(End(state, 9.0))]
        (location.journals / f"{run.id}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    document = jobs_of(envmatrix, "--time", "6m", "--gpu-minutes", "10")
    budget = document["budget"]
    assert (budget["seconds"], budget["gpu_seconds"]) == (360, 600)
    first, *others = budget["chosen"]
    assert (first["kind"], first["subject"]) == ("test", ["own", CELL])
    assert first["reason"] == "failed, and passed before, covers 6 pairs"
    assert len(others) + len(budget["left_out"]) == 3
    text = envmatrix("plan", "--jobs", "--time", "2m").out
    assert re.search(
        rf"^left out test own {CELL}: takes too long with what it needs: about \d min$",
        text,
        re.MULTILINE,
    )
    assert "0 of 4 are within the budget of 2 min 0 s" in text


@pytest.mark.usefixtures("repository")
def test_the_graph_is_drawn(envmatrix: Prompt) -> None:
    arguments = ("plan", "--jobs", "--select", CELL, "--library", "own", "--graph")
    mermaid, graphviz = (envmatrix(*arguments, name).out for name in ("mermaid", "graphviz"))
    assert mermaid.startswith('flowchart LR\n  job0["')
    assert mermaid.count(" --> ") == graphviz.count(" -> ")
    number = re.search(rf'job(\d+) \[label="test own {CELL}"\];', graphviz)
    assert number
    assert len(re.findall(rf" -> job{number[1]};", graphviz)) == 2


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--jobs", "--diff", "HEAD"), "--jobs and --diff"),
        (("--library", "own"), "need --jobs, which is not given"),
        (("--verb", "perf"), "need --jobs, which is not given"),
        (("--since", "HEAD"), "need --jobs, which is not given"),
        (("--jobs", "--verb", "perf", "--shards", "2"), "--shards divides tests"),
        (("--jobs", "--verb", "perf", "--library", "other"), "`other` has no `benchmark`"),
        (("--time", "1h"), "need --jobs, which is not given"),
        (("--jobs", "--time", "soon"), "`soon` is no duration; write for example 90s, 30m"),
        (("--jobs", "--library", "none"), "has no library `none`"),
        (("--jobs", "--graph", "mermaid", "--json"), "--graph and --json"),
    ],
)
def test_what_makes_no_sense_is_an_error(
    envmatrix: Prompt, arguments: tuple[str, ...], message: str
) -> None:
    answer = envmatrix("plan", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err


def test_each_job_has_the_same_id_in_another_checkout(
    envmatrix: Prompt, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [job["id"] for job in jobs_of(envmatrix)["jobs"]]
    monkeypatch.chdir(repository.rename(tmp_path / "moved"))
    assert Workspace.here().root == tmp_path / "moved"
    assert [job["id"] for job in jobs_of(envmatrix)["jobs"]] == here
