from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envmatrix.images.model import BuildNeeds, Image
from envmatrix.jobs.execution import goals_of
from envmatrix.jobs.expansion import Basis, CellRun, Durations, _Expansion, job_graph
from envmatrix.jobs.model import Graph, Job, Resources
from envmatrix.jobs.schedule import estimate
from envmatrix.matrix.library import (
    Library,
    LibraryBenchmark,
    LibraryBuild,
    LibraryStep,
    LibraryTest,
)
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import find_cell
from envmatrix.matrix.variants import NamedVariant, Variants
from envmatrix.plan.materials import FileSet, ImageParts, Materials

MATRIX = load_matrix(Path(__file__).parents[3])
CELL = find_cell(MATRIX, "cuda13.5-debian12-x86_64")
OTHER = find_cell(MATRIX, "cuda13.5-debian12-aarch64")
DEVEL, RUNTIME = (Image(CELL.environment, flavour, "amd64") for flavour in ("devel", "runtime"))
# Both images are built on one base, with the files of one set; one has those of another as well.
MATERIALS = Materials(
    {
        DEVEL: ImageParts("d" * 64, BuildNeeds(("cuda", "tools"), ("base",))),
        RUNTIME: ImageParts("e" * 64, BuildNeeds(("cuda",), ("base",))),
    },
    {
        "base": FileSet("a" * 64, 30_000_000),
        "cuda": FileSet("b" * 64, 500_000_000),
        "tools": FileSet("c" * 64, 100_000_000),
    },
    {"base": "sha256:1"},
)
BASIS = Basis(MATERIALS, "1.0", Resources(4, 16 << 30, downloads=2), {})
RUN = CellRun(
    Library("ops", test=LibraryTest("ctest")), CELL, DEVEL, RUNTIME, "tree", (), is_emulated=False
)


def graph(*runs: CellRun, basis: Basis = BASIS) -> Graph:
    return job_graph(runs or (RUN,), basis)


def the(kind: str, jobs: Graph, *subject: str) -> Job:
    (job,) = (
        job
        for job in jobs.jobs.values()
        if job.kind == kind and job.subject[: len(subject)] == subject
    )
    return job


def needs_of(job: Job, jobs: Graph) -> set[str]:
    return {str(jobs.jobs[key]) for key in job.needs}


def test_a_test_needs_its_compilation_which_needs_source_and_image() -> None:
    jobs = graph()
    assert needs_of(the("source", jobs), jobs) == set()
    assert needs_of(the("compile", jobs), jobs) == {f"image {DEVEL}", "source ops"}
    assert needs_of(the("test", jobs), jobs) == {f"compile ops {CELL.id}", f"image {RUNTIME}"}


def test_an_image_needs_its_files_and_its_base_which_needs_files_of_its_own() -> None:
    jobs = graph()
    assert needs_of(the("image", jobs, str(DEVEL)), jobs) == {
        *("download cuda", "download tools", "base base"),
    }
    assert needs_of(the("image", jobs, str(RUNTIME)), jobs) == {"download cuda", "base base"}
    assert needs_of(the("base", jobs), jobs) == {"download base"}
    assert needs_of(the("download", jobs, "base"), jobs) == set()


def test_sets_with_the_same_files_are_downloaded_once() -> None:
    sets = {**MATERIALS.sets, "tools": MATERIALS.sets["cuda"]}
    jobs = graph(basis=replace(BASIS, materials=replace(MATERIALS, sets=sets)))
    assert needs_of(the("image", jobs, str(DEVEL)), jobs) == {"download cuda", "base base"}


def test_a_download_takes_the_time_for_its_bytes_and_no_processor() -> None:
    cuda, base = (the("download", graph(), name) for name in ("cuda", "base"))
    assert cuda.seconds == 500_000_000 / 30_000_000 * base.seconds
    assert cuda.resources == Resources(downloads=1)


