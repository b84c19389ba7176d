from __future__ import annotations

from dataclasses import replace

from tests.unit.conftest import REPOSITORY

from envmatrix.jobs.model import Graph, Job, Resources
from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import find_cell
from envmatrix.pipeline.model import Pipeline, Runner, Trigger, document, pipeline_of
from envmatrix.pipeline.planning import CellPlace, Recorded, Work, plan_pipeline

OWN, OTHER = Library("own"), Library("other")
MATRIX = replace(load_matrix(REPOSITORY), libraries=(OWN, OTHER))
CELL = find_cell(MATRIX, "cuda13.5-debian12-x86_64").id
GB = 10**9
BY_HAND = Trigger()
ANY, H100 = Runner("any", "amd64"), Runner("h100", "amd64", gpus=1, gpu="h100")


def key(number: int) -> str:
    return f"{number:064x}"


IMAGE = Job(key(1), "image", ("cuda13.5-debian12:devel-amd64",), (), seconds=90.0)
SOURCE = Job(key(2), "source", ("own",))
COMPILE = Job(key(3), "compile", ("own", CELL), (IMAGE.id, SOURCE.id), seconds=60.0)
TEST = Job(key(4), "test", ("own", CELL), (COMPILE.id, IMAGE.id), seconds=30.0)
STEP = Job(key(5), "step", ("own", CELL, "nvrtc"), (COMPILE.id, IMAGE.id), seconds=20.0)
LIKE = Job(key(6), "compile", ("other", CELL), (COMPILE.id, IMAGE.id), seconds=10.0)
ON_H100 = replace(TEST, requirement=Requirement(gpu=("h100",)))
WORK = Work(
    Graph.of((IMAGE, SOURCE, COMPILE, TEST, STEP, LIKE)),
    (TEST.id, STEP.id, LIKE.id),
    {CELL: CellPlace("amd64", "pr", "every cell")},
)


def planned(work: Work, *runners: Runner, trigger: Trigger = BY_HAND) -> Pipeline:
    by_name = {runner.name: runner for runner in runners or (ANY,)}
    pipeline = plan_pipeline(work, MATRIX, by_name, trigger, "0" * 40)
    assert pipeline_of(document(pipeline), "plan.json") == pipeline
    return pipeline


def prospects(pipeline: Pipeline) -> dict[str, str]:
    return {job.id[-1]: job.prospect for job in pipeline.jobs}


def test_jobs_are_in_the_order_of_stages_and_need_only_each_other() -> None:
    jobs = planned(WORK).jobs
    assert [(job.id[-1], job.stage) for job in jobs] == [
        *(("3", "compile"), ("6", "compile"), ("4", "test"), ("5", "test")),
    ]
    assert [job.needs for job in jobs] == [(), (COMPILE.id,), (COMPILE.id,), (COMPILE.id,)]
    assert {job.reason for job in jobs} == {"every cell"}
    assert jobs[2].name == f"test own {CELL}"
    assert (jobs[2].library, jobs[2].cell, jobs[2].tier) == ("own", CELL, "pr")


def test_a_result_on_record_is_reused_and_nothing_is_compiled_for_it() -> None:
    pipeline = planned(replace(WORK, reused={TEST.id, STEP.id, LIKE.id}))
    assert prospects(pipeline) == {"4": "reused", "5": "reused", "6": "reused"}
    assert {job.reason for job in pipeline.jobs} == {"it passed with the same inputs"}
    assert pipeline.saved == 60 + 30 + 20 + 10
    pipeline = planned(replace(WORK, reused={TEST.id}))
    assert prospects(pipeline) == {"3": "to do", "4": "reused", "5": "to do", "6": "to do"}
    assert pipeline.saved == 30
    (test,) = (job for job in pipeline.jobs if job.kind == "test")
    assert test.needs == (COMPILE.id,)


def test_what_no_change_affects_has_no_jobs_except_what_others_need() -> None:
    affected = {("other", CELL): "`other/a.cu` changed"}
    pipeline = planned(replace(WORK, affected=affected))
    assert [(job.id[-1], job.reason) for job in pipeline.jobs] == [
        ("3", "what needs it is affected"),
        ("6", "`other/a.cu` changed"),
    ]
    assert pipeline.saved == 30 + 20
    nothing = planned(replace(WORK, affected={}), trigger=Trigger(base="main"))
    assert nothing.emptiness == "no change since `main` affects what is selected"
    assert (nothing.jobs, nothing.saved) == ((), 60 + 30 + 20 + 10)


