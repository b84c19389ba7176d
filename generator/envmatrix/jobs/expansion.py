"""The jobs of libraries in cells: what each is made from, needs and takes. Pure."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from functools import lru_cache
from typing import Literal

from envmatrix.images.contents import content_hash
from envmatrix.images.model import Image
from envmatrix.jobs.model import NOTHING, VERB_OF, Graph, Job, Kind, Resources, Verb
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library, LibraryStep, LibraryTest
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.variants import PLAIN, SEPARATOR
from envmatrix.plan.materials import Materials
from envmatrix.records import dataclass

# Seconds of jobs of which nothing is known.
_DEFAULT_SECONDS: Mapping[Kind, float] = {
    "base": 60.0,
    "image": 120.0,
    "source": 10.0,
    "compile": 60.0,
    "test": 30.0,
    "step": 60.0,
    "analyse": 120.0,
    "measure": 60.0,
}
# More processors than these make few libraries compile faster.
_MOST_PROCESSORS = 8
# Memory of a job that does not compile, in bytes.
_MEMORY = 1 << 30
_MEGABYTE = 10**6
# Bytes that are downloaded in a second.
_BANDWIDTH = 10 * _MEGABYTE

# Durations of earlier jobs in seconds, by kind, library and cell, to which the words that tell the
# job from others there are added.
Durations = Mapping[tuple[Kind, str, str], float]
# Machines that something runs on: that of each requirement, or any.
Machines = tuple[Requirement | None, ...]
_ANY: Machines = (None,)


@dataclass(frozen=True, slots=True)
class CellRun:
    """A library in a cell: the images to compile and to run it in, the identity of its `source`,
    and the sha256 (hex) of its `wheels`. Its tests run under emulation if `is_emulated`. These are
    all inputs if `is_complete`: a licensed SDK, for example, has no identity. `needs` are the
    libraries that it needs in the cell, each after its own needs; `is_installed` if others need it.
    Unless it `is_compiled`, only steps run that need no build. Its tests run on each of the
    machines `tested_on`, its benchmark on those of `measured_on`, and its `steps` each on those
    beside it."""

    library: Library
    cell: Cell
    compiler: Image
    runtime: Image | None
    source: str
    wheels: tuple[str, ...]
    is_emulated: bool
    is_complete: bool = True
    is_compiled: bool = True
    tested_on: Machines = _ANY
    measured_on: Machines = _ANY
    steps: tuple[tuple[LibraryStep, Machines], ...] = ()
    needs: tuple[CellRun, ...] = ()
    is_installed: bool = False


@dataclass(frozen=True, slots=True)
class Basis:
    """What all jobs of a plan are made from: the materials of images, the `version` of envmatrix,
    the machine to run on, durations of earlier jobs, the number of `shards` in which tests run,
    where it is not that of their library, and the identity of the `baselines` that analyses compare
    with. `builders` are the processors that build images, where that is not the machine."""

    materials: Materials
    version: str
    machine: Resources
    durations: Durations
    shards: int | None = None
    baselines: str = ""
    builders: int | None = None
    assigns_gpus: bool = False

    @property
    def image_resources(self) -> Resources:
        """Resources of the job of an image: one builder, as a part of the machine."""
        builders = self.builders or self.machine.processors
        return Resources(max(1, self.machine.processors // max(1, builders)), _MEMORY)


@dataclass(frozen=True, slots=True)
class JobPlan:
    """The jobs, the machine that they are planned for, the cells that it cannot compile for, with
    the reason, and the identities of the sources by library. All of them are in images for analysis
    if it `is_analysis`. `unmet` has the reasons, by job, for which the machine does not have what
    jobs require."""

    graph: Graph
    machine: Resources
    left_out: Sequence[tuple[Cell, str]]
    sources: Mapping[str, str]
    is_analysis: bool = False
    unmet: Mapping[str, str] = field(default_factory=dict)


def job_graph(runs: Iterable[CellRun], basis: Basis, verb: Verb = "test") -> Graph:
    """Return the graph of the jobs of a verb for libraries in cells."""
    # While a library is measured, nothing is fetched.
    fetching = Resources(1) if verb == "perf" else NOTHING
    expansion = _Expansion(basis, _medians(basis.durations), fetching)
    expand = {
        "compile": expansion.compilation,
        "test": expansion.tests_and_steps,
        "step": expansion.steps,
        "analyse": expansion.analysis,
        "perf": expansion.measurement,
    }[verb]
    jobs = [job for run in runs for job in expand(run)]
    return Graph.of([*expansion.shared, *jobs])


def _medians(durations: Durations) -> Mapping[tuple[str, ...], float]:
    """Return the median of durations by kind and library, and by kind."""
    rows: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for (kind, library, _), seconds in durations.items():
        rows[(kind, library)].append(seconds)
        rows[(kind,)].append(seconds)
    return {key: statistics.median(values) for key, values in rows.items()}


@dataclass(frozen=True, slots=True)
class _Expansion:
    """Makes the jobs of libraries in cells; `images`, `sets`, `bases`, `sources`, `needed` and
    `texts` are those that others share, and `fetching` is what it takes to fetch files or a
    source."""

    basis: Basis
    medians: Mapping[tuple[str, ...], float]
    fetching: Resources
    images: dict[Image, Job] = field(default_factory=dict)
    sets: dict[str, Job] = field(default_factory=dict)
    bases: dict[str, Job] = field(default_factory=dict)
    sources: dict[str, Job] = field(default_factory=dict)
    needed: dict[tuple[str, str], Job] = field(default_factory=dict)
    texts: dict[tuple[str, bool], tuple[str, str]] = field(default_factory=dict)

    @property
    def shared(self) -> Iterator[Job]:
        """The jobs that cells share, as far as a library in a cell needs them."""
        rows = (self.sets, self.bases, self.images, self.sources)
        return (job for row in rows for job in row.values())

    def compilation(self, run: CellRun) -> Iterator[Job]:
        """Yield the jobs that compile a library in a cell and what it needs, without those that
        cells share."""
        if run.is_compiled:
            yield from self._needed(run)
            yield self._building(run, "compile")

    def tests_and_steps(self, run: CellRun) -> Iterator[Job]:
        """Yield the jobs that compile and test a library in a cell, and those of its steps."""
        yield from self.tests(run)
        yield from self.steps(run)

    def _needed(self, run: CellRun) -> Sequence[Job]:
        """Return the compilations of what a library needs; each is made once."""
        if not run.needs:
            return ()
        cell, jobs = run.cell.id, list[Job]()
        for need in run.needs:
            key = (need.library.name, cell)
            if key not in self.needed:
                self.needed[key] = self._building(need, "compile")
            jobs.append(self.needed[key])
        return jobs

    def tests(self, run: CellRun) -> Iterator[Job]:
        """Yield the jobs that compile and test a library in a cell."""
        library = run.library
        if not run.is_compiled:
            return
        _, test_text = self._texts(library)
        compilation, needed = self._building(run, "compile"), self._needed(run)
        yield from (*needed, compilation)
        if not library.tests or not run.runtime:
            return
        runtime = self._image(run.runtime, run.cell)
        takes = _testing(self.basis.machine, is_emulated=run.is_emulated)
        shards = self.basis.shards or library.tests.shards
        for machine in run.tested_on:
            of_gpu = _place(machine) or ("on a GPU" if takes.gpus else "")
            for shard in _shards(shards):
                subject = (*compilation.subject, *_words(machine), *shard)
                yield Job(
                    content_hash("test", compilation.id, runtime.id, test_text, of_gpu, *shard),
                    "test",
                    subject,
                    _ids((compilation, runtime, *needed)),
                    self._with_gpus(takes, machine),
                    self._seconds("test", *subject[: len(subject) - len(shard)]) / shards,
                    _command("test", subject, *(f"--shard={text}" for text in shard)),
                    run.is_complete,
                    machine,
                )

    def steps(self, run: CellRun) -> Iterator[Job]:
        """Yield the jobs of the steps of a library in a cell, and of the compilation."""
        for step, machines in run.steps:
            for machine in machines:
                yield from self._step(run, step, machine)

    def _step(self, run: CellRun, step: LibraryStep, machine: Requirement | None) -> Iterator[Job]:
        library = run.library
        build_text, _ = self._texts(library)
        image = run.compiler if step.image == "devel" else run.runtime
        if image is None:
            return
        image_job, needed = self._image(image, run.cell), self._needed(run)
        yield from needed
        if step.after == "compile":
            base = self._building(run, "compile")
            yield base
            inputs: tuple[str, ...] = (base.id, image_job.id)
        else:
            base = self._source(run)
            own = (self.basis.version, run.cell.id, build_text, *run.wheels)
            inputs = (base.id, image_job.id, *own, *(job.id for job in needed))
        text = json.dumps(_identity(step), sort_keys=True)
        takes = _testing(self.basis.machine, is_emulated=image.arch != run.compiler.arch)
        subject = (library.name, run.cell.id, step.name, *_words(machine))
        yield Job(
            content_hash("step", text, _place(machine), *inputs),
            "step",
            subject,
            _ids([base, image_job, *needed]),
            self._with_gpus(takes, machine) if machine else takes._replace(gpus=0),
            self._seconds("step", *subject),
            ("envmatrix", "run", "step", step.name, run.cell.id, "--library", library.name),
            run.is_complete,
            machine,
            step.name,
        )

    def _with_gpus(self, takes: Resources, machine: Requirement | None) -> Resources:
        """Return what a job takes that requires a machine: in a cluster, only its own GPUs."""
        assigns_gpus = machine is not None and self.basis.assigns_gpus
        return takes._replace(gpus=machine.gpus) if machine and assigns_gpus else takes

    def measurement(self, run: CellRun) -> Iterator[Job]:
        """Yield the jobs that compile and measure a library in a cell, if it has a benchmark. Every
        measurement is another sample, so none is reused."""
        if not run.library.benchmark or run.runtime is None:
            return
        subject = (run.library.name, run.cell.id)
        compilation, needed = self._building(run, "compile"), self._needed(run)
        runtime = self._image(run.runtime, run.cell)
        yield from (*needed, compilation)
        for machine in run.measured_on:
            words = (*subject, *_words(machine))
            yield Job(
                content_hash("measure", compilation.id, runtime.id, *_words(machine)),
                "measure",
                words,
                _ids((compilation, runtime, *needed)),
                self._with_gpus(_measuring(self.basis.machine), machine),
                self._seconds("measure", *words),
                _command("measure", words),
                is_reusable=False,
                requirement=machine,
            )

    def analysis(self, run: CellRun) -> Iterator[Job]:
        """Yield the job that analyses a library in a cell, in its `compiler`."""
        _, test_text = self._texts(run.library)
        gpu = "on a GPU" if self.basis.machine.gpus else ""
        yield from self._needed(run)
        yield self._building(run, "analyse", test_text, self.basis.baselines, gpu)

    def _building(self, run: CellRun, kind: Literal["compile", "analyse"], *inputs: str) -> Job:
        """Return the job that builds a source in an image, with these inputs beside."""
        subject, (text, _) = (run.library.name, run.cell.id), self._texts(run.library)
        compiler, source = self._image(run.compiler, run.cell), self._source(run)
        needed = self._needed(run)
        own = (text, *run.library.sm_in(run.cell), compiler.id, source.id, *run.wheels)
        own += (*(["installed"] if run.is_installed else []), *(job.id for job in needed))
        return Job(
            content_hash(kind, self.basis.version, subject[1], *own, *inputs),
            kind,
            subject,
            _ids((compiler, source, *needed)),
            _compiling(run.library.build.job_memory, self.basis.machine),
            self._seconds(kind, *subject),
            _command(kind, subject),
            run.is_complete,
        )

    def _texts(self, library: Library) -> tuple[str, str]:
        """Return the definitions of a library's build and of its tests as text."""
        key = library.name, library.is_only_compiled  # in some cells, with listed runs
        if key not in self.texts:
            build = asdict(replace(library, test=None, cells=(), owner=None, position=None))
            programs = [row.program for row in library.benchmark]
            # One or none has the identity that it always had.
            build["benchmark"] = programs if programs[1:] else next(iter(programs), None)
            # What a compilation does not depend on; cells and wheels are inputs by themselves. A
            # library without variants has the identity of one that cannot have any, and likewise
            # without needs, commands that install it and wheels to publish.
            del build["variants"], build["steps"], build["variant"]["steps"]
            del build["python"], build["image_provides"]
            if not library.needs:
                del build["needs"]
            if not library.build.install:
                del build["build"]["install"]
            if library.build.wheels is None:
                del build["build"]["wheels"]
            if library.variant.sdk is None:
                del build["variant"]["sdk"]
            if library.variant == PLAIN:
                del build["variant"]
            # The images have packages, and sources have archives.
            del build["packages"], build["archives"]
            tests = json.dumps(library.tests and _identity(library.tests), sort_keys=True)
            self.texts[key] = json.dumps(build, sort_keys=True), tests
        return self.texts[key]

    def _image(self, image: Image, cell: Cell) -> Job:
        job = self.images.get(image)
        if job is None:
            parts = self.basis.materials.images[image]
            command = ("envmatrix", "build", "--select", cell.id)
            downloads = [self._download(key, command) for key in parts.needs.sets]
            bases = [self._base(key, command) for key in parts.needs.bases]
            job = self.images[image] = Job(
                image_job_id(parts.fingerprint, image.arch),
                "image",
                (str(image),),
                _ids([*downloads, *bases]),
                self.basis.image_resources,
                self._seconds("image"),
                command,
            )
        return job

    def _base(self, key: str, command: tuple[str, ...]) -> Job:
        """Return the job that makes a base of downloaded packages."""
        if key not in self.bases:
            self.bases[key] = Job(
                content_hash("base", key, self.basis.materials.layers[key]),
                "base",
                (key,),
                (self._download(key, command).id,),
                self.basis.image_resources,
                self._seconds("base"),
                command,
            )
        return self.bases[key]

    def _download(self, key: str, command: tuple[str, ...]) -> Job:
        """Return the job that downloads the files of a set of the lock."""
        if key not in self.sets:
            files = self.basis.materials.sets[key]
            self.sets[key] = Job(
                content_hash("download", files.sha256),
                "download",
                (key,),
                (),
                self.fetching + Resources(downloads=1),
                download_seconds(files.size),
                command,
            )
        return self.sets[key]

    def _source(self, run: CellRun) -> Job:
        name = run.library.declared_name
        if name not in self.sources:
            key = content_hash("source", name, run.source)
            seconds = self._seconds("source")
            self.sources[name] = Job(key, "source", (name,), (), self.fetching, seconds)
        return self.sources[name]

    def _seconds(self, kind: Kind, library: str = "", *words: str) -> float:
        """Return the expected duration of a job: that of the same before, the median of the library
        in other cells, the same of its default variant, that of the kind, or a guess. `words` are
        its cell and what tells it from others there."""
        if not self.basis.durations:
            return _DEFAULT_SECONDS[kind]
        declared, cell = library.partition(SEPARATOR)[0], " ".join(words)
        return (
            self.basis.durations.get((kind, library, cell))
            or self.medians.get((kind, library))
            or self.basis.durations.get((kind, declared, cell))
            or self.medians.get((kind, declared))
            or self.medians.get((kind,))
            or _DEFAULT_SECONDS[kind]
        )