def test_files_are_downloaded_for_the_next_image_while_one_is_built_and_compiled_in() -> None:
    names = [f"environment{number}" for number in range(3)]
    images = {name: Image(name, "devel", "amd64") for name in names}
    parts = {images[name]: ImageParts(name, BuildNeeds((name,))) for name in names}
    runs = (
        replace(RUN, library=Library(name), compiler=images[name], runtime=None) for name in names
    )
    machine = Resources(2, 16 << 30, downloads=1)
    sets = {name: FileSet(name, 10**9) for name in names}
    jobs = job_graph(runs, replace(BASIS, materials=Materials(parts, sets, {}), machine=machine))
    starts = estimate(jobs, [machine]).starts
    downloads, builds = (
        sorted(starts[job.id] for job in jobs.jobs.values() if job.kind == kind)
        for kind in ("download", "image")
    )
    assert downloads == [0, 100, 200]
    assert builds == [100, 200, 300]


def test_each_job_can_be_repeated_by_a_command() -> None:
    assert the("test", graph()).command == (
        *("envmatrix", "run", "test", CELL.id, "--library", "ops"),
    )


def test_cells_share_sources_and_images() -> None:
    jobs = graph(RUN, replace(RUN, library=replace(RUN.library, name="more")))
    kinds = [job.kind for job in jobs.jobs.values()]
    assert kinds.count("image") == 2
    assert kinds.count("compile") == 2


def without_tests(run: CellRun) -> CellRun:
    return replace(run, library=replace(run.library, test=LibraryTest("none")))


def with_variants(variants: Variants) -> list[CellRun]:
    library = replace(RUN.library, variants=variants)
    return [replace(RUN, library=variant) for variant in library.expanded]


def test_variants_are_compiled_and_tested_apart_from_one_source() -> None:
    variants = Variants(std=("17", "20"), named={"hopper": NamedVariant(sm=("90a",))})
    jobs = graph(*with_variants(variants)).jobs.values()
    names = ["ops", "ops@cxx20", "ops@hopper"]
    for kind in ("compile", "test"):
        assert [job.subject[0] for job in jobs if job.kind == kind] == names
    assert [job.subject for job in jobs if job.kind == "source"] == [("ops",)]
    assert the("test", graph(*with_variants(variants)), "ops@cxx20").command[-1] == "ops@cxx20"


def test_a_default_variant_without_settings_has_the_jobs_of_the_library() -> None:
    plain, named = with_variants(Variants(named={"debug": NamedVariant(build_type=("Debug",))}))
    assert graph(plain).jobs.keys() == graph().jobs.keys()
    renamed = replace(named, library=replace(named.library, name="ops"))
    assert the("compile", graph(renamed)).id != the("compile", graph()).id


def test_the_owner_of_a_library_changes_no_job() -> None:
    owned = replace(RUN, library=replace(RUN.library, owner="ana"))
    assert graph(owned).jobs.keys() == graph().jobs.keys()
    assert owned.library == RUN.library, "nor does it affect a cell"


@pytest.mark.parametrize(
    "jobs",
    [
        graph(without_tests(RUN)),
        graph(replace(RUN, runtime=None)),
    ],
    ids=["no tests", "hardware of its own"],
)
def test_where_nothing_is_tested_there_are_no_tests(jobs: Graph) -> None:
    assert {job.kind for job in jobs.jobs.values()} == {
        *("download", "base", "image", "source", "compile"),
    }


@pytest.mark.parametrize("of_library", [1, 3, 5])
def test_shards_are_jobs_of_one_compilation(of_library: int) -> None:
    run = with_test(LibraryTest("ctest", shards=of_library))
    jobs = graph(run, basis=replace(BASIS, shards=None if of_library == 3 else 3))
    tests = [job for job in jobs.jobs.values() if job.kind == "test"]
    assert [job.subject[-1] for job in tests] == ["1/3", "2/3", "3/3"]
    assert tests[0].command[-1] == "--shard=1/3"
    assert len({job.needs for job in tests}) == 1


def with_build(build: LibraryBuild) -> CellRun:
    return replace(RUN, library=replace(RUN.library, build=build))


def with_test(test: LibraryTest) -> CellRun:
    return replace(RUN, library=replace(RUN.library, test=test))


