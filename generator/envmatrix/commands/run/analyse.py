"""`envmatrix run analyse`: analyse libraries, and report new findings."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import click

from envmatrix.app.analysis import DEFAULT_KINDS, AnalysisReport, analyse_libraries
from envmatrix.app.cell_session import open_analysis
from envmatrix.commands import options
from envmatrix.commands.completions import complete_cell
from envmatrix.console import Console, output
from envmatrix.sessions.analysis.analysers import ANALYSERS
from envmatrix.text import one_line

# More findings than these are counted, not shown.
_MOST = 50


@click.command("analyse", epilog="Example: envmatrix run analyse cuda13-x86_64 --only asan")
@click.argument("name", metavar="CELL", shell_complete=complete_cell)
@options.library
@click.option(
    "--only",
    "kinds",
    multiple=True,
    type=click.Choice([*ANALYSERS]),
    help=f"Only this; {', '.join(DEFAULT_KINDS)} by default.",
)
@click.option("--update-baseline", is_flag=True, help="Accept all findings; commit baselines/.")
@click.option("--jobs", "-j", type=click.IntRange(1, 1024), help="Compile N at once.")
@options.verbosity
def command(
    *,
    name: str,
    libraries: Sequence[str],
    kinds: Sequence[str],
    update_baseline: bool,
    jobs: int | None,
    console: Console,
) -> int:
    """Examine the libraries in CELL; fail if a finding is not in the baseline."""
    session = open_analysis(name, libraries, jobs, console)
    return analyse_libraries(session, kinds, _show, update_baseline=update_baseline)


def _show(report: AnalysisReport) -> None:
    for measurement in report.measurements:
        output(f"{measurement.name}: {measurement.value:.4g} {measurement.unit}")
    for finding in report.new[:_MOST]:
        place = f"{one_line(finding.file)}:{finding.line}: " if finding.file else ""
        output(f"{place}{finding.message} [{finding.tool} {finding.rule}]")
    if len(report.new) > _MOST:
        output(f"and {len(report.new) - _MOST} more")
    counts = Counter(finding.tool for finding in report.findings)
    summary = ", ".join(f"{count} of {tool}" for tool, count in sorted(counts.items())) or "nothing"
    output(f"found {summary}; {len(report.new)} new; {os.path.relpath(report.sarif)}")