def test_a_plan_has_a_base_only_if_something_was_compared_with_it() -> None:
    trigger = Trigger("pull_request", base="main")
    assert planned(replace(WORK, affected={("own", CELL): "why"}), trigger=trigger).trigger.base
    assert planned(WORK, trigger=trigger).trigger.base is None
    nothing = planned(replace(WORK, goals=(), affected={}), trigger=trigger)
    assert (nothing.jobs, nothing.trigger.base) == ((), None)
    assert nothing.emptiness == "no selected library has a job in a selected cell"


def with_job(job: Job) -> Work:
    return replace(WORK, graph=Graph({**WORK.graph.jobs, job.id: job}))


def test_a_job_without_a_class_is_skipped_with_the_reason_and_nothing_is_compiled() -> None:
    work = replace(
        with_job(replace(TEST, requirement=Requirement(gpu=("h100",)))), goals=(TEST.id,)
    )
    (job,) = planned(work).jobs
    assert (job.prospect, job.runner) == ("skipped", "")
    assert job.reason == "needs h100: no class of runners has that"
    pipeline = planned(work, ANY, H100)
    assert [(job.kind, job.runner) for job in pipeline.jobs] == [
        ("compile", "any"),
        ("test", "h100"),
    ]


def test_what_needs_a_compilation_that_fits_no_class_is_skipped() -> None:
    work = with_job(replace(COMPILE, resources=Resources(1, 100 * GB)))
    small = Runner("small", "amd64", memory=64 * GB)
    pipeline = planned(work, small)
    assert prospects(pipeline) == {"4": "skipped", "5": "skipped", "6": "skipped"}
    reason = "it takes 100000 MB, and no class of runners of amd64 has as much"
    assert {job.reason for job in pipeline.jobs} == {reason}


def test_a_result_on_record_needs_no_machine() -> None:
    work = replace(with_job(ON_H100), goals=(TEST.id,), reused={TEST.id})
    assert prospects(planned(work)) == {"4": "reused"}


def test_images_that_are_not_published_are_made_once_where_that_is_allowed() -> None:
    pipeline = planned(replace(WORK, makes_images=True))
    image = pipeline.jobs[0]
    assert (image.kind, image.stage, image.library) == ("image", "images", "")
    assert (image.cell, image.reason) == ("cuda13.5-debian12", "it is not published")
    assert image.images == {"cuda13.5-debian12:devel-amd64": None}
    assert pipeline.jobs[1].needs == (IMAGE.id,)
    published = planned(replace(WORK, makes_images=True, published={IMAGE.id: "sha256:1"}))
    assert [job.kind for job in published.jobs] == ["compile", "compile", "test", "step"]
    assert published.jobs[0].images == {"cuda13.5-debian12:devel-amd64": "sha256:1"}


def test_images_are_made_on_machines_of_their_architecture_or_under_emulation() -> None:
    arm = Job(IMAGE.id, "image", ("cuda13.5-debian12:devel-arm64",))
    work = replace(with_job(arm), makes_images=True)
    assert planned(work).jobs[0].runner == "any"
    assert planned(work, ANY, Runner("arm", "arm64")).jobs[0].runner == "arm"


def test_time_is_limited_by_what_is_recorded_and_by_images_that_have_to_be_built() -> None:
    def minutes(work: Work) -> list[int]:
        return [job.minutes for job in planned(work).jobs if job.kind != "image"]

    assert minutes(WORK) == [63, 63, 63, 63]  # twice 90 s for the image
    published = replace(WORK, published={IMAGE.id: "sha256:1"})
    assert minutes(published) == [60, 60, 60, 60]
    assert minutes(replace(WORK, makes_images=True)) == [60, 60, 60, 60]
    recorded: Recorded = {
        ("compile", "own", CELL): (120.0, 60.0),
        ("test", "own", "another cell"): (300.0,),
    }
    assert minutes(replace(published, recorded=recorded)) == [14, 60, 20, 60]


def test_cells_without_jobs_are_told_with_the_reason() -> None:
    pipeline = planned(replace(WORK, left_out={"cuda13.5-debian12-qnx": "not cross-compiled"}))
    assert pipeline.left_out == {"cuda13.5-debian12-qnx": "not cross-compiled"}
