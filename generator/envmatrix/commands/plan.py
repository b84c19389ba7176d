"""`envmatrix plan`: show what `build` would do, and why; or a tier; or the changes since a
revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.commands.completions import complete_library
from envmatrix.console import Console, output_document
from envmatrix.jobs.model import GOALS, Verb
from envmatrix.text import number_of

if TYPE_CHECKING:
    from envmatrix.jobs.budget import Budget
    from envmatrix.matrix.tiers import Choice, TierCells
    from envmatrix.plan.matrix_diff import Change

_MOST_REASONS = 5


@click.command(epilog="Example: envmatrix plan --select 'cuda13*' --json")
@options.cells
@options.tier
@click.option(
    "--diff",
    "revision",
    metavar="REV",
    help="Show the cells that come, go or change since this git revision instead.",
)
@click.option(
    "--jobs", "shows_jobs", is_flag=True, help="Show the jobs of a verb in these cells instead."
)
@click.option(
    "--verb",
    type=click.Choice([*GOALS]),
    default="test",
    show_default=True,
    help="With --jobs: show the jobs of this verb.",
)
@click.option(
    "--library",
    "libraries",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_library,
    help="With --jobs: only this library or variant, NAME@VARIANT; may be given several times.",
)
@click.option(
    "--since",
    metavar="REV",
    help="With --jobs: only what changes since this git revision affect.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 9999),
    help="With --jobs: divide the tests of a library in a cell into N jobs, not as it says.",
)
@click.option(
    "--graph",
    "language",
    type=click.Choice(("mermaid", "graphviz")),
    help="With --jobs: print the graph in this language.",
)
@options.budget
@options.reporting
def command(
    *,
    patterns: Sequence[str],
    tier: str | None,
    revision: str | None,
    shows_jobs: bool,
    verb: Verb,
    libraries: Sequence[str],
    since: str | None,
    shards: int | None,
    language: str | None,
    budget: Budget,
    as_json: bool,
    console: Console,
) -> None:
    """Show for each image whether it would be reused, pulled or built, with the reason.

    With --tier, show why the tier has each of its cells, and what it leaves uncovered; that needs
    no engine. `envmatrix build --tier pr --dry-run` shows its images.
    """
    if tier is not None and revision is not None:
        raise click.UsageError("--tier and --diff show different things; give one of them")
    if shows_jobs and revision is not None:
        raise click.UsageError("--jobs and --diff show different things; give one of them")
    of_jobs = (verb != "test", libraries, since, shards, language, budget.is_limited)
    if not shows_jobs and any(of_jobs):
        names = "--verb, --library, --since, --shards, --graph, --time and --gpu-minutes"
        raise click.UsageError(f"{names} need --jobs, which is not given")
    if shards and verb != "test":
        raise click.UsageError(
            "--shards divides tests, and there are none; leave out --verb or --shards"
        )
    if language and as_json:
        raise click.UsageError("--graph and --json are two languages; give one of them")
    workspace = Workspace.here()
    if shows_jobs:
        from envmatrix.app.job_plan import JobSelection, plan_jobs, with_unmet
        from envmatrix.app.job_reuse import Reuse
        from envmatrix.app.places import THIS_MACHINE
        from envmatrix.render import job_plan
        from envmatrix.results.job_records import JobRecords

        of_verb = JobSelection(verb, patterns, tier, libraries, since, shards)
        plan = plan_jobs(workspace, of_verb, THIS_MACHINE.resources(), console)
        plan = with_unmet(plan, workspace.matrix, THIS_MACHINE)
        selection = None
        if budget.is_limited:
            from envmatrix.app.job_budget import plan_within
            from envmatrix.jobs.execution import goals_of

            goals = [key for key in goals_of(plan.graph, verb) if key not in plan.unmet]
            plan, selection = plan_within(budget, plan, goals, workspace, console)
        draw = {"mermaid": job_plan.mermaid, "graphviz": job_plan.graphviz, None: None}[language]
        if draw:
            output_document("\n".join(draw(plan.graph)))
            return
        prospects = Reuse(workspace, plan, JobRecords.of_user()).prospects(verb)
        lines = job_plan.lines(plan, prospects, selection)
        document = job_plan.job_document(plan, prospects, selection) if as_json else None
        display.show(document, lines, as_json=as_json, indent=None)
        return
    if revision is not None:
        from envmatrix.app.revisions import changes_since

        changes = changes_since(workspace, revision, patterns, console)
        _show_changes(changes, revision, as_json=as_json)
        return
    options.warn_of_ends(workspace.cells(patterns, tier), workspace.matrix.facts, console)
    if tier is not None:
        from envmatrix.matrix.tiers import choices_among, tier_of

        tier_cells = tier_of(workspace.matrix, tier)
        choices = choices_among(tier_cells, workspace.cells(patterns))
        lines = _tier_lines(tier_cells, choices)
        display.show(_tier_row(tier_cells, choices), lines, as_json=as_json, indent=None)
        return
    from envmatrix.app.images import plan_actions

    actions = plan_actions(workspace, workspace.images(patterns), console)
    display.show_actions(actions, as_json=as_json)
    if not as_json:
        counts = Counter(action.verb for action in actions)
        verbs = ", ".join(f"{count} to {verb}" for verb, count in counts.items())
        console.say(f"{number_of(len(actions), 'image')}: {verbs}")


def _show_changes(changes: Sequence[Change], revision: str, *, as_json: bool) -> None:
    rows = [{"cell": row.cell.id, "change": row.verb, "reasons": row.reasons} for row in changes]
    lines = [_change_line(change) for change in changes]
    nothing = f"no cell comes, goes or changes since `{revision}`"
    display.show(rows, lines or [nothing], as_json=as_json)


def _change_line(change: Change) -> str:
    more = len(change.reasons) - _MOST_REASONS
    reasons = [*change.reasons[:_MOST_REASONS], *([f"and {more} more"] if more > 0 else [])]
    return f"{change.verb:8} {change.cell}: {'; '.join(reasons)}"


def _tier_row(tier: TierCells, choices: Sequence[Choice]) -> dict[str, object]:
    return {
        "tier": tier.name,
        "cells": [
            {"cell": choice.cell.id, "reason": choice.reason, "gpu": choice.gpu}
            for choice in choices
        ],
        "coverage": {
            coverage.of: {
                "covered": coverage.covered,
                "total": coverage.total,
                "uncovered": [dict(combination) for combination in coverage.uncovered],
            }
            for coverage in tier.coverage
        },
    }


def _tier_lines(tier: TierCells, choices: Sequence[Choice]) -> Iterator[str]:
    for choice in choices:
        yield f"{choice.cell.id}: {choice.reason}{', with a GPU' if choice.gpu else ''}"
    for coverage in tier.coverage:
        yield f"{coverage.covered} of {coverage.total} {coverage.of}"
        for combination in coverage.uncovered:
            yield f"uncovered: {', '.join(' '.join(part) for part in combination)}"