def with_image(image: Image) -> Basis:
    parts = replace(MATERIALS.images[image], fingerprint="0" * 64)
    return with_materials(images={**MATERIALS.images, image: parts})


def with_materials(**materials: Any) -> Basis:
    return replace(BASIS, materials=replace(MATERIALS, **materials))


@pytest.mark.parametrize(
    ("run", "basis", "kinds"),
    [
        (replace(RUN, source="edited"), BASIS, {"source", "compile", "test"}),
        (RUN, with_image(DEVEL), {"image", "compile", "test"}),
        (RUN, with_image(RUNTIME), {"image", "test"}),
        (RUN, with_materials(layers={"base": "sha256:2"}), {"base"}),
        (
            RUN,
            with_materials(sets={**MATERIALS.sets, "cuda": FileSet("0" * 64, 1)}),
            {"download"},
        ),
        (RUN, replace(BASIS, version="2.0"), {"compile", "test"}),
        (replace(RUN, wheels=("a" * 64,)), BASIS, {"compile", "test"}),
        (replace(RUN, cell=OTHER), BASIS, {"compile", "test"}),
        (with_build(LibraryBuild(options=("-DFAST=1",))), BASIS, {"compile", "test"}),
        (with_build(LibraryBuild(environment={"FAST": "1"})), BASIS, {"compile", "test"}),
        (with_test(LibraryTest("ctest", options=("-V",))), BASIS, {"test"}),
        (with_test(LibraryTest("ctest", retries=2)), BASIS, {"test"}),
        (RUN, replace(BASIS, machine=Resources(64, 1 << 40)), set()),
        (RUN, replace(BASIS, machine=Resources(4, 16 << 30, gpus=1)), {"test"}),
        (RUN, replace(BASIS, durations={("compile", "ops", CELL.id): 1.0}), set()),
    ],
)
def test_a_change_reaches_only_what_is_made_from_it(
    run: CellRun, basis: Basis, kinds: set[str]
) -> None:
    before, after = graph().jobs, graph(run, basis=basis).jobs
    assert {after[key].kind for key in after.keys() - before.keys()} == kinds


def test_durations_are_those_of_the_cell_of_the_library_of_its_default_or_of_the_kind() -> None:
    def seconds(name: str, durations: Durations) -> float:
        run = replace(RUN, library=replace(RUN.library, name=name))
        return the("compile", graph(run, basis=replace(BASIS, durations=durations))).seconds

    durations: Durations = {
        ("compile", "ops", CELL.id): 7.0,
        ("compile", "other", OTHER.id): 40.0,
        ("compile", "other", "elsewhere"): 60.0,
    }
    assert seconds("ops", durations) == 7
    assert seconds("other", durations) == 50
    assert seconds("third", durations) == 40
    assert seconds("ops@cxx20", durations) == 7
    assert seconds("other@cxx20", durations) == 50
    assert seconds("third", {}) > 0


def test_a_compilation_takes_half_the_processors_and_the_memory_of_all_its_compilers() -> None:
    jobs = graph(replace(with_build(LibraryBuild(job_memory=3000)), is_emulated=True))
    assert the("compile", jobs).resources == Resources(2, 12_000_000_000)
    assert the("source", jobs).resources == Resources()


@pytest.mark.parametrize(("builders", "processors"), [(None, 1), (64, 1), (2, 32), (200, 1)])
def test_no_more_images_are_built_at_once_than_their_builder_has_processors(
    builders: int | None, processors: int
) -> None:
    basis = replace(BASIS, machine=Resources(64, 1 << 40), builders=builders)
    takes = {job.resources for job in graph(basis=basis).jobs.values() if job.kind == "image"}
    assert takes == {Resources(processors, 1 << 30)}


def measured(run: CellRun) -> CellRun:
    return replace(run, library=replace(run.library, benchmark=(LibraryBenchmark("bench"),)))


def measurements(*runs: CellRun, basis: Basis = BASIS) -> Graph:
    return job_graph(runs or (measured(RUN),), basis, "perf")


