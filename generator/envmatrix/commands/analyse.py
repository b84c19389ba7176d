"""`envmatrix run analyse`: analyse libraries, and report new findings."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import click

from envmatrix.app.cell_runs import CellOptions, CellSession, gpus_of
from envmatrix.commands import options
from envmatrix.commands.cell_work import for_each
from envmatrix.console import Console, output
from envmatrix.errors import EnvmatrixError
from envmatrix.results.recorder import Recorder
from envmatrix.sessions.analysis.analysers import ANALYSERS
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.analysis.running import SARIF, Analysis
from envmatrix.sessions.failures import Skipped, StepFailed
from envmatrix.sessions.runner import Runner
from envmatrix.text import one_line

# The default kinds of analysis, which apply to every library.
_DEFAULT_KINDS = tuple(kind for kind, analyser in ANALYSERS.items() if analyser.is_default)
# More than these are counted, not shown.
_MOST = 50


@click.command("analyse", epilog="Example: envmatrix run analyse cuda13-x86_64 --only asan")
@click.argument("name", metavar="CELL")
@click.option("--library", metavar="NAME", help="Only this library.")
@click.option(
    "--only",
    "kinds",
    multiple=True,
    type=click.Choice([*ANALYSERS]),
    help=f"Only this; {', '.join(_DEFAULT_KINDS)} by default.",
)
@click.option("--update-baseline", is_flag=True, help="Accept all findings; commit baselines/.")
@click.option("--jobs", "-j", type=click.IntRange(1, 1024), help="Compile N at once.")
@options.verbosity
def command(
    *,
    name: str,
    library: str | None,
    kinds: Sequence[str],
    update_baseline: bool,
    jobs: int | None,
    console: Console,
) -> None:
    """Examine the libraries in CELL; fail if a finding is not in the baseline."""
    session = CellSession.for_analysis(
        CellOptions(name, library, emulate=False, jobs=jobs, memory=None), console
    )

    def analyse(runner: Runner, recorder: Recorder) -> None:
        analysis = Analysis.of(runner, gpus_of(runner.context))
        failures = _examine_all(analysis, kinds or _DEFAULT_KINDS, console)
        recorder.add_measurements(analysis.measurements)
        findings = analysis.compare_with_baseline()
        recorder.add_findings(findings)
        if update_baseline:
            analysis.accept()
        _print(analysis, findings, runner)
        if failures:
            raise failures[0]
        if not update_baseline:
            _require_none([finding for finding in findings if finding.is_new], runner)

    for_each(session, "analyse", analyse)


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
        except EnvmatrixError as error:
            console.error(error)
            failures.append(error)
    return failures


def _print(analysis: Analysis, findings: Sequence[Finding], runner: Runner) -> None:
    for measurement in analysis.measurements:
        output(f"{measurement.name}: {measurement.value:.4g} {measurement.unit}")
    new = [finding for finding in findings if finding.is_new]
    for finding in new[:_MOST]:
        place = f"{one_line(finding.file)}:{finding.line}: " if finding.file else ""
        output(f"{place}{finding.message} [{finding.tool} {finding.rule}]")
    if len(new) > _MOST:
        output(f"and {len(new) - _MOST} more")
    counts = Counter(finding.tool for finding in findings)
    shown = ", ".join(f"{count} of {tool}" for tool, count in sorted(counts.items())) or "nothing"
    sarif = os.path.relpath(runner.context.directory / SARIF)
    output(f"found {shown}; {len(new)} new; {sarif}")


def _require_none(new: Sequence[Finding], runner: Runner) -> None:
    if not new:
        return
    context = runner.context
    raise StepFailed(
        1,
        "product",
        f"{len(new)} new findings in `{context.library.name}` in `{context.cell.id}`",
        "mend them, or accept them: `--update-baseline`",
        (),
    )
