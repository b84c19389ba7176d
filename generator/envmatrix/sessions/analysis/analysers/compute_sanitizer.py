"""compute-sanitizer: memory errors of GPU code."""

from __future__ import annotations

from dataclasses import replace

from envmatrix.engine.tasks import Gpus
from envmatrix.sessions import tasks
from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.frameworks import FRAMEWORKS

_CHECKER = ("--tool", "memcheck", "--target-processes", "all", "--error-exitcode", "1")


class ComputeSanitizer(Analyser):
    is_default = False

    def check(self, context: BuildContext, gpus: Gpus | None) -> None:
        if gpus is None:
            raise Skipped("compute-sanitizer needs a GPU")
        tests = context.library.tests
        if tests is None or not FRAMEWORKS[tests.framework].tracing_command:
            raise Skipped("compute-sanitizer is for libraries with CTest")

    def examine(self, build: AnalysedBuild) -> Examination:
        tests = build.context.library.tests
        assert tests is not None  # noqa: S101 -- checked before
        argv = ["compute-sanitizer", *_CHECKER, *FRAMEWORKS[tests.framework].tracing_command]
        task = tasks.in_compiler(build.context, argv)
        limits = replace(task.limits, seconds=tests.timeout)
        task = replace(task, gpus=build.gpus, limits=limits)
        completed = build.runner.run(task, "compute-sanitizer")
        if not completed.status:
            return Examination()
        message = next((line for line in completed.lines if "ERROR SUMMARY" in line), "it failed")
        return Examination([Finding("compute-sanitizer", "memcheck", message, level="error")])