def test_a_measurement_needs_the_compilation_and_the_image_to_run_in() -> None:
    jobs = measurements()
    job = the("measure", jobs)
    assert (job.subject, str(job)) == (("ops", CELL.id), f"measure ops {CELL.id}")
    assert job.command == ("envmatrix", "run", "perf", CELL.id, "--library", "ops")
    assert [jobs.jobs[key].kind for key in job.needs] == ["compile", "image"]
    assert [entry.kind for entry in jobs.jobs.values()].count("image") == 2
    assert the("compile", jobs).id == the("compile", graph(measured(RUN))).id


def test_no_measurement_is_reused_but_its_compilation_is() -> None:
    assert not the("measure", measurements()).is_reusable
    assert the("compile", measurements()).is_reusable


def test_nothing_is_measured_without_a_benchmark_or_a_machine_for_it() -> None:
    assert not measurements(RUN).jobs
    assert not measurements(replace(measured(RUN), runtime=None)).jobs


def test_a_measurement_takes_all_processors_and_gpus() -> None:
    basis = replace(BASIS, machine=Resources(4, 16 << 30, gpus=2))
    assert the("measure", measurements(basis=basis)).resources == Resources(4, 0, 2)


def test_while_a_measurement_runs_nothing_else_does() -> None:
    other = measured(replace(RUN, library=replace(RUN.library, name="more")))
    jobs = measurements(measured(RUN), other)
    starts = estimate(jobs, [BASIS.machine]).starts
    times = {key: (start, start + jobs.jobs[key].seconds) for key, start in starts.items()}
    for job in jobs.jobs.values():
        if job.kind == "measure":
            start, end = times.pop(job.id)
            assert all(second <= start or first >= end for first, second in times.values())


def test_the_expected_time_of_a_measurement_is_its_own() -> None:
    durations: Durations = {("measure", "ops", CELL.id): 7.0, ("test", "ops", CELL.id): 9.0}
    jobs = measurements(basis=replace(BASIS, durations=durations))
    assert the("measure", jobs).seconds == 7


def test_a_verb_that_compiles_has_no_jobs_that_test() -> None:
    jobs = job_graph([RUN], BASIS, "compile")
    materials = {"download", "base", "image", "source"}
    assert {job.kind for job in jobs.jobs.values()} == {*materials, "compile"}


def test_a_test_takes_half_the_machine_and_all_gpus_but_one_processor_under_emulation() -> None:
    basis = replace(BASIS, machine=Resources(4, 16 << 30, gpus=2))
    emulated = replace(RUN, is_emulated=True)
    assert the("test", graph(basis=basis)).resources == Resources(2, 8 << 30, 2)
    assert the("test", graph(emulated, basis=basis)).resources == Resources(1, 4 << 30, 0)


H100, T4 = Requirement(gpu=("h100",), gpus=2), Requirement(gpu=("t4",))
ON_BOTH = replace(RUN, tested_on=(H100, T4))
NVRTC = LibraryStep(name="nvrtc", commands=("./nvrtc",))
DOCS = LibraryStep(name="docs", commands=("make docs",), after="nothing")


def kinds(jobs: Graph) -> list[str]:
    return [job.kind for job in jobs.jobs.values()]


def test_tests_on_several_machines_share_a_compilation() -> None:
    jobs = graph(ON_BOTH)
    assert (kinds(jobs).count("compile"), kinds(jobs).count("test")) == (1, 2)
    first, second = (the("test", jobs, "ops", CELL.id, name) for name in ("on-h100-2gpus", "on-t4"))
    assert first.needs == second.needs
    assert first.id != second.id != the("test", graph()).id
    assert (first.requirement, second.requirement) == (H100, T4)
    assert str(second) == f"test ops {CELL.id} on-t4"


