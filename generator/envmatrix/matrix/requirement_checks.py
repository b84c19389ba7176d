"""Checks of steps of libraries, and of what they and tests require of machines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from envmatrix.documents import Location
from envmatrix.errors import NothingSelected, Problem
from envmatrix.facts.gpus import GpuModel, model_of
from envmatrix.facts.model import Facts
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.checks import Source, duplicate_problems
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirement_rules import (
    capabilities_of,
    requirement_verdicts,
    suitable_models,
)
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.selection import is_for, select
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line

# Steps that every library has, and other files beside its build directory.
_OWN_STEPS = re.compile("(configure|compile|test|list|perf|junit|shell)(-on-.*)?")
# Of libraries that are installed; its log is the same on all machines.
_INSTALL = "install"
# What names of the files of a step have after its name.
_OF_STEP = re.compile(r"(\.[0-9]+)?(-on-.+)?")
# The keys that require something of GPUs.
_OF_GPUS = ("gpu", "sm", "memory", "driver", "compat")
# The keys to look at where a rule fails, the first that there is.
_KEYS: Mapping[str, Sequence[str]] = {
    "machine": ("gpu",),
    "code": ("gpu", "sm"),
    "driver": ("driver",),
}


def requirement_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    for library in matrix.libraries:
        for keys, requirements in library.requirements.items():
            location = ("libraries", library.name, *keys, "runs_on")
            yield from _duplicates(requirements, matrix.facts)
            for place, requirement in _placed(requirements, source, location):
                problems = [
                    *_value_problems(requirement, matrix, source, place),
                    *_cell_problems(requirement.cells, matrix, source, (*place, "cells")),
                ]
                yield from problems or _impossible(requirement, library, matrix, source, place)


def step_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield steps with the names of others, and steps of variants that do not exist."""
    for library in matrix.libraries:
        place: Location = ("libraries", library.name, "steps")
        for name, step in library.steps.items():
            is_installed = step.runs_on or library.name in matrix.installed
            if _OWN_STEPS.fullmatch(name) or (name == _INSTALL and is_installed):
                position = source.document.key_position(*place, name)
                message = f"envmatrix has a step `{name}` of its own"
                yield Problem(message, position, "choose another name")
            elif other := _step_with_file(name, library):
                position = source.document.key_position(*place, name)
                message = f"step `{name}` would have the files of step `{other}`"
                hint = "names of logs end with a number of the command or with the machine"
                yield Problem(message, position, f"choose another name: {hint}")
            yield from _cell_problems(step.cells, matrix, source, (*place, name, "cells"))
            yield from duplicate_problems(source, (*place, name, "commands"), step.commands)
        for variant, entry in library.variants.named.items():
            where = ("libraries", library.name, "variants", "named", variant, "steps")
            for index, name in enumerate(entry.steps or ()):
                if name not in library.steps:
                    hint = did_you_mean(name, library.steps) or _listed(library.steps)
                    message = f"library `{library.name}` has no step `{name}`"
                    yield source.problem(message, (*where, index), hint)


def _step_with_file(name: str, library: Library) -> str | None:
    """Return another step of a library whose files may have the name of a step: those of its second
    command, or on a machine."""
    others = (other for other in library.steps if name.startswith((f"{other}.", f"{other}-on-")))
    return next((row for row in others if _OF_STEP.fullmatch(name[len(row) :])), None)


def _listed(names: Mapping[str, object]) -> str:
    return f"it has {', '.join(f'`{name}`' for name in names) or 'none'}"


def _placed(
    requirements: Sequence[Requirement], source: Source, location: Location
) -> Iterator[tuple[Location, Requirement]]:
    """Yield each requirement with its location: the only one may stand in place of a list."""
    only = [row.position for row in requirements] == [source.document.position(*location)]
    for index, requirement in enumerate(requirements):
        yield location if only else (*location, index), requirement


def _duplicates(requirements: Sequence[Requirement], facts: Facts) -> Iterator[Problem]:
    """Yield requirements that mean the machines of one before, by whichever names of models."""
    first: dict[str, Requirement] = {}
    for requirement in requirements:
        names = {*_model_names(requirement, facts)}
        other = first.setdefault(replace(requirement, gpu=(*sorted(names),)).label, requirement)
        if other is not requirement:
            message = f"`{requirement.label}` is already listed at {other.position}"
            yield Problem(message, requirement.position, "leave one of them out")


def _model_names(requirement: Requirement, facts: Facts) -> Sequence[str]:
    """Return the models of a requirement, each by its own name if it is known."""
    models = ((model_of(name, facts.gpus), name) for name in requirement.gpu)
    return [model.name if model else name for model, name in models]