def _identity(table: LibraryTest | LibraryStep) -> dict[str, object]:
    """Return what results of tests or a step depend on, without the machines that they run on."""
    fields = asdict(table)
    for name in ("runs_on", "cells", "tier", "shards"):
        fields.pop(name, None)
    return fields


def _shards(count: int) -> Iterator[tuple[str, ...]]:
    """Yield the word for each shard, if there are several."""
    return ((f"{index}/{count}",) if count > 1 else () for index in range(1, count + 1))


# Thousands of jobs take the same.
@lru_cache
def _compiling(job_memory: int, machine: Resources) -> Resources:
    """Return what a compilation takes: half of the processors, so that others go on while it links,
    with `job_memory` megabytes for each of the compilers that it starts."""
    return Resources(_share(machine), compilers(machine) * job_memory * _MEGABYTE)


def compilers(machine: Resources) -> int:
    """Return how many compilers a compilation starts at once: twice as many as it takes processors,
    which so have work while another compilation configures or links."""
    return max(1, min(machine.processors, 2 * _share(machine)))


@lru_cache
def _testing(machine: Resources, *, is_emulated: bool) -> Resources:
    """Return what tests take: the same part of the memory as of the processors, and natively all
    GPUs, as they cannot be shared."""
    processors = 1 if is_emulated else _share(machine)
    memory = machine.memory * processors // max(1, machine.processors)
    return Resources(processors, max(_MEMORY, memory), 0 if is_emulated else machine.gpus)


