"""`envmatrix why`: any cell explained, present or absent."""

from __future__ import annotations

import click

from envmatrix.commands import options
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import Explanation, explain


@click.command(epilog="Example: envmatrix why cuda12.4-debian13-aarch64")
@click.argument("cell")
@options.as_json
def command(*, cell: str, as_json: bool) -> None:
    """Explain why CELL exists, or why it cannot, rule by rule."""
    explanation = explain(load_matrix(options.repository()), cell)
    if as_json:
        options.print_json(_row(explanation))
    else:
        click.echo("\n".join(_lines(explanation)))


def _row(explanation: Explanation) -> dict[str, object]:
    return {
        "cell": explanation.cell.id,
        "present": explanation.present,
        "reason": explanation.reason,
        "rules": [
            {
                "rule": verdict.rule,
                "passed": verdict.passed,
                "explanation": verdict.explanation,
                "ref": verdict.ref,
            }
            for verdict in explanation.verdicts
        ],
        "position": str(explanation.position) if explanation.position else None,
        "names": list(explanation.names),
        "nearest": str(explanation.nearest) if explanation.nearest else None,
    }


def _lines(explanation: Explanation) -> list[str]:
    state = "exists" if explanation.present else "does not exist"
    lines = [f"{explanation.cell} {state}: {explanation.reason}"]
    lines += [f"  asked for at {explanation.position}"] if explanation.position else []
    lines += [f"  also called {', '.join(explanation.names)}"] if explanation.names else []
    for verdict in explanation.verdicts:
        lines.append(
            f"  {'ok ' if verdict.passed else 'no '} {verdict.rule}: {verdict.explanation}"
        )
        lines += [] if verdict.passed else [f"      source: {verdict.ref}"]
    lines += [f"nearest: {explanation.nearest}"] if explanation.nearest else []
    return lines
