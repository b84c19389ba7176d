"""Interface of analysers, and what they examine: a build of a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from envmatrix.engine.tasks import Gpus
from envmatrix.errors import EnvmatrixError
from envmatrix.records import dataclass
from envmatrix.sessions import tasks
from envmatrix.sessions.analysis.baselines import NOTHING, Baseline
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.context import UNINSTRUMENTED, BuildContext, Instrumentation
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import Measurement, TestOutcome
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.testing import Testing, TestRequest

# The build of analysers that read the sources.
STATIC = Instrumentation("static")


@dataclass(frozen=True, slots=True)
class AnalysedBuild:
    """An instrumented build of a library, made in the image with the analysers."""

    runner: Runner
    products: Sequence[Product]
    gpus: Gpus | None
    baseline: Baseline

    @property
    def context(self) -> BuildContext:
        return self.runner.context

    def run_program(
        self, step: str, argv: Sequence[str], error: str, errors: int = ~0
    ) -> tuple[int, Path]:
        """Run a program of an analyser; return its exit code and the log of its output. Raise
        `error` where the exit code has one of the bits `errors`."""
        task = replace(tasks.in_compiler(self.context, argv), directory=self.context.tree)
        completed = self.runner.run(task, step)
        if completed.result.stopped or completed.result.out_of_memory:
            raise self.runner.failure(completed)
        log = self.context.log(step)
        if completed.status & errors:
            raise EnvmatrixError(error, hint=f"the log is {log}")
        return completed.status, log

    def output_of(self, step: str, argv: Sequence[str]) -> str:
        """Run a program of an analyser, which has to succeed; return its standard output."""
        task = replace(tasks.in_compiler(self.context, argv), keeps_stdout=True)
        completed = self.runner.run(task, step)
        self.runner.check(completed)
        return completed.result.stdout

    def run_tests(self) -> Sequence[TestOutcome]:
        library = self.context.library
        if library.tests is None:
            raise Skipped(f"`{library.name}` has no `test` in matrix.yaml")
        return Testing(self.runner, library.tests, self.gpus).run(TestRequest(retries=0)).outcomes

    def require_compile_commands(self, kind: str) -> None:
        with self.context.build.opened() as build:
            if not build.has("compile_commands.json"):
                name = self.context.library.build.system
                raise Skipped(f"{kind} needs compile_commands.json, which `{name}` does not write")


@dataclass(frozen=True, slots=True)
class Examination:
    """Results of an analyser for a build; `accepted` are the sizes and licences that a baseline of
    this build would have."""

    findings: Sequence[Finding] = ()
    measurements: Sequence[Measurement] = ()
    accepted: Baseline = NOTHING


class Analyser(Protocol):
    """An analyser. `instrumentation` is how the library is built for it; `is_default` if it runs
    where none is chosen; `has_own_baseline` if its findings are compared with something else than
    findings."""

    instrumentation: Instrumentation = UNINSTRUMENTED
    is_default: bool = True
    has_own_baseline: bool = False

    def check(self, context: BuildContext, gpus: Gpus | None) -> None:
        """Raise Skipped where this machine or library does not support it."""
        return

    def examine(self, build: AnalysedBuild) -> Examination: ...

    def accept(self, build: AnalysedBuild) -> None:
        """Save what it compares the next build with, unless that is in `Examination.accepted`."""
        return
