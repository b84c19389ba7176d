from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.jobs.execution import JobResult, Report
from envmatrix.jobs.model import Job
from envmatrix.render.job_report import lines, report_document
from envmatrix.render.timeline import timeline

COMPILE = Job("c", "compile", ("ops", "cell"), command=("envmatrix", "run", "compile", "cell"))
TEST = Job("t", "test", ("ops", "cell"))
REPORT = Report(
    {"c": COMPILE, "t": TEST},
    {
        "c": JobResult("failed", 0.0, 61.0, "no `a.h`\nhere"),
        "t": JobResult("left out", message="`compile ops cell` failed"),
    },
    {"sbsa": "not cross-compiled on a machine of arm64"},
    62.0,
)


def test_people_see_failures_numbers_and_what_to_do_next() -> None:
    assert [*lines(REPORT, "test")] == [
        "left out  sbsa: not cross-compiled on a machine of arm64",
        r"failed    compile ops cell: no `a.h`\nhere",
        "          envmatrix run compile cell",
        "2 jobs in 1 min 2 s: 1 failed, 1 left out",
        "next      `envmatrix test --rerun-failed`, or one of the commands above",
    ]


def test_a_failure_with_a_known_remedy_says_what_to_do() -> None:
    remedy = "list its package under `packages` of the library, or in envs/devel.yaml for all"
    failed = JobResult("failed", message="no program `jq`", remedy=remedy)
    report = replace(REPORT, results={"c": failed}, cells={})
    assert [*lines(report, "test")][:3] == [
        "failed    compile ops cell: no program `jq`",
        f"          {remedy}",
        "          envmatrix run compile cell",
    ]
    (job,) = json.loads(json.dumps(report_document(report)))["jobs"]
    assert job["remedy"] == remedy


def test_an_interrupted_run_can_go_on() -> None:
    results = {"c": JobResult("interrupted"), "t": JobResult("left out")}
    *_, total, following = lines(replace(REPORT, results=results, is_interrupted=True), "test")
    assert total == "2 jobs interrupted after 1 min 2 s: 1 left out, 1 interrupted"
    assert "goes on" in following


def test_outputs_that_are_not_here_are_told() -> None:
    report = replace(
        REPORT, results={"t": JobResult("reused", seconds=9.0)}, cells={}, absent={"c"}
    )
    assert [*lines(report, "test")] == [
        "1 job in 1 min 2 s: 1 reused",
        "build/    has no outputs of 1 compilation, whose tests passed elsewhere or before",
        "          `envmatrix compile` makes them here, or fetches them",
    ]
    assert report_document(report)["absent_outputs"] == [("ops", "cell")]
    assert report_document(REPORT)["absent_outputs"] == []


def test_many_failures_are_counted() -> None:
    jobs = {str(number): replace(COMPILE, id=str(number)) for number in range(535)}
    report = Report(jobs, dict.fromkeys(jobs, JobResult("failed", message="no")), {}, 1.0)
    texts = [*lines(report, "test")]
    assert len(texts) < 50
    assert "and 515 more failed; --json and the JUnit file have all" in texts


POSTPONED = {
    f"{name}{number}": Job(f"{name}{number}", "test", (name, f"cell{number}"))
    for name, count in (("ops", 40), ("more", 3))
    for number in range(count)
}


def test_many_jobs_that_a_budget_leaves_out_are_a_line_for_each_library_and_reason() -> None:
    def result(key: str) -> JobResult:
        is_long = key in ("ops1", "ops2")
        reason = f"takes too long: {key}" if is_long else "no time is left"
        return JobResult("postponed", message=reason)

    report = Report(POSTPONED, {key: result(key) for key in POSTPONED}, {}, 1.0)
    assert [*lines(report, "test")] == [
        "postponed test ops in 38 cells: no time is left",
        "postponed test more in 3 cells: no time is left",
        "postponed test ops in 2 cells: takes too long",
        "          --json and build/junit.xml have all of them",
        "43 jobs in 1.00 s: 43 postponed",
    ]


def test_few_jobs_that_are_left_out_have_a_line_each() -> None:
    results = {key: JobResult("skipped", message="no GPU: why") for key in ("more0", "more1")}
    assert [*lines(Report(POSTPONED, results, {}, 1.0), "perf")] == [
        "skipped   test more cell0: no GPU: why",
        "skipped   test more cell1: no GPU: why",
        "2 jobs in 1.00 s: 2 skipped",
    ]


def test_what_is_left_out_takes_at_most_ten_lines() -> None:
    jobs = {str(number): Job(str(number), "test", (str(number), "cell")) for number in range(99)}
    results = dict.fromkeys(jobs, JobResult("postponed", message="no time is left"))
    texts = [*lines(Report(jobs, results, {}, 1.0), "test")]
    assert texts[0] == "postponed test 0 in 1 cell: no time is left"
    assert (
        texts[-2].strip() == "and 90 more such lines; --json and build/junit.xml have all of them"
    )
    assert len(texts) == 11


def test_many_cells_of_another_machine_are_a_line() -> None:
    cells = {f"cell{number}": "another machine" for number in range(200)}
    assert [*lines(Report({}, {}, cells, 1.0), "test")] == [
        "left out  all libraries in 200 cells: another machine",
        "          --json has all of them",
        "0 jobs in 1.00 s: nothing to do",
    ]


def test_programs_get_every_job() -> None:
    document = json.loads(json.dumps(report_document(REPORT)))
    assert [job["state"] for job in document["jobs"]] == ["failed", "left out"]
    assert document["counts"] == {"failed": 1, "left out": 1}
    assert document["left_out"][0]["cell"] == "sbsa"


RESULTS = st.builds(
    JobResult,
    st.sampled_from(["done", "failed", "reused", "left out"]),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.text(),
)


@given(st.lists(st.tuples(st.text(), RESULTS), max_size=20))
def test_the_picture_has_a_bar_for_each_job_that_ran_and_none_overlap(
    rows: list[tuple[str, JobResult]],
) -> None:
    jobs = {
        str(number): replace(TEST, id=str(number), subject=(name,))
        for number, (name, _) in enumerate(rows)
    }
    results = {str(number): result for number, (_, result) in enumerate(rows)}
    picture = "\n".join(timeline(Report(jobs, results, {}, 0.0)))
    root = ElementTree.XML(picture)
    bars = [element for element in root if element.tag.endswith("svg")]
    assert len(bars) == sum(result.state in ("done", "failed") for _, result in rows)
    lanes: dict[str, list[tuple[float, float]]] = {}
    for bar in bars:
        start = float(bar.attrib["x"])
        lanes.setdefault(bar.attrib["y"], []).append((start, start + float(bar.attrib["width"])))
    for lane in lanes.values():
        lane.sort()
        # A bar has at least a pixel, and positions are rounded.
        assert all(end <= start + 1.2 for (_, end), (start, _) in pairwise(lane))


def test_the_picture_names_jobs_and_marks_failures() -> None:
    picture = "\n".join(timeline(REPORT))
    assert "<title>compile ops cell: failed, 1 min 1 s</title>" in picture
    assert re.search('fill="#a00000"', picture)
