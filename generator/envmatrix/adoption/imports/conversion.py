"""From jobs of another matrix to one of ours: cells, libraries, variants, and what is left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeAlias

from envmatrix.adoption.files import name_of
from envmatrix.adoption.imports.cover import Cell, largest_product
from envmatrix.adoption.imports.jobs import (
    Item,
    Job,
    Remainder,
    Settings,
    bounded,
    brief,
    merged,
)
from envmatrix.adoption.imports.libraries import LibraryJobs, Placed
from envmatrix.adoption.proposal import Proposal
from envmatrix.errors import Position
from envmatrix.facts.cuda import CudnnSupport
from envmatrix.facts.model import Facts
from envmatrix.facts.versions import in_range, version_key
from envmatrix.matrix.cells import ARCHES, AXES, OMITTED, Candidate, sort_key
from envmatrix.matrix.compatibility import Verdict, check
from envmatrix.matrix.scalars import NAME
from envmatrix.records import dataclass

# GPU architectures where the jobs name none; the first one is of every release.
_SM = ("80", "90")
# The order in which systems are tried for jobs that name none.
_DISTRIBUTIONS = ("debian", "ubuntu")
# Twice as many as the largest matrix that was seen.
_MOST_CELLS = 1_000
_MOST_LIBRARIES = 200


@dataclass(frozen=True, slots=True)
class Context:
    """What the conversion depends on beside the jobs: the facts, the components that images have,
    the operating systems for jobs that name none, the name of a library where the file has none,
    and where a library is by our name and the file's, and how it is built, if that is known."""

    facts: Facts
    components: tuple[str, ...]
    systems: tuple[str, ...]
    library: str
    find: Callable[[str], Proposal | None]


# The keys of named variants, by library and the settings of jobs.
NamesOfVariants: TypeAlias = Mapping[tuple[str, Settings], str]


@dataclass(frozen=True, slots=True)
class Outline:
    """A matrix.yaml as values: the `document`, the jobs in it, the number of `jobs` of the file,
    and the keys of named variants."""

    document: Mapping[str, object]
    placed: tuple[Placed, ...]
    jobs: int
    variants: NamesOfVariants


@dataclass(frozen=True, slots=True)
class Conversion:
    """A matrix, None if nothing of the file can be one, and what is left."""

    outline: Outline | None
    remainders: tuple[Remainder, ...]


def convert(items: Iterable[Item], context: Context) -> Conversion:
    """Return the matrix that jobs make, and what is left of them."""
    return _Converter(context).convert([*items])