def _measuring(machine: Resources) -> Resources:
    """Return what a measurement takes: all processors, so that no other job disturbs it, and all
    GPUs. It may use all memory that is left."""
    return Resources(machine.processors, 0, machine.gpus)


def _share(machine: Resources) -> int:
    return max(1, min(machine.processors // 2, _MOST_PROCESSORS))


def image_job_id(fingerprint: str, arch: str) -> str:
    """Return the id of the job of an image for an architecture (Docker's name)."""
    return content_hash("image", fingerprint, f"linux/{arch}")


def download_seconds(size: int) -> float:
    """Return how long it takes to download so many bytes."""
    return size / _BANDWIDTH


def _ids(jobs: Iterable[Job]) -> tuple[str, ...]:
    """Return the ids of jobs: sets with the same files are one job."""
    return tuple(dict.fromkeys([job.id for job in jobs]))


def _words(machine: Requirement | None) -> tuple[str, ...]:
    """Return the words for a machine in the subject of a job."""
    return (machine.place,) if machine else ()


def _place(machine: Requirement | None) -> str:
    return machine.place if machine else ""


def _command(kind: Kind, subject: tuple[str, ...], *options: str) -> tuple[str, ...]:
    library, cell, *_ = subject
    return ("envmatrix", "run", VERB_OF[kind], cell, "--library", library, *options)
