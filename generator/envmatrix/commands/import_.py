"""`envmatrix import`: convert the CI matrix of another project to a matrix.yaml."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envmatrix.adoption.imports.formats import FORMATS
from envmatrix.commands import display, options
from envmatrix.commands.completions import complete_system
from envmatrix.commands.list_output import FILES, write_list
from envmatrix.console import Console, output_document
from envmatrix.errors import ConfigurationError
from envmatrix.matrix.files import MATRIX
from envmatrix.text import number_of

if TYPE_CHECKING:
    from envmatrix.adoption.imports.jobs import Remainder
    from envmatrix.app.imports import Import

_STDOUT = "-"


def _words(
    _context: click.Context, _option: click.Parameter, texts: Sequence[str]
) -> tuple[str, ...]:
    return tuple(word for text in texts for word in text.replace(",", " ").split())


@click.command(epilog="Example: envmatrix import ci/matrix.yaml --workflow pull_request,nightly")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--from",
    "format_name",
    type=click.Choice([*FORMATS, *FILES]),
    help="The format of FILE, by default that of its content.",
)
@click.option(
    "--workflow",
    "workflows",
    metavar="NAMES",
    multiple=True,
    callback=_words,
    help="Only these workflows or jobs of FILE: names or patterns.",
)
@click.option(
    "--os",
    "systems",
    metavar="SYSTEMS",
    multiple=True,
    callback=_words,
    shell_complete=complete_system,
    help="The operating systems of jobs that name none.",
)
@click.option("--owner", metavar="NAME", help="Of waives.txt: who owns the waivers.")
@click.option(
    "--expires",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Of waives.txt: their last day.",
)
@click.option("--library", metavar="NAME", help="Of lists of tests: the library that they are of.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help=f"Write to this file, by default {MATRIX}, or that of lists of tests; `-` is stdout.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@options.reporting
def command(
    *,
    files: tuple[Path, ...],
    format_name: str | None,
    workflows: tuple[str, ...],
    systems: tuple[str, ...],
    owner: str | None,
    expires: datetime | None,
    library: str | None,
    output: str | None,
    force: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Convert the CI matrix of another project to a matrix.yaml, and list what is not converted.

    Formats: ci/matrix.yaml of NVIDIA/cccl, workflows of GitHub Actions, those of RAPIDS, GitLab's
    .gitlab-ci.yml, conda_build_config.yaml or .ci_support/*.yaml of conda-forge, and lists of jobs
    by workflow or platform.

    Lists of tests of NVIDIA/TensorRT-LLM become other files: waives.txt is waivers.yaml, and
    test-db/*.yml are libraries in matrix.d/test-db.yaml.
    """
    from envmatrix.app.imports import Choice, import_matrix
    from envmatrix.app.test_lists import Terms, import_list, list_format

    kind = format_name if format_name in FILES else None
    kind = kind or (list_format(files) if format_name is None else None)
    output = output or FILES.get(kind or "", MATRIX)
    target = None if output == _STDOUT else Path(output)
    if target is None and as_json:
        raise ConfigurationError("`--json` and `--output -` both write to stdout")
    if target is not None:
        _require_other(target, files)
    _require_absent(target, force=force)
    if kind:
        day = expires.date() if expires else None
        conversion = import_list(files, kind, Terms(owner, day, library), options.today())
        write_list(conversion, kind, target, as_json=as_json, console=console)
        return
    choice = Choice(format_name, workflows, systems)
    result = import_matrix(files, choice, target.parent if target else Path())
    if result.text is None:
        _show(result, as_json=as_json, on_stdout=True, console=console)
        raise ConfigurationError(f"no job of `{files[0]}` can be converted", hint=_hint(result))
    if target is None:
        output_document(result.text)
    else:
        result.write(target)
        console.say(f"wrote    {target}")
    _show(result, as_json=as_json, on_stdout=target is not None, console=console)
    for note in result.notes:
        console.warn(note)
    console.say(
        f"jobs     {result.converted} of {result.jobs} converted, in "
        f"{number_of(result.cells, 'cell')}"
    )
    if target is not None and target.name == MATRIX:
        console.say("next     envmatrix lock")


def _hint(result: Import) -> str | None:
    if result.other_format:
        return f"the file is of the format `{result.other_format}`: leave out `--from`"
    return "the list names what each job lacks" if result.remainders else None


def _require_other(target: Path, files: Sequence[Path]) -> None:
    """Raise ConfigurationError if the output is one of the files that are converted."""
    for file in files:
        with suppress(OSError):
            if file.samefile(target):
                hint = "write to another file: `--output FILE`"
                raise ConfigurationError(f"`{file}` would be replaced by its result", hint=hint)


def _require_absent(target: Path | None, *, force: bool) -> None:
    """Ask whether a file may be replaced; raise ConfigurationError where nobody can answer."""
    if target is None or force or not (target.exists() or target.is_symlink()):
        return
    if sys.stdin.isatty():
        click.confirm(f"Replace {target}?", abort=True, err=True)
        return
    hint = "replace it: `--force`; or write to another file: `--output FILE`"
    raise ConfigurationError(f"there is a `{target}` here", hint=hint)


def _show(result: Import, *, as_json: bool, on_stdout: bool, console: Console) -> None:
    """Show what is not converted: on stdout, unless the matrix is there."""
    lines = [_line(row) for row in result.remainders]
    if as_json or on_stdout:
        display.show(result.document(), lines, as_json=as_json)
        return
    for line in lines:
        console.say(line)


def _line(row: Remainder) -> str:
    left = f" [{number_of(row.jobs, 'job')}]" if row.jobs else ""
    rule = f" (rule `{row.rule}`)" if row.rule else ""
    return f"{row.position}: `{row.what}`: {row.reason}{rule}{left}"