def test_shards_are_of_each_machine() -> None:
    jobs = graph(ON_BOTH, basis=replace(BASIS, shards=2))
    subjects = {job.subject[2:]: job.shard for job in jobs.jobs.values() if job.kind == "test"}
    assert subjects == {
        ("on-h100-2gpus", "1/2"): "1/2",
        ("on-h100-2gpus", "2/2"): "2/2",
        ("on-t4", "1/2"): "1/2",
        ("on-t4", "2/2"): "2/2",
    }


def test_without_a_machine_in_a_cell_a_library_is_compiled_only() -> None:
    assert "test" not in kinds(graph(replace(RUN, tested_on=())))


def test_a_requirement_is_no_input_of_a_compilation() -> None:
    with_runs_on = replace(RUN.library, test=LibraryTest("ctest", runs_on=(H100,)), steps={})
    assert (
        the("compile", graph(replace(RUN, library=with_runs_on))).id == the("compile", graph()).id
    )


def test_in_a_cluster_a_job_takes_the_gpus_that_it_requires() -> None:
    basis = replace(BASIS, machine=Resources(8, 32 << 30, gpus=4), assigns_gpus=True)
    jobs = graph(ON_BOTH, basis=basis)
    assert the("test", jobs, "ops", CELL.id, "on-h100-2gpus").resources.gpus == 2
    alone = graph(ON_BOTH, basis=replace(basis, assigns_gpus=False))
    assert the("test", alone, "ops", CELL.id, "on-h100-2gpus").resources.gpus == 4


def with_steps(*steps: LibraryStep) -> CellRun:
    library = replace(RUN.library, steps={step.name: step for step in steps})
    return replace(RUN, library=library, steps=tuple((step, (None,)) for step in steps))


def test_a_step_needs_the_compilation_or_the_source_alone() -> None:
    jobs = job_graph([with_steps(NVRTC, DOCS)], BASIS, "step")
    nvrtc, docs = (the("step", jobs, "ops", CELL.id, name) for name in ("nvrtc", "docs"))
    assert needs_of(nvrtc, jobs) == {f"compile ops {CELL.id}", f"image {DEVEL}"}
    assert needs_of(docs, jobs) == {"source ops", f"image {DEVEL}"}
    assert nvrtc.command == ("envmatrix", "run", "step", "nvrtc", CELL.id, "--library", "ops")
    assert "test" not in kinds(jobs)


def test_a_step_needs_what_its_library_needs() -> None:
    run, low = with_steps(NVRTC, DOCS), replace(RUN, library=Library("low"), is_installed=True)
    jobs = job_graph([replace(run, needs=(low,))], BASIS, "step")
    for name in ("nvrtc", "docs"):
        step = the("step", jobs, "ops", CELL.id, name)
        assert f"compile low {CELL.id}" in needs_of(step, jobs)


def test_tests_and_steps_are_the_goals_of_testing() -> None:
    jobs = graph(with_steps(NVRTC, DOCS))
    goals = {jobs.jobs[key].kind for key in goals_of(jobs, "test")}
    assert goals == {"test", "step"}


def test_a_step_has_no_gpu_unless_it_requires_one() -> None:
    run, basis = with_steps(NVRTC), replace(BASIS, machine=Resources(8, 32 << 30, gpus=2))
    assert the("step", job_graph([run], basis, "step")).resources.gpus == 0
    run = replace(run, steps=((NVRTC, (T4,)),))
    job = the("step", job_graph([run], basis, "step"))
    assert (job.subject[2:], job.resources.gpus) == (("nvrtc", "on-t4"), 2)


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        (replace(NVRTC, tier="nightly", cells=("cuda*",), runs_on=(T4,)), True),
        (replace(NVRTC, commands=("./other",)), False),
        (replace(NVRTC, environment={"A": "b"}), False),
    ],
)
def test_a_step_is_another_job_where_what_it_runs_differs(
    changed: LibraryStep, is_same: bool
) -> None:
    first, second = (job_graph([with_steps(step)], BASIS, "step") for step in (NVRTC, changed))
    assert (the("step", first).id == the("step", second).id) == is_same
    assert the("compile", first).id == the("compile", second).id


