"""`envmatrix run`: work in a cell. Each nox session runs one of its verbs."""

from __future__ import annotations

import click

from envmatrix.commands.verbs import Verbs

_NAMES = ("analyse", "compile", "perf", "shell", "step", "test")


@click.group(
    cls=Verbs, package=__name__, names=_NAMES, epilog="Example: envmatrix run test cuda13-x86_64"
)
def command() -> None:
    """Compile, test, examine or measure the libraries of matrix.yaml in a cell's container."""
