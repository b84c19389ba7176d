"""`envmatrix ci`: the jobs of a matrix, as CI engines run them."""

from __future__ import annotations

import click

from envmatrix.commands.verbs import Verbs


@click.group(
    cls=Verbs,
    package=__name__,
    names=("again", "comment", "plan", "report", "run"),
    epilog="Example: envmatrix ci plan --tier pr",
)
def command() -> None:
    """Plan the jobs of a matrix for GitHub Actions, GitLab CI and Jenkins, run each of them where
    the engine wants it, and judge them together."""
