"""Examines a library in its cell: builds it as an analyser wants it, and hears what that says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.errors import EnvmatrixError
from envmatrix.files import write_whole
from envmatrix.sessions import analysis, steps
from envmatrix.sessions.analysis import COVERAGE, SANITIZERS, VARIANTS
from envmatrix.sessions.baselines import Baseline, abi_of, load_baseline, save_baseline
from envmatrix.sessions.execution import Execution
from envmatrix.sessions.findings import Finding, compared
from envmatrix.sessions.logs import lines_of
from envmatrix.sessions.outcomes import Artifact, Measurement, TestOutcome
from envmatrix.sessions.runner import Skipped
from envmatrix.sessions.testing import Asked, Testing

if TYPE_CHECKING:
    from docker.types import DeviceRequest

SARIF = "analysis.sarif"
COVERAGE_FILE = "coverage.json"

# What a whole report may have, in bytes.
_LARGEST_REPORT = 1 << 30

# Where ABIs are written, in the build directory.
_ABI = "abi"
# abidiff's bit for a usage or other error; the others say what changed.
_ABIDIFF_ERROR = 3


@dataclass
class Analysis:
    """`plain` builds the library as it is, in the image that has the analysers; what a kind of
    analysis finds is gathered here."""

    plain: Execution
    devices: Sequence[DeviceRequest]
    baseline: Baseline
    found: list[Finding] = field(default_factory=list)
    measured: list[Measurement] = field(default_factory=list)
    tests: list[TestOutcome] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    licences: tuple[str, ...] | None = None
    _built: dict[str, tuple[Execution, tuple[Artifact, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: Execution, devices: Sequence[DeviceRequest]) -> Analysis:
        place = plain.place
        return cls(plain, devices, load_baseline(place.root, place.library.name, place.cell.id))

    def examine(self, kind: str) -> None:
        """Raises Skipped where this cannot be done here."""
        if kind == "compute-sanitizer":
            self._on_a_gpu()
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

    def compared(self) -> tuple[Finding, ...]:
        """All that was found, with what is new to the baseline; as SARIF beside the logs."""
        place = self.plain.place
        known = [its for its in self.found if its.level != "note"]
        found = compared(known, self.baseline.findings)
        document = analysis.sarif(found, place.library.path if not place.library.source else "")
        file = place.directory / SARIF
        file.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return found

    def accept(self) -> None:
        """Make what was found the baseline; of what was not examined the old one stays."""
        place = self.plain.place
        findings = {its.identity for its in self.found if its.tool not in ("size", "abidiff")}
        save_baseline(
            place.root,
            place.library.name,
            place.cell.id,
            Baseline(
                tuple(sorted({*self.baseline.findings, *findings})),
                {**self.baseline.sizes, **self.sizes},
                self.baseline.licences if self.licences is None else self.licences,
            ),
        )
        for artifact in self._shared_libraries() if "" in self._built else ():
            name = artifact.path.name
            with place.build.opened() as build:
                if not build.has(f"{_ABI}/{name}"):
                    continue
                kept = abi_of(place.root, place.library.name, place.cell.id, name)
                write_whole(kept, build.read(f"{_ABI}/{name}"))

    def _building(self, kind: str) -> tuple[Execution, tuple[Artifact, ...]]:
        """The library, built as a kind wants it; once for all that want it so."""
        variant = VARIANTS[kind]
        if variant.name not in self._built:
            runner = self.plain.runner
            place = replace(runner.place, variant=variant)
            execution = Execution(replace(runner, place=place), self.plain.jobs)
            self._built[variant.name] = execution, execution.compile()
        return self._built[variant.name]

    def _program(self, execution: Execution, step: str, argv: Sequence[str]) -> tuple[int, Path]:
        """Run an analyser; how it ended, and the log with what it printed."""
        runner = execution.runner
        spec = steps.compiler(runner.place, argv, directory=runner.place.tree)
        output = runner.output(step, spec, runner.place.library.build.timeout)
        if output.ended.stopped or output.ended.out_of_memory:
            raise runner.failure(output)
        return output.ended.status, runner.place.log(step)

    def _command(self, kind: str, execution: Execution) -> Sequence[str]:
        place = execution.place
        checks = place.source / place.path / ".clang-tidy"
        return analysis.commands(
            kind,
            gcc=place.cell.toolchain.gcc,
            jobs=execution.jobs,
            tree=place.tree,
            has_checks=checks.is_file(),
        )

    def _check_sources(self, kind: str) -> None:
        execution, _ = self._building(kind)
        place = execution.place
        with place.build.opened() as build:
            if not build.has("compile_commands.json"):
                name = place.library.build.system
                raise Skipped(f"{kind} needs compile_commands.json, which `{name}` does not write")
        status, log = self._program(execution, kind, self._command(kind, execution))
        if kind == "cppcheck":
            if status:
                raise EnvmatrixError("Cppcheck failed", hint=f"the log is {log}")
            with place.build.opened() as build:
                report = build.text("cppcheck.xml")
            self.found += analysis.of_cppcheck(report)
            return
        found = list(analysis.of_clang_tidy(lines_of(log)))
        if status and not any(its.level == "error" for its in found):
            raise EnvmatrixError("clang-tidy failed", hint=f"the log is {log}")
        self.found += found

    def _run_tests(self, execution: Execution) -> None:
        tests = execution.place.library.tests
        if tests is None:
            raise Skipped(f"`{execution.place.library.name}` has no `test` in matrix.yaml")
        run = Testing(execution.runner, tests, self.devices).run(Asked(retries=0))
        self.tests += run.outcomes

    def _sanitize(self, kind: str) -> None:
        execution, _ = self._building(kind)
        before = len(self.tests)
        self._run_tests(execution)
        for outcome in self.tests[before:]:
            self.found += analysis.of_sanitizer(kind, outcome.output.splitlines())
        self.found += analysis.of_sanitizer(kind, lines_of(execution.place.log("test")))

    def _on_a_gpu(self) -> None:
        if not self.devices:
            raise Skipped("compute-sanitizer needs a GPU")
        execution, _ = self._building("compute-sanitizer")
        tests = execution.place.library.tests
        if tests is None or tests.framework != "ctest":
            raise Skipped("compute-sanitizer is for libraries with CTest")
        checker = ["--tool", "memcheck", "--target-processes", "all", "--error-exitcode", "1"]
        argv = ["compute-sanitizer", *checker, "ctest", "--test-dir", steps.BUILD]
        place = execution.place
        spec = replace(steps.compiler(place, argv), devices=self.devices)
        output = execution.runner.output("compute-sanitizer", spec, tests.timeout)
        if output.ended.status:
            message = next((line for line in output.lines if "ERROR SUMMARY" in line), "it failed")
            self.found.append(Finding("compute-sanitizer", "memcheck", message, level="error"))

    def _cover(self) -> None:
        execution, _ = self._building("coverage")
        place = execution.place
        with place.build.opened() as build:
            for counts in build.files(["**/*.gcda"]):
                build.remove(counts.name)  # of an earlier run
        self._run_tests(execution)
        runner, command = execution.runner, self._command("coverage", execution)
        spec = replace(steps.compiler(place, command), keeps_stdout=True)
        output = runner.output("coverage", spec, place.library.build.timeout)
        runner.check(output)
        root = place.source / place.path
        trace = analysis.tracefile(
            filter(None, output.ended.stdout.splitlines()), lambda name: (root / name).is_file()
        )
        (place.directory / COVERAGE_FILE).write_text(json.dumps(trace), encoding="utf-8")
        own = place.directory / "coverage"
        self._merge(execution, [place.directory / COVERAGE_FILE], own)
        cells = sorted(place.root.glob(f"build/*/{place.library.name}/{COVERAGE_FILE}"))
        self._merge(execution, cells, place.root / "build/coverage" / place.library.name)
        rate = analysis.line_rate((own / "coverage.xml").read_text(encoding="utf-8"))
        self.measured.append(Measurement(COVERAGE, rate, "%", "higher"))

    def _merge(self, execution: Execution, traces: Sequence[Path], target: Path) -> None:
        """Coverage of one cell or of several together in `target`: Cobertura and HTML."""
        place = execution.place
        with place.build.opened() as build:
            build.remove("merged")
            for number, file in enumerate(traces):
                build.copy(file, f"merged/{number}.json")
        argv = ["sh", "-euc", analysis.MERGE, "sh", f"{steps.BUILD}/merged", place.tree]
        status, log = self._program(execution, "merge-coverage", argv)
        if status:
            raise EnvmatrixError("gcovr cannot merge coverage", hint=f"the log is {log}")
        shutil.rmtree(target, ignore_errors=True)
        with place.build.opened() as build:
            files = [its for its in build.files(["merged/**"]) if not its.name.endswith(".json")]
            if sum(file.size for file in files) > _LARGEST_REPORT:
                raise EnvmatrixError(f"gcovr's report has more than {_LARGEST_REPORT >> 20} MB")
            for made in files:
                copy = target / made.name.removeprefix("merged/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(build.read(made.name))

    def _shared_libraries(self) -> list[Artifact]:
        _, made = self._building("abi")
        return [its for its in made if its.machine and ".so" in its.path.name]

    def _compare_abi(self) -> None:
        execution, _ = self._building("abi")
        place = execution.place
        with place.build.opened() as build:
            build.make_directory(_ABI)
        for artifact in self._shared_libraries():
            name = artifact.path.name
            inside = f"{steps.BUILD}/{artifact.path}"
            fresh = f"{steps.BUILD}/{_ABI}/{name}"
            status, log = self._program(execution, "abi", ["abidw", "--out-file", fresh, inside])
            if status:
                raise EnvmatrixError(f"abidw cannot read `{name}`", hint=f"the log is {log}")
            known = abi_of(place.root, place.library.name, place.cell.id, name)
            if not known.exists():
                continue
            with place.build.opened() as build:
                build.copy(known, f"{_ABI}/{name}.known")
            argv = ["abidiff", f"{fresh}.known", fresh]
            status, log = self._program(execution, "abi", argv)
            if status & _ABIDIFF_ERROR:
                raise EnvmatrixError(f"abidiff cannot compare `{name}`", hint=f"the log is {log}")
            self.found += analysis.of_abidiff(name, lines_of(log))

    def _weigh(self) -> None:
        _, made = self._building("size")
        self.sizes = {its.path.name: its.size for its in made}
        rows = self.sizes.items()
        self.measured += [Measurement(f"size of {name}", size, "B", "lower") for name, size in rows]
        self.found += analysis.of_sizes(self.baseline.sizes, self.sizes)

    def _read_licences(self) -> None:
        execution, made = self._building("licences")
        files = [f"{steps.BUILD}/{its.path}" for its in made if its.machine]
        argv = ["sh", "-c", analysis.LICENCES, "sh", *files]
        runner = execution.runner
        spec = replace(steps.compiler(runner.place, argv), keeps_stdout=True)
        output = runner.output("licences", spec, runner.place.library.build.timeout)
        runner.check(output)
        now: Mapping[str, Sequence[str]] = analysis.linked(output.ended.stdout)
        text = json.dumps(now, indent=2, sort_keys=True)
        (runner.place.directory / "licences.json").write_text(text, encoding="utf-8")
        self.licences = tuple(sorted({its for licences in now.values() for its in licences}))
        self.found += analysis.of_licences(self.baseline.licences, now)
