"""Completions of arguments, for click's shell completion: what a repository and this machine have,
without running anything of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

# The instruction of a shell, by which click answers instead of running a verb.
VARIABLE = "_ENVMATRIX_COMPLETE"


def complete_cell(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    """Complete the id or a short name of a cell; ids only where nothing is there yet."""
    from envmatrix.app.names import names_here

    names = names_here()
    short = names.short if incomplete else ()
    return _items(((*((name, "") for name in names.cells), *short)), incomplete)


def complete_cells(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    """Complete the last of several names of cells, or of an environment."""
    from envmatrix.app.names import names_here

    names = names_here()
    before, comma, last = incomplete.rpartition(",")
    short = names.short if last else ()
    rows = (*((name, "") for name in (*names.cells, *names.environments)), *short)
    return _items(((f"{before}{comma}{name}", text) for name, text in rows), incomplete)


def complete_environment(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    from envmatrix.app.names import names_here

    return _items(((name, "") for name in names_here().environments), incomplete)


def complete_library(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    from envmatrix.app.names import names_here

    return _items(((name, "") for name in names_here().libraries), incomplete)


def complete_step(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    from envmatrix.app.names import names_here

    return _items(((name, "") for name in names_here().steps), incomplete)


def complete_system(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    """Complete the last of several operating systems."""
    from envmatrix.facts.model import load_facts

    before, comma, _ = incomplete.rpartition(",")
    return _items(((f"{before}{comma}{name}", "") for name in load_facts().os), incomplete)


def complete_place(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    """Complete where containers run: a cluster, or a Docker context."""
    from envmatrix.app.names import contexts_of
    from envmatrix.app.places import KUBERNETES

    rows = ((name, "a Docker context") for name in contexts_of(os.environ))
    return _items(((KUBERNETES, "the cluster of the configuration"), *rows), incomplete)


def complete_directory(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


def _items(rows: Iterable[tuple[str, str]], incomplete: str) -> Sequence[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(name, help=text or None)
        for name, text in rows
        if name.startswith(incomplete)
    ]