class _Converter:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._facts = context.facts
        self._rest: list[Remainder] = []
        self._resolved: dict[Candidate, Candidate | Verdict] = {}

    def convert(self, items: Sequence[Item]) -> Conversion:
        self._rest = [item for item in items if isinstance(item, Remainder)]
        jobs = [item for item in items if isinstance(item, Job)]
        count = len(jobs) + sum(row.jobs for row in self._rest)
        names = self._library_names(jobs)
        placed = [
            Placed(job, row, cell, names[job.library])
            for job, row, cell in self._in_cells([*self._with_cuda(jobs)])
        ]
        if not placed:
            return Conversion(None, merged(self._rest))
        document, variants = self._document(placed)
        return Conversion(Outline(document, tuple(placed), count, variants), merged(self._rest))

    def _library_names(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Return our names of the file's libraries, each once."""
        names: dict[str, str] = {}
        for library in dict.fromkeys(job.library for job in jobs):
            is_name = re.fullmatch(NAME, library) is not None
            name = base = library if is_name else name_of(library) or self._context.library
            number = 1
            while name in names.values():
                number += 1
                name = f"{base}-{number}"
            names[library] = name
            bounded(len(names), jobs[0].position, _MOST_LIBRARIES)
        return names

    def _with_cuda(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield the jobs that have CUDA."""
        for job in jobs:
            if "cuda" in job.cell:
                yield replace(job, cell={"cuda_compiler": "nvcc", **job.cell})
            else:
                self._leave_out(job, "job", job.name, "names no CUDA release")

    def _leave_out(
        self, job: Job, key: str, value: str, reason: str, rule: str | None = None
    ) -> None:
        self._rest.append(Remainder(key, (brief(value),), reason, job.position, rule, jobs=1))

    def _note(self, position: Position, key: str, value: str, reason: str) -> None:
        self._rest.append(Remainder(key, (brief(value),), reason, position))

    def _in_cells(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Cell, Candidate]]:
        """Yield jobs with their cells; those that name no system have the one that most can have
        together."""
        for job, options in self._with_system(jobs):
            results = ((candidate, self._resolve(candidate)) for candidate in options)
            chosen = next((row for row in results if isinstance(row[1], Candidate)), None)
            if chosen is None:
                verdict = self._resolve(options[0])
                assert isinstance(verdict, Verdict)  # noqa: S101
                self._leave_out(job, "cell", options[0].id, verdict.explanation, verdict.rule)
                continue
            candidate, cell = chosen
            self._note_differences(job, candidate)
            assert isinstance(cell, Candidate)  # noqa: S101
            yield job, _values(candidate), cell

    def _note_differences(self, job: Job, candidate: Candidate) -> None:
        """Record what a cell has in place of what the file names."""
        if candidate.cuda != job.cell["cuda"]:
            reason = "no source has this patch: the cell has any of the release"
            self._note(job.position, "cuda", job.cell["cuda"], reason)
        cudnn = job.cell.get("cudnn", candidate.cudnn)
        if cudnn != candidate.cudnn:
            reason = f"names no version of two parts: `{candidate.cudnn}` is assumed"
            self._note(job.position, "cudnn", "" if cudnn == "any" else str(cudnn), reason)
        compiler = job.cell.get("compiler")
        if compiler and compiler != getattr(candidate, "compiler", None):
            reason = "the system cannot have it: the cell has its default compiler"
            self._note(job.position, "host compiler", compiler, reason)

    def _with_system(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Candidate]]]:
        """Yield jobs with the candidates that they can be, the most exact first."""
        chosen = self._chosen_systems([job for job in jobs if "os" not in job.cell])
        for job in jobs:
            if system := job.cell.get("os"):
                yield job, [*self._candidates(job, system)]
                continue
            system = chosen[_key(job)]
            reason = "the jobs name no operating system: it is assumed"
            self._note(job.position, "os", system, reason)
            yield job, [*self._candidates(job, system)]

    def _chosen_systems(self, jobs: Sequence[Job]) -> Mapping[Cell, str]:
        """Return a system for each combination of other axes: few, and those tried first."""
        waiting = {_key(job): job for job in jobs}
        if jobs:
            bounded(len(waiting), jobs[0].position, _MOST_CELLS)
        chosen: dict[Cell, str] = {}
        systems = self._context.systems
        while waiting:
            possible = {
                system: [key for key, job in waiting.items() if self._is_possible(job, system)]
                for system in systems
            }
            best = max(systems, key=lambda system: (len(possible[system]), -systems.index(system)))
            keys = possible[best] or [*waiting]
            for key in keys:
                chosen[key] = best
                del waiting[key]
        return chosen

    def _is_possible(self, job: Job, system: str) -> bool:
        return any(
            isinstance(self._resolve(cell), Candidate) for cell in self._candidates(job, system)
        )

    def _candidates(self, job: Job, system: str) -> Iterator[Candidate]:
        """Yield the cell of a job, and those without the patch of CUDA. Where the file names the
        system, its GCC may be another one: that of conda, or of a toolset."""
        cell = {"arch": "x86_64", **job.cell, "os": system}
        release = self._facts.release(cell["cuda"])
        releases = dict.fromkeys((cell["cuda"], *((release.release,) if release else ())))
        compiler = cell.pop("compiler", "default")
        is_exact = "os" not in job.cell or not compiler.startswith("gcc")
        compilers = dict.fromkeys((compiler, *(() if is_exact else ("default",))))
        for name, cuda, cudnn in product(compilers, releases, self._cudnn_versions(cell)):
            yield _candidate({**cell, "compiler": name, "cuda": cuda, "cudnn": cudnn})

    def _cudnn_versions(self, cell: Mapping[str, str]) -> list[str | None]:
        """Return the versions that a cuDNN can be: of a major alone, those that the facts name for
        the CUDA release, the newest first."""
        cudnn = cell.get("cudnn", "none")
        if cudnn == "none":
            return [None]
        if "." in cudnn:
            return [cudnn]
        release = self._facts.release(cell["cuda"])
        keys = (release.release, release.major) if release else ()
        rows = [row for row in self._facts.cudnn.support if row.cuda in keys]
        every = self._facts.cudnn.support
        versions = {
            ".".join(version.split(".")[:2])
            for row in every
            for version in (row.first, row.last)
            if version and (cudnn == "any" or version.split(".")[0] == cudnn)
        }
        fitting = [version for version in versions if any(_covers(row, version) for row in rows)]
        return [*sorted(fitting, key=version_key, reverse=True)] or ["0.0"]

    def _resolve(self, candidate: Candidate) -> Candidate | Verdict:
        """Return the cell that a candidate is, without a compiler that is the default one; or the
        rule that it fails."""
        if candidate not in self._resolved:
            result = check(candidate, self._facts, None, self._context.components)
            if isinstance(result, Verdict):
                self._resolved[candidate] = result
            elif getattr(candidate, "compiler", None) == f"gcc-{result.gcc}":
                default: dict[str, Any] = {"compiler": None}
                self._resolved[candidate] = replace(candidate, **default)
            else:
                self._resolved[candidate] = candidate
        return self._resolved[candidate]

    def _document(
        self, placed: Sequence[Placed]
    ) -> tuple[dict[str, object], Mapping[tuple[str, Settings], str]]:
        # Of rows that are one cell, that with the compiler: `gcc-13`, not `default`.
        rows = {row.cell: row.row for row in sorted(placed, key=lambda row: row.row)}
        cells = sorted(rows, key=sort_key)
        bounded(len(cells), placed[0].job.position, _MOST_CELLS)

        def is_harmless(row: Cell) -> bool:
            cell = self._resolve(_of_values(row))
            return isinstance(cell, Verdict) or cell in rows

        axes = largest_product([rows[cell] for cell in cells], is_harmless)
        on_axes = {self._resolve(_of_values(row)) for row in product(*axes)}
        added = [rows[cell] for cell in cells if cell not in on_axes]
        included = [_row(row) for row in sorted(added, key=_row_key)]
        document: dict[str, object] = {
            "axes": {
                axis: sorted(row, key=_ORDERS[axis])
                for axis, row in zip(AXES, axes, strict=True)
                if row != (OMITTED.get(axis),)
            }
        }
        if included:
            document["include"] = included
        document["sm"] = self._sm(placed, cells)
        libraries: dict[str, object] = {}
        variants: dict[tuple[str, Settings], str] = {}
        for name in dict.fromkeys(row.library for row in placed):
            of_library = [row for row in placed if row.library == name]
            library = LibraryJobs(name, of_library, cells)
            libraries[name] = self._library(library)
            for extra, key in library.named.items():
                variants |= {(name, row.job.settings): key for row in library.extras[extra]}
        document["libraries"] = libraries
        return document, variants

    def _sm(self, placed: Sequence[Placed], cells: Sequence[Candidate]) -> list[str]:
        """Return the GPU architectures of all jobs that a release knows, and one for each release
        that knows none of them."""
        releases = [release for cell in cells if (release := self._facts.release(cell.cuda))]
        of_releases = {name for release in releases for name in release.sm}
        of_jobs = {name: row for row in placed for name in (*row.job.sm, *self._sm_of(row.job))}
        for name in sorted(of_jobs.keys() - of_releases):
            position = of_jobs[name].job.position
            self._note(position, "sm", name, "no CUDA release of the matrix knows it")
        names = {name for name in of_jobs if name in of_releases} or {*_SM} & of_releases
        names |= {release.sm[-1] for release in releases if not names & {*release.sm}}
        return sorted(names, key=lambda name: (int(re.sub(r"\D", "", name)), name))

    def _sm_of(self, job: Job) -> Iterator[str]:
        """Yield the architecture of a job's GPU, where the facts have models."""
        models = getattr(self._facts, "gpus", {})
        if job.machine and not job.sm and (model := models.get(job.machine.gpu)):
            yield model.sm

    def _library(self, library: LibraryJobs) -> dict[str, object]:
        find = self._context.find
        proposal = find(library.rows[0].job.library) or find(library.name)
        if proposal is None:
            reason = "there is no directory of this name: say in `path` where the library is"
            self._note(library.position, "library", library.name, reason)
        elif not proposal.system:
            reason = f"no build system is recognized in `{proposal.path}`: say how in `build`"
            self._note(library.position, "library", library.name, reason)
        entry: dict[str, object] = {"path": proposal.path if proposal else "."}
        build = dict(proposal.build) if proposal else {}
        if library.own_options:
            build["options"] = [*build.get("options", ()), *library.own_options]
        entry |= {"build": build} if build else {}
        test = proposal.test if proposal else None
        if globs := library.globs(library.cells):
            entry["cells"] = globs
        if variants := library.variants():
            entry["variants"] = variants
        if library.machines and test != "none":
            table = test if isinstance(test, Mapping) else {"framework": "ctest"}
            return entry | {"test": {**table, "runs_on": [*library.requirements()]}}
        for machine, rows in library.machines.items():
            reason = "the library has no tests that could need a machine"
            self._note(rows[0].job.position, "gpu", machine.gpu, reason)
        return entry | ({"test": test} if test is not None else {})


def _version_order(value: str) -> tuple[int, ...]:
    return version_key(value) if value[:1].isdigit() else ()


def _compiler_order(value: str) -> tuple[str, int]:
    """Return a sort key: GCC before Clang, from the oldest, after `default`."""
    kind, _, major = value.partition("-")
    return {"gcc": "1", "clang": "2"}.get(kind, ""), int(major or 0)


_ORDERS: Mapping[str, Callable[[str], Any]] = {
    "cuda": _version_order,
    "cudnn": _version_order,
    "os": str,
    "compiler": _compiler_order,
    "cuda_compiler": lambda value: value != OMITTED["cuda_compiler"],
    "python": _version_order,
    "arch": ARCHES.index,
}


def _row_key(row: Cell) -> tuple[Any, ...]:
    return tuple(_ORDERS[axis](value) for axis, value in zip(AXES, row, strict=True))


def systems_to_try(facts: Facts) -> tuple[str, ...]:
    """Return operating systems for jobs that name none, the preferred ones first."""
    ranks = {name: rank for rank, name in enumerate(_DISTRIBUTIONS)}

    def rank(name: str) -> tuple[int, tuple[int, ...]]:
        version = version_key(re.sub(r"[^\d.]", "", name) or "0")
        distribution = facts.os[name].distribution
        return ranks.get(distribution, len(ranks)), tuple(-part for part in version)

    return tuple(sorted(facts.os, key=rank))


def _key(job: Job) -> Cell:
    return tuple(f"{axis}={value}" for axis, value in sorted(job.cell.items()))


def _candidate(cell: Mapping[str, str | None]) -> Candidate:
    values: dict[str, Any] = {
        axis: None if value == OMITTED.get(axis) else value
        for axis, value in cell.items()
        if axis in AXES
    }
    return Candidate(**values)


def _values(cell: Candidate) -> Cell:
    return tuple(getattr(cell, axis) or OMITTED[axis] for axis in AXES)


def _of_values(row: Cell) -> Candidate:
    return _candidate(dict(zip(AXES, row, strict=True)))


def _row(values: Cell) -> dict[str, str]:
    row = dict(zip(AXES, values, strict=True))
    return {axis: value for axis, value in row.items() if value != OMITTED.get(axis)}


def _covers(row: CudnnSupport, version: str) -> bool:
    return in_range(version, row.first, row.last)
