"""Analyses a library in its cell: makes the builds that analysers need, and compares their
findings with the baseline."""

from __future__ import annotations

import json
from dataclasses import field, replace

from envmatrix.engine.tasks import Gpus
from envmatrix.records import dataclass
from envmatrix.sessions.analysis.analysers import ANALYSERS
from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Examination
from envmatrix.sessions.analysis.baselines import Baseline, load_baseline, save_baseline
from envmatrix.sessions.analysis.findings import Finding, compare_findings, sarif
from envmatrix.sessions.compilation import compile_library
from envmatrix.sessions.context import Instrumentation
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner

SARIF = "analysis.sarif"


@dataclass
class Analysis:
    """Examinations of a library by kind of analysis. `runner` builds it without instrumentation, in
    the image that has the analysers."""

    runner: Runner
    gpus: Gpus | None
    baseline: Baseline
    examinations: dict[str, Examination] = field(default_factory=dict)
    _builds: dict[str, AnalysedBuild] = field(default_factory=dict)

    @classmethod
    def of(cls, runner: Runner, gpus: Gpus | None) -> Analysis:
        context = runner.context
        baseline = load_baseline(context.root, context.library.name, context.cell.id)
        return cls(runner, gpus, baseline)

    def examine(self, kind: str) -> None:
        """Run one kind of analysis; Skipped where this machine or library does not support it."""
        analyser = ANALYSERS[kind]
        analyser.check(self.runner.context, self.gpus)
        build = self._build(analyser.instrumentation)
        self.examinations[kind] = Examination()  # also where it fails: what it dumped is accepted
        self.examinations[kind] = analyser.examine(build)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(item for done in self.examinations.values() for item in done.measurements)

    def compare_with_baseline(self) -> tuple[Finding, ...]:
        """Return all findings, marked as new or known to the baseline, and write them as SARIF
        beside the logs."""
        context = self.runner.context
        examinations = self.examinations.values()
        findings = compare_findings(
            [finding for examination in examinations for finding in examination.findings],
            self.baseline.findings,
        )
        document = sarif(findings, context.library.path if not context.library.source else "")
        file = context.directory / SARIF
        file.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return findings

    def accept(self) -> None:
        """Save the results as the baseline; what was not examined keeps its old baseline."""
        context = self.runner.context
        baseline = self.baseline
        for kind, examination in self.examinations.items():
            analyser = ANALYSERS[kind]
            findings = () if analyser.has_own_baseline else examination.findings
            baseline = baseline.updated(findings, examination.accepted)
            analyser.accept(self._builds[analyser.instrumentation.name])
        save_baseline(context.root, context.library.name, context.cell.id, baseline)

    def _build(self, instrumentation: Instrumentation) -> AnalysedBuild:
        """Build with an instrumentation once."""
        if instrumentation.name not in self._builds:
            runner = replace(
                self.runner, context=replace(self.runner.context, instrumentation=instrumentation)
            )
            products = compile_library(runner)
            self._builds[instrumentation.name] = AnalysedBuild(
                runner, products, self.gpus, self.baseline
            )
        return self._builds[instrumentation.name]
