"""`envmatrix report`: show results as text, Markdown, JUnit, JSON or a dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from envmatrix.commands import display, options
from envmatrix.console import Console, output, output_document
from envmatrix.text import number_of, one_line


@click.command(epilog="Example: envmatrix report --since origin/main")
@options.select
@options.library
@options.tier
@click.option("--since", metavar="REV|DAY", help="Show what broke since a revision or a day.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "markdown", "junit", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 1 if something fails that is not waived, never ran, or has no valid result.",
)
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="DIR", help="Write the dashboard into DIR."
)
@options.verbosity
def command(
    *,
    patterns: Sequence[str],
    libraries: Sequence[str],
    tier: str | None,
    since: str | None,
    style: str,
    check: bool,
    html: Path | None,
    console: Console,
) -> None:
    """Show the newest result of every library in every cell: failures, since when and whether they
    are waived; flaky tests; what became slower; and what never ran."""
    from envmatrix.app.reports import (  # SQLAlchemy
        compose_report,
        current_revisions,
        scope_of,
        write_dashboard,
    )
    from envmatrix.app.workspace import Workspace
    from envmatrix.results import formats

    printers = {"text": formats.text, "markdown": formats.markdown, "junit": formats.junit}
    workspace = Workspace.here()
    scope = scope_of(workspace, patterns, libraries, since, options.today(), tier)
    if html is not None:
        output(str(write_dashboard(html, workspace, scope, console)))
        return
    report = compose_report(workspace, scope, console)
    if style == "json":
        display.show(formats.document(report), (), as_json=True)
    else:
        show = output if style == "text" else output_document
        show(printers[style](report))
    for library, cell in report.unreadable:
        console.warn(f"no result of `{one_line(library)}` in `{one_line(cell)}` is valid")
    if report.left_out and not report.entries:
        console.warn(f"there is no valid result; {formats.invalid_rows_text(report)}")
    elif not report.entries:
        console.say("nothing has run yet: `envmatrix test`")
    if not check:
        return
    if others := report.of_other_revisions(current_revisions(workspace)):
        text = number_of(others, "result is of another revision", "results are of other revisions")
        console.say(f"{text}: `envmatrix test` runs what changed since")
    if not report.is_good:
        raise click.exceptions.Exit(1)
