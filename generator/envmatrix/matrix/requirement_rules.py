"""Rules that decide whether any machine could fulfil a requirement of a library in a cell. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from envmatrix.facts.gpus import GpuModel, model_of
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import TARGETS
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirements import Requirement, bounds_of, is_within

_SM = re.compile(r"([0-9]+)([af]?)")
# By NVIDIA's guide to compatibility; the driver's own libraries are left to it.
_COMPAT_REF = "docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html"


def suitable_models(requirement: Requirement, facts: Facts) -> Sequence[GpuModel]:
    """Return the models that fulfil a requirement, as far as that is known of models."""
    named = [model_of(name, facts.gpus) for name in requirement.gpu]
    models = [model for model in named if model] if named else [*facts.gpus.values()]
    return [
        model
        for model in models
        if is_within(requirement.sm, int(model.sm)) and model.can_have(requirement.memory or 0)
    ]


@lru_cache(maxsize=8)
def capabilities_of(facts: Facts) -> frozenset[int]:
    """Return the compute capabilities that CUDA releases compile for."""
    return frozenset(int(_SM.sub(r"\1", name)) for row in facts.cuda.values() for name in row.sm)


def uses_compat(requirement: Requirement, matrix: Matrix) -> bool:
    """Return whether programs use the forward compatibility that images may have."""
    return matrix.cuda_compat and requirement.compat != "off"


def impossible(
    requirement: Requirement, library: Library, cell: Cell, matrix: Matrix, *, is_native: bool
) -> str | None:
    """Return why no machine can run what has a requirement in a cell, or none that does not run its
    programs natively; None if one can."""
    for verdict in requirement_verdicts(requirement, library, cell, matrix):
        if not verdict.passed:
            return f"needs {requirement}: {verdict.explanation}"
    if not is_native:
        return f"needs {requirement}: programs of `{cell.id}` are emulated on this machine"
    return None


def requirement_verdicts(
    requirement: Requirement, library: Library, cell: Cell, matrix: Matrix
) -> Iterator[Verdict]:
    """Yield the verdicts of rules that concern what a library requires in a cell."""
    if not requirement.gpus:
        return
    facts, target = matrix.facts, TARGETS[cell.arch]
    if library.cuda == "none" or target.cuda is None:
        yield Verdict(
            "cuda", passed=False, explanation="nothing uses a GPU there", ref="targets.py"
        )
        return
    models = suitable_models(requirement, facts)
    yield _of_machine(requirement, models, cell)
    models = [model for model in models if cell.arch in model.arches]
    if (requirement.gpu or requirement.sm) and not library.chooses_sm:
        yield _of_code(requirement, models, library.sm_in(cell), facts)
    if requirement.driver:
        yield _of_driver(requirement, models, cell, matrix)


def _of_machine(requirement: Requirement, models: Sequence[GpuModel], cell: Cell) -> Verdict:
    """Return whether machines of the cell's architecture have such a GPU."""
    if not requirement.gpu:
        return Verdict("machine", passed=True, explanation="any GPU", ref="gpus.yaml")
    names = " or ".join(requirement.gpu)
    for model in models:
        if cell.arch in model.arches:
            return Verdict("machine", passed=True, explanation=names, ref=model.ref)
    arches = sorted({arch for model in models for arch in model.arches})
    explanation = f"{names} is in machines of {', '.join(arches)}, not of {cell.arch}"
    return Verdict("machine", passed=False, explanation=explanation, ref="gpus.yaml")


def _of_code(
    requirement: Requirement, models: Iterable[GpuModel], code: Sequence[str], facts: Facts
) -> Verdict:
    """Return whether a GPU that fulfils a requirement runs code for these GPU architectures."""
    capabilities = {int(model.sm) for model in models}
    if not requirement.gpu:
        compiled = capabilities_of(facts)
        capabilities |= {number for number in compiled if is_within(requirement.sm, number)}
    built, names = ", ".join(code), ", ".join(map(str, sorted(capabilities)))
    if not capabilities or any(runs_on(code, number) for number in capabilities):
        return Verdict("code", passed=True, explanation=f"compiled for {built}", ref="gpus.yaml")
    of_models = f" ({' or '.join(requirement.gpu)})" if requirement.gpu else ""
    explanation = f"compiled for {built}, which has nothing that runs on {names}{of_models}"
    return Verdict("code", passed=False, explanation=explanation, ref="gpus.yaml")


def runs_on(code: Iterable[str], capability: int) -> bool:
    """Return whether a GPU runs code for GPU architectures: its machine code within a major, or
    PTX of an older one, but that of `90a` on its own and of `100f` in its family alone."""
    for name in code:
        if match := _SM.fullmatch(name):
            number, kind = int(match[1]), match[2]
            is_family = capability // 10 == number // 10
            if number == capability or (
                number < capability and (not kind or (kind == "f" and is_family))
            ):
                return True
    return False


def _of_driver(
    requirement: Requirement, models: Sequence[GpuModel], cell: Cell, matrix: Matrix
) -> Verdict:
    """Return whether the CUDA of a cell runs with a driver of the required branch."""
    release = matrix.facts.release(cell.cuda)
    assert release is not None  # noqa: S101 -- a cell has one
    least = int(release.driver.minimum.split(".")[0])
    branch, is_least = bounds_of(str(requirement.driver))
    text, ref = f"CUDA {cell.cuda} needs branch {least} or later", release.driver.ref
    if branch >= least or is_least:
        return Verdict("driver", passed=True, explanation=text, ref=ref)
    if not uses_compat(requirement, matrix):
        hint = "" if matrix.cuda_compat else "; `policy: {cuda_compat: on}` is off"
        explanation = f"{text}, without forward compatibility{hint}, not {branch}"
        return Verdict("driver", passed=False, explanation=explanation, ref=ref)
    passed = any(model.compat == "on" for model in models)
    explanation = f"{text}; forward compatibility"
    if not passed:
        explanation += f" is not for {' or '.join(requirement.gpu)}"
    return Verdict("driver", passed=passed, explanation=explanation, ref=_COMPAT_REF)
