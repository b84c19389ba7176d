"""`envmatrix export`: waivers and tests of libraries in the formats of another project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from envmatrix.commands import options
from envmatrix.commands.list_output import FILES, write_list
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError

_STDOUT = "-"


@click.command(epilog="Example: envmatrix export waives -o tests/integration/test_lists/waives.txt")
@click.argument("kind", metavar="waives|test-db", type=click.Choice([*FILES]))
@options.library
@click.option("--output", "-o", metavar="FILE", default=_STDOUT, help="Write to this file.")
@options.reporting
def command(
    *, kind: str, libraries: Sequence[str], output: str, as_json: bool, console: Console
) -> None:
    """Write waivers as waives.txt, or tests of libraries as test-db, of NVIDIA/TensorRT-LLM; list
    what these formats cannot say."""
    from envmatrix.app.test_lists import export_test_db, export_waives
    from envmatrix.app.workspace import Workspace
    from envmatrix.matrix.selection import select_libraries

    target = None if output == _STDOUT else Path(output)
    if target is None and as_json:
        raise ConfigurationError("`--json` is for what is not written: it needs `--output FILE`")
    workspace = Workspace.here()
    if kind == "waives":
        conversion = export_waives(workspace.root)
    else:
        conversion = export_test_db(select_libraries(workspace.matrix, libraries))
    write_list(conversion, kind, target, as_json=as_json, console=console)
