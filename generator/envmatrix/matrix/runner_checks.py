"""Checks of the classes of machines that run jobs for CI engines."""

from __future__ import annotations

from collections.abc import Iterator

from envmatrix.errors import Problem
from envmatrix.facts.gpus import model_of
from envmatrix.matrix.checks import Source
from envmatrix.matrix.model import Matrix
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line


def runner_problems(source: Source, matrix: Matrix) -> Iterator[Problem]:
    """Yield models of GPUs that do not exist, or that machines of the architecture do not have."""
    models = matrix.facts.gpus
    for name, runner in source.contents.ci.runners.items():
        if runner.gpu is None:
            continue
        place = ("ci", "runners", name, "gpu")
        model = model_of(runner.gpu, models)
        if model is None:
            every = [each for row in models.values() for each in (row.name, *row.aliases)]
            hint = did_you_mean(runner.gpu.lower(), every) or f"known are {', '.join(models)}"
            yield source.problem(f"unknown GPU `{one_line(runner.gpu)}`", place, hint)
        elif runner.arch not in model.arches:
            arches = ", ".join(model.arches)
            message = f"`{model.name}` is in machines of {arches}, not of {runner.arch}"
            yield source.problem(message, place, f"write `arch: {model.arches[0]}`")
