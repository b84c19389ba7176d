"""Analyse the libraries of a cell, and compare the findings with their baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from envmatrix.app.cell_session import CellSession
from envmatrix.app.library_runs import gpus_of, run_each_library
from envmatrix.app.places import THIS_MACHINE
from envmatrix.console import Console
from envmatrix.errors import Cancelled, EnvmatrixError
from envmatrix.records import dataclass
from envmatrix.results.recorder import Recorder
from envmatrix.sessions.analysis.analysers import ANALYSERS
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.analysis.running import SARIF, Analysis
from envmatrix.sessions.failures import Skipped, StepFailed
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner

# The default kinds of analysis, which apply to every library.
DEFAULT_KINDS = tuple(kind for kind, analyser in ANALYSERS.items() if analyser.is_default)


@dataclass(frozen=True, slots=True)
class AnalysisReport:
    """The results of the analysis of a library; `sarif` is the file with all findings."""

    measurements: Sequence[Measurement]
    findings: Sequence[Finding]
    sarif: Path

    @property
    def new(self) -> Sequence[Finding]:
        return [finding for finding in self.findings if finding.is_new]


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """The kinds of analysis to run, and whether their findings become the baseline."""

    kinds: Sequence[str] = DEFAULT_KINDS
    updates_baseline: bool = False


def analyse_libraries(
    session: CellSession,
    kinds: Sequence[str],
    show: Callable[[AnalysisReport], None],
    *,
    update_baseline: bool,
) -> int:
    """Analyse each library, and show its report; return the exit code. A finding that is not in
    the baseline is a failure, unless the baseline is updated."""

    chosen = AnalysisOptions(kinds or DEFAULT_KINDS, updates_baseline=update_baseline)
    analyse = partial(analyse_recorded, chosen)
    return run_each_library(session, "analyse", analyse, show)


def analyse_recorded(
    options: AnalysisOptions, runner: Runner, recorder: Recorder
) -> Iterator[AnalysisReport]:
    """Analyse a library; record its findings, and yield the report."""
    context = runner.context
    analysis = Analysis.of(runner, gpus_of(THIS_MACHINE, context))
    failures = _examine_all(analysis, options.kinds, runner.console)
    recorder.journal.write(*analysis.measurements)
    findings = analysis.compare_with_baseline()
    recorder.journal.write(*findings)
    if options.updates_baseline:
        analysis.accept()
    report = AnalysisReport(analysis.measurements, findings, context.directory / SARIF)
    yield report
    if failures:
        raise failures[0]
    if report.new and not options.updates_baseline:
        where = f"`{context.library.name}` in `{context.cell.id}`"
        message = f"{len(report.new)} new findings in {where}"
        hint = "mend them, or accept them: `--update-baseline`"
        raise StepFailed(1, "product", message, hint, ())


def _examine_all(
    analysis: Analysis, kinds: Sequence[str], console: Console
) -> list[EnvmatrixError]:
    """Run every kind of analysis, even if one fails; return the failures."""
    failures = []
    for kind in kinds:
        try:
            analysis.examine(kind)
        except Skipped as error:
            console.say(f"skipped  {kind}: {error.message}")
        except Cancelled:
            raise
        except EnvmatrixError as error:
            console.error(error)
            failures.append(error)
    return failures
