"""Analyses a library in its cell: builds the variant that an analyser needs, and collects
findings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.errors import EnvmatrixError
from envmatrix.files import write_whole
from envmatrix.sessions import steps
from envmatrix.sessions.analysis import analysers
from envmatrix.sessions.analysis.analysers import COVERAGE, SANITIZERS, VARIANTS
from envmatrix.sessions.analysis.baselines import Baseline, abi_of, load_baseline, save_baseline
from envmatrix.sessions.analysis.findings import Finding, compare_findings
from envmatrix.sessions.execution import Execution
from envmatrix.sessions.logs import lines_of
from envmatrix.sessions.outcomes import Artifact, Measurement, TestOutcome
from envmatrix.sessions.runner import Skipped
from envmatrix.sessions.testing import Testing, TestRequest

if TYPE_CHECKING:
    from docker.types import DeviceRequest

SARIF = "analysis.sarif"
COVERAGE_FILE = "coverage.json"

# Largest coverage report, in bytes.
_LARGEST_REPORT = 1 << 30

# Where ABIs are written, in the build directory.
_ABI = "abi"
# abidiff's bit for a usage or other error; the others say what changed.
_ABIDIFF_ERROR = 3


@dataclass
class Analysis:
    """Findings, measurements and sizes of a library, gathered by kind of analysis. `plain` builds
    the library without a variant, in the image that has the analysers."""

    plain: Execution
    devices: Sequence[DeviceRequest]
    baseline: Baseline
    findings: list[Finding] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    tests: list[TestOutcome] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    licences: tuple[str, ...] | None = None
    _built: dict[str, tuple[Execution, tuple[Artifact, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: Execution, devices: Sequence[DeviceRequest]) -> Analysis:
        context = plain.context
        return cls(
            plain, devices, load_baseline(context.root, context.library.name, context.cell.id)
        )

    def examine(self, kind: str) -> None:
        """Run one kind of analysis; Skipped where this machine or library does not support it."""
        if kind == "compute-sanitizer":
            self._check_on_gpu()
        elif kind in SANITIZERS:
            self._sanitize(kind)
        elif kind == "coverage":
            self._cover()
        elif kind == "abi":
            self._compare_abi()
        elif kind == "size":
            self._weigh()
        elif kind == "licences":
            self._read_licences()
        else:
            self._check_sources(kind)

    def compare_with_baseline(self) -> tuple[Finding, ...]:
        """Return all findings, marked as new or known to the baseline, and write them as SARIF
        beside the logs."""
        context = self.plain.context
        relevant = [finding for finding in self.findings if finding.level != "note"]
        findings = compare_findings(relevant, self.baseline.findings)
        document = analysers.sarif(
            findings, context.library.path if not context.library.source else ""
        )
        file = context.directory / SARIF
        file.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return findings

    def accept(self) -> None:
        """Save the results as the baseline; what was not examined keeps its old baseline."""
        context = self.plain.context
        findings = {
            finding.identity for finding in self.findings if finding.tool not in ("size", "abidiff")
        }
        save_baseline(
            context.root,
            context.library.name,
            context.cell.id,
            Baseline(
                tuple(sorted({*self.baseline.findings, *findings})),
                {**self.baseline.sizes, **self.sizes},
                self.baseline.licences if self.licences is None else self.licences,
            ),
        )
        for artifact in self._shared_libraries() if "" in self._built else ():
            name = artifact.path.name
            with context.build.opened() as build:
                if not build.has(f"{_ABI}/{name}"):
                    continue
                baseline_file = abi_of(context.root, context.library.name, context.cell.id, name)
                write_whole(baseline_file, build.read(f"{_ABI}/{name}"))

    def _build(self, kind: str) -> tuple[Execution, tuple[Artifact, ...]]:
        """Build the variant of an analysis once, and return it with its artifacts."""
        variant = VARIANTS[kind]
        if variant.name not in self._built:
            runner = self.plain.runner
            context = replace(runner.context, variant=variant)
            execution = Execution(replace(runner, context=context), self.plain.jobs)
            self._built[variant.name] = execution, execution.compile()
        return self._built[variant.name]

    def _run_program(
        self, execution: Execution, step: str, argv: Sequence[str]
    ) -> tuple[int, Path]:
        """Run an analyser; return its exit code and the log of its output."""
        runner = execution.runner
        spec = steps.compiler(runner.context, argv, directory=runner.context.tree)
        output = runner.output(step, spec, runner.context.library.build.timeout)
        if output.ended.stopped or output.ended.out_of_memory:
            raise runner.failure(output)
        return output.ended.status, runner.context.log(step)

    def _command(self, kind: str, execution: Execution) -> Sequence[str]:
        context = execution.context
        checks = context.source / context.path / ".clang-tidy"
        return analysers.analysis_command(
            kind,
            gcc=context.cell.toolchain.gcc,
            jobs=execution.jobs,
            tree=context.tree,
            has_checks=checks.is_file(),
        )

    def _check_sources(self, kind: str) -> None:
        execution, _ = self._build(kind)
        context = execution.context
        with context.build.opened() as build:
            if not build.has("compile_commands.json"):
                name = context.library.build.system
                raise Skipped(f"{kind} needs compile_commands.json, which `{name}` does not write")
        status, log = self._run_program(execution, kind, self._command(kind, execution))
        if kind == "cppcheck":
            if status:
                raise EnvmatrixError("Cppcheck failed", hint=f"the log is {log}")
            with context.build.opened() as build:
                report = build.text("cppcheck.xml")
            self.findings += analysers.of_cppcheck(report)
            return
        findings = list(analysers.of_clang_tidy(lines_of(log)))
        if status and not any(finding.level == "error" for finding in findings):
            raise EnvmatrixError("clang-tidy failed", hint=f"the log is {log}")
        self.findings += findings

    def _run_tests(self, execution: Execution) -> None:
        tests = execution.context.library.tests
        if tests is None:
            raise Skipped(f"`{execution.context.library.name}` has no `test` in matrix.yaml")
        run = Testing(execution.runner, tests, self.devices).run(TestRequest(retries=0))
        self.tests += run.outcomes

    def _sanitize(self, kind: str) -> None:
        execution, _ = self._build(kind)
        first = len(self.tests)
        self._run_tests(execution)
        for outcome in self.tests[first:]:
            self.findings += analysers.of_sanitizer(kind, outcome.output.splitlines())
        self.findings += analysers.of_sanitizer(kind, lines_of(execution.context.log("test")))

    def _check_on_gpu(self) -> None:
        if not self.devices:
            raise Skipped("compute-sanitizer needs a GPU")
        execution, _ = self._build("compute-sanitizer")
        tests = execution.context.library.tests
        if tests is None or tests.framework != "ctest":
            raise Skipped("compute-sanitizer is for libraries with CTest")
        checker = ["--tool", "memcheck", "--target-processes", "all", "--error-exitcode", "1"]
        argv = ["compute-sanitizer", *checker, "ctest", "--test-dir", steps.BUILD]
        context = execution.context
        spec = replace(steps.compiler(context, argv), devices=self.devices)
        output = execution.runner.output("compute-sanitizer", spec, tests.timeout)
        if output.ended.status:
            message = next((line for line in output.lines if "ERROR SUMMARY" in line), "it failed")
            self.findings.append(Finding("compute-sanitizer", "memcheck", message, level="error"))

    def _cover(self) -> None:
        execution, _ = self._build("coverage")
        context = execution.context
        with context.build.opened() as build:
            for counts in build.files(["**/*.gcda"]):
                build.remove(counts.name)  # of an earlier run
        self._run_tests(execution)
        runner, command = execution.runner, self._command("coverage", execution)
        spec = replace(steps.compiler(context, command), keeps_stdout=True)
        output = runner.output("coverage", spec, context.library.build.timeout)
        runner.check(output)
        root = context.source / context.path
        trace = analysers.tracefile(
            filter(None, output.ended.stdout.splitlines()), lambda name: (root / name).is_file()
        )
        (context.directory / COVERAGE_FILE).write_text(json.dumps(trace), encoding="utf-8")
        target = context.directory / "coverage"
        self._merge(execution, [context.directory / COVERAGE_FILE], target)
        cells = sorted(context.root.glob(f"build/*/{context.library.name}/{COVERAGE_FILE}"))
        self._merge(execution, cells, context.root / "build/coverage" / context.library.name)
        rate = analysers.line_rate((target / "coverage.xml").read_text(encoding="utf-8"))
        self.measurements.append(Measurement(COVERAGE, rate, "%", "higher"))

    def _merge(self, execution: Execution, traces: Sequence[Path], target: Path) -> None:
        """Merge the coverage of one or several cells into `target`, as Cobertura and HTML."""
        context = execution.context
        with context.build.opened() as build:
            build.remove("merged")
            for number, file in enumerate(traces):
                build.copy(file, f"merged/{number}.json")
        argv = ["sh", "-euc", analysers.MERGE, "sh", f"{steps.BUILD}/merged", context.tree]
        status, log = self._run_program(execution, "merge-coverage", argv)
        if status:
            raise EnvmatrixError("gcovr cannot merge coverage", hint=f"the log is {log}")
        shutil.rmtree(target, ignore_errors=True)
        with context.build.opened() as build:
            reports = [
                report for report in build.files(["merged/**"]) if not report.name.endswith(".json")
            ]
            if sum(report.size for report in reports) > _LARGEST_REPORT:
                raise EnvmatrixError(f"gcovr's report has more than {_LARGEST_REPORT >> 20} MB")
            for report in reports:
                copy = target / report.name.removeprefix("merged/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(build.read(report.name))

    def _shared_libraries(self) -> list[Artifact]:
        _, artifacts = self._build("abi")
        return [
            artifact for artifact in artifacts if artifact.machine and ".so" in artifact.path.name
        ]

    def _compare_abi(self) -> None:
        execution, _ = self._build("abi")
        context = execution.context
        with context.build.opened() as build:
            build.make_directory(_ABI)
        for artifact in self._shared_libraries():
            name = artifact.path.name
            container_path = f"{steps.BUILD}/{artifact.path}"
            current = f"{steps.BUILD}/{_ABI}/{name}"
            status, log = self._run_program(
                execution, "abi", ["abidw", "--out-file", current, container_path]
            )
            if status:
                raise EnvmatrixError(f"abidw cannot read `{name}`", hint=f"the log is {log}")
            baseline_file = abi_of(context.root, context.library.name, context.cell.id, name)
            if not baseline_file.exists():
                continue
            with context.build.opened() as build:
                build.copy(baseline_file, f"{_ABI}/{name}.known")
            argv = ["abidiff", f"{current}.known", current]
            status, log = self._run_program(execution, "abi", argv)
            if status & _ABIDIFF_ERROR:
                raise EnvmatrixError(f"abidiff cannot compare `{name}`", hint=f"the log is {log}")
            self.findings += analysers.of_abidiff(name, lines_of(log))

    def _weigh(self) -> None:
        _, artifacts = self._build("size")
        self.sizes = {artifact.path.name: artifact.size for artifact in artifacts}
        rows = self.sizes.items()
        self.measurements += [
            Measurement(f"size of {name}", size, "B", "lower") for name, size in rows
        ]
        self.findings += analysers.of_sizes(self.baseline.sizes, self.sizes)

    def _read_licences(self) -> None:
        execution, artifacts = self._build("licences")
        files = [f"{steps.BUILD}/{artifact.path}" for artifact in artifacts if artifact.machine]
        argv = ["sh", "-c", analysers.LICENCES, "sh", *files]
        runner = execution.runner
        spec = replace(steps.compiler(runner.context, argv), keeps_stdout=True)
        output = runner.output("licences", spec, runner.context.library.build.timeout)
        runner.check(output)
        current: Mapping[str, Sequence[str]] = analysers.licences_by_package(output.ended.stdout)
        text = json.dumps(current, indent=2, sort_keys=True)
        (runner.context.directory / "licences.json").write_text(text, encoding="utf-8")
        self.licences = tuple(
            sorted({licence for licences in current.values() for licence in licences})
        )
        self.findings += analysers.of_licences(self.baseline.licences, current)