def _value_problems(
    requirement: Requirement, matrix: Matrix, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield models and branches that do not exist, and values that contradict each other."""
    facts = matrix.facts
    if not requirement.gpus:
        keys = (key for key in _OF_GPUS if getattr(requirement, key))
        for key in keys:
            hint = "leave it out, or `gpus: 0`"
            yield source.problem(f"`{key}` requires a GPU, `gpus: 0` none", (*location, key), hint)
        return
    yield from duplicate_problems(source, (*location, "gpu"), _model_names(requirement, facts))
    unknown = {
        index: name
        for index, name in enumerate(requirement.gpu)
        if model_of(name, facts.gpus) is None
    }
    every = [name for model in facts.gpus.values() for name in (model.name, *model.aliases)]
    for index, name in unknown.items():
        place: Location = (*location, "gpu", *([index] if len(requirement.gpu) > 1 else []))
        hint = did_you_mean(name.lower(), every) or f"known are {', '.join(facts.gpus)}"
        yield source.problem(f"unknown GPU `{one_line(name)}`", place, hint)
    if unknown:
        return
    capabilities = [*map(str, capabilities_of(facts))]
    least = (requirement.sm or "").removeprefix(">=")
    if least and least not in capabilities:
        hint = _nearest(least, capabilities)
        message = f"no CUDA release compiles for compute capability `{least}`"
        yield source.problem(message, (*location, "sm"), hint)
    else:
        yield from _impossible_values(requirement, facts, source, location)
    branches = [branch for row in facts.cuda.values() if (branch := row.driver.branch)]
    required = (requirement.driver or "").removeprefix(">=")
    if required and required not in branches:
        hint = _nearest(required, branches)
        yield source.problem(f"unknown branch of drivers `{required}`", (*location, "driver"), hint)
    if requirement.compat == "on" and not matrix.cuda_compat:
        hint = "write `policy: {cuda_compat: on}`"
        message = "images have no forward compatibility"
        yield source.problem(message, (*location, "compat"), hint)


def _impossible_values(
    requirement: Requirement, facts: Facts, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield a compute capability or a memory that no model has, as far as that is known."""
    of_sm = suitable_models(replace(requirement, memory=None), facts)
    names = " or ".join(requirement.gpu) or "GPU"
    if requirement.gpu and not of_sm:
        models = suitable_models(Requirement(gpu=requirement.gpu), facts)
        message, hint = f"no {names} has `sm: {requirement.sm}`", _actual(models, "sm")
        yield source.problem(message, (*location, "sm"), hint)
        return
    models = of_sm or [*facts.gpus.values()]
    largest = max(facts.gpus.values(), key=lambda model: model.most_memory or 0)
    is_possible = any(model.can_have(requirement.memory or 0) for model in models)
    if not (is_possible and largest.can_have(requirement.memory or 0)):
        if not requirement.gpu:
            models = [max(models, key=lambda model: model.most_memory or 0)]
            names = f"{names} of compute capability {requirement.sm}" if requirement.sm else names
        message = f"no {names} has `memory: {requirement.memory}`"
        hint = _actual([model for model in models if model.most_memory] or [largest], "memory")
        yield source.problem(message, (*location, "memory"), hint)


def _actual(models: Sequence[GpuModel], key: str) -> str:
    """Return a hint with what models have."""
    values = (model.sm if key == "sm" else f"at most {model.most_memory}" for model in models)
    pairs = (f"{model.name} has {value}" for model, value in zip(models, values, strict=True))
    return ", ".join(dict.fromkeys(pairs))


def _nearest(number: str, others: Iterable[str]) -> str:
    nearest = min(others, key=lambda other: (abs(int(other) - int(number)), int(other)))
    return f"the nearest one is `{nearest}`"


def _cell_problems(
    patterns: Sequence[str], matrix: Matrix, source: Source, location: Location
) -> Iterator[Problem]:
    for index, pattern in enumerate(patterns if matrix.cells else ()):
        try:
            select(matrix, [pattern])
        except NothingSelected as nothing:
            yield source.problem(nothing.message, (*location, index), nothing.hint)


def _impossible(
    requirement: Requirement,
    library: Library,
    matrix: Matrix,
    source: Source,
    location: Location,
) -> Iterator[Problem]:
    """Yield a requirement that no machine fulfils, in no cell of the library."""
    refusals: list[tuple[Cell, Verdict]] = []
    for variant in library.expanded:
        for cell in select(matrix, requirement.cells) if matrix.cells else ():
            if not is_for(variant, cell, matrix):
                continue
            verdicts = requirement_verdicts(requirement, variant, cell, matrix)
            refusal = next((row for row in verdicts if not row.passed), None)
            if refusal is None:
                return
            refusals.append((cell, refusal))
    if refusals:
        # The cells are sorted: the last one has the newest compilers.
        cell, verdict = refusals[-1]
        keys = (key for key in _KEYS.get(verdict.rule, ()) if getattr(requirement, key))
        message = f"no cell of library `{library.name}` can run there: {verdict.explanation}"
        where = (*location, *[*keys][:1])
        yield source.problem(message, where, f"the last one is `{cell.id}`")


def machine_problems(
    requirements: Sequence[Requirement], matrix: Matrix, source: Source, location: Location
) -> Iterator[Problem]:
    """Yield what is wrong with requirements of an entry of `runs`, which says itself for which
    cells and tiers they are."""
    yield from _duplicates(requirements, matrix.facts)
    for place, requirement in _placed(requirements, source, location):
        yield from _value_problems(requirement, matrix, source, place)
        if requirement.cells or requirement.tier != "pr":
            message = "the entry says in which cells and tiers it runs"
            yield Problem(message, requirement.position, "leave `cells` and `tier` out here")
