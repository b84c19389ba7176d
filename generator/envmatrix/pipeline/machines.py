"""Which class of runners does a job: the smallest one that it fits. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from envmatrix.errors import ConfigurationError
from envmatrix.facts.gpus import model_of
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import CROSS_HOST, TARGETS, docker_arch
from envmatrix.images.model import can_compile_on, lacks_cross, runs_natively_on
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirement_rules import impossible, suitable_models
from envmatrix.matrix.requirements import Requirement
from envmatrix.pipeline.model import Runner
from envmatrix.pipeline.triggers import Engine
from envmatrix.records import dataclass

_MEGABYTE = 10**6
_NO_GPU = "no class of runners of its architecture has a GPU"


def runners_of(matrix: Matrix, engine: Engine | None) -> Mapping[str, Runner]:
    """Return the classes of runners of an engine, or all of them; raise ConfigurationError where
    an engine has none."""
    runners = {
        name: Runner(
            name,
            docker_arch(row.arch),
            row.gpu_count,
            row.gpu or "",
            (row.memory or 0) * _MEGABYTE,
            row.github or (),
            row.gitlab or (),
            row.jenkins or "",
        )
        for name, row in matrix.runners.items()
        if engine is None or getattr(row, engine) is not None
    }
    if not runners:
        hint = (
            f"write their labels in matrix.yaml: `ci: {{runners: {{x86_64: {{{engine}: ...}}}}}}`"
        )
        raise ConfigurationError(f"no class of runners is for `{engine}`", hint=hint)
    return runners


def host_of(cell: Cell, arches: Collection[str]) -> str:
    """Return the architecture of the machines that do the jobs of a cell, of those that there are:
    its own, or else one that compiles for it."""
    own, crossing = TARGETS[cell.arch].machine, docker_arch(CROSS_HOST)
    for arch in (own or crossing, crossing):
        if arch in arches and can_compile_on(cell, arch) and not lacks_cross(cell, arch):
            return arch
    return crossing


@dataclass(frozen=True, slots=True)
class Machines:
    """The classes of runners for the jobs of a matrix. A class with GPUs does jobs that use none
    only where its architecture has no other class. A choice is a class, or the reason why there is
    none."""

    matrix: Matrix
    runners: Mapping[str, Runner]

    def for_processors(self, host: str, memory: int) -> Runner | str:
        """Return the class for a job that uses no GPU and so many bytes of memory."""
        classes = self._without_use_of_gpus(host)
        if not classes:
            return f"there is no class of runners of {host}"
        return _smallest(row for row in classes if not row.memory or memory <= row.memory) or (
            f"it takes {math.ceil(memory / _MEGABYTE)} MB, and no class of runners of {host} has "
            "as much"
        )

    def for_requirement(
        self, requirement: Requirement, library: Library, cell: Cell, host: str
    ) -> Runner | str:
        """Return the class for what has a requirement in a cell."""
        is_native = runs_natively_on(cell, host)
        if reason := impossible(requirement, library, cell, self.matrix, is_native=is_native):
            return reason
        if not requirement.gpus:
            return self.for_processors(host, 0)
        classes = (row for row in self._with_gpus(host) if _fulfils(row, requirement, self._facts))
        return _smallest(classes) or f"needs {requirement}: no class of runners has that"

    def for_gpu(self, library: Library, cell: Cell, host: str) -> Runner | str:
        """Return the class whose GPU runs a library in a cell."""
        if not runs_natively_on(cell, host):
            return f"programs of `{cell.id}` are emulated on machines of {host}"
        reason = _NO_GPU
        suitable = []
        for row in self._with_gpus(host):
            requirement = Requirement(gpu=(row.gpu,) if row.gpu else ())
            refusal = impossible(requirement, library, cell, self.matrix, is_native=True)
            if refusal is None:
                suitable.append(row)
            reason = refusal or reason
        return _smallest(suitable) or reason

    def uses_gpu(self, library: Library, cell: Cell, host: str, *, of_tests: bool) -> bool:
        """Return whether what requires no machine runs beside a GPU: tests that can use one, where
        there is one, and everything where no class is without."""
        if of_tests and isinstance(self.for_gpu(library, cell, host), Runner):
            return True
        return any(row.gpus for row in self._without_use_of_gpus(host))

    @property
    def _facts(self) -> Facts:
        return self.matrix.facts

    def _of_arch(self, host: str) -> Sequence[Runner]:
        return [row for row in self.runners.values() if row.arch == host]

    def _with_gpus(self, host: str) -> Sequence[Runner]:
        return [row for row in self._of_arch(host) if row.gpus]

    def _without_use_of_gpus(self, host: str) -> Sequence[Runner]:
        classes = self._of_arch(host)
        return [row for row in classes if not row.gpus] or classes


def _smallest(classes: Iterable[Runner]) -> Runner | None:
    """Return the first class with the fewest GPUs, and of those the least memory."""
    return min(classes, key=lambda row: (row.gpus, row.memory or math.inf), default=None)


def _fulfils(runner: Runner, requirement: Requirement, facts: Facts) -> bool:
    """Return whether a class fulfils a requirement, as far as the class says what it has: its
    driver is known once a job runs there."""
    if runner.gpus < requirement.gpus:
        return False
    if not runner.gpu:
        return not (requirement.gpu or requirement.sm or requirement.memory)
    model = model_of(runner.gpu, facts.gpus)
    return model is not None and model in suitable_models(requirement, facts)