def test_a_measurement_on_each_machine_is_one_of_its_own() -> None:
    run = replace(measured(RUN), measured_on=(H100, T4))
    jobs = [job for job in measurements(run).jobs.values() if job.kind == "measure"]
    assert [job.subject[2:] for job in jobs] == [("on-h100-2gpus",), ("on-t4",)]


def with_needs() -> tuple[CellRun, CellRun, CellRun]:
    """Return three libraries, of which each needs those before it."""
    low = replace(RUN, library=Library("low"), is_installed=True)
    middle = replace(RUN, library=Library("middle", needs=("low",)), needs=(low,))
    middle = replace(middle, is_installed=True)
    high = replace(RUN, library=Library("high", needs=("middle",)), needs=(low, middle))
    return low, middle, high


def test_a_library_is_compiled_after_all_that_it_needs() -> None:
    jobs = graph(with_needs()[-1])
    compiled = {f"compile {name} {CELL.id}" for name in ("low", "middle")}
    assert needs_of(the("compile", jobs, "high"), jobs) == {
        *compiled,
        *(f"image {DEVEL}", "source high"),
    }
    assert needs_of(the("compile", jobs, "middle"), jobs) >= {f"compile low {CELL.id}"}
    assert needs_of(the("compile", jobs, "low"), jobs) == {f"image {DEVEL}", "source low"}
    kinds = [job.kind for job in jobs.jobs.values()]
    assert (kinds.count("compile"), kinds.count("test"), kinds.count("source")) == (3, 1, 3)


@pytest.mark.parametrize("verb", ["test", "perf"])
def test_what_a_library_needs_is_there_when_it_runs(verb: Any) -> None:
    high = with_needs()[-1]
    high = replace(high, library=replace(high.library, benchmark=(LibraryBenchmark("bench"),)))
    jobs = job_graph([high], BASIS, verb)
    (job,) = (job for job in jobs.jobs.values() if job.kind in ("test", "measure"))
    assert needs_of(job, jobs) == {
        *(f"compile {name} {CELL.id}" for name in ("high", "low", "middle")),
        f"image {RUNTIME}",
    }


def test_analyses_need_compilations_in_their_own_image() -> None:
    jobs = job_graph([with_needs()[-1]], BASIS, "analyse")
    analysis = the("analyse", jobs)
    assert f"compile middle {CELL.id}" in needs_of(analysis, jobs)


def test_a_change_of_what_is_needed_changes_all_that_need_it() -> None:
    low, middle, high = with_needs()
    other = replace(low, source="other tree")
    changed = replace(high, needs=(other, replace(middle, needs=(other,))))
    before, after = graph(high), graph(changed)
    for kind, name in (("compile", "low"), ("compile", "middle"), ("compile", "high")):
        assert the(kind, before, name).id != the(kind, after, name).id
    assert the("test", before, "high").id != the("test", after, "high").id
    assert the("source", before, "high").id == the("source", after, "high").id


def test_long_chains_are_expanded_in_no_time() -> None:
    needs: tuple[CellRun, ...] = ()
    for number in range(60):
        needs += (replace(RUN, library=Library(f"l{number}"), needs=needs),)
    jobs = graph(needs[-1]).jobs.values()
    assert [job.kind for job in jobs].count("compile") == 60


def test_only_a_library_that_is_needed_has_another_id() -> None:
    alone = replace(RUN, library=Library("low"))
    beside = graph(alone, replace(RUN, library=Library("other")))
    assert the("compile", beside, "low").id == the("compile", graph(alone), "low").id
    needed = graph(alone, replace(alone, is_installed=True))
    ids = {job.id for job in needed.jobs.values() if job.kind == "compile"}
    assert len(ids) == 2


def test_ids_do_not_depend_on_keys_that_a_library_does_not_have() -> None:
    assert "needs" not in _texts_of(Library("low"))
    assert "install" not in _texts_of(Library("low"))
    install = Library("low", build=LibraryBuild(install=("make install",)))
    assert "make install" in _texts_of(install)


def _texts_of(library: Library) -> str:
    return _Expansion(BASIS, {}, Resources())._texts(library)[0]
