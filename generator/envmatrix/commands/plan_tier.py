"""`envmatrix plan --tier`: the cells of a tier, with reasons, and their coverage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envmatrix.commands import options
from envmatrix.console import output
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import select
from envmatrix.matrix.tiers import Choice, TierCells, choices_among, tier_of


def show_tier(matrix: Matrix, name: str, patterns: Sequence[str], *, as_json: bool) -> None:
    """Show why the tier has each of its cells that `patterns` select, and what it covers."""
    tier = tier_of(matrix, name)
    choices = choices_among(tier, select(matrix, patterns))
    if as_json:
        options.print_json(_row(tier, choices))
    else:
        output("\n".join(_lines(tier, choices)))


def _row(tier: TierCells, choices: Sequence[Choice]) -> dict[str, object]:
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


def _lines(tier: TierCells, choices: Sequence[Choice]) -> Iterator[str]:
    for choice in choices:
        yield f"{choice.cell.id}: {choice.reason}{', with a GPU' if choice.gpu else ''}"
    for coverage in tier.coverage:
        yield f"{coverage.covered} of {coverage.total} {coverage.of}"
        for combination in coverage.uncovered:
            yield f"uncovered: {', '.join(' '.join(part) for part in combination)}"
