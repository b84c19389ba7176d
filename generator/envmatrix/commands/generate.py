"""`envmatrix generate`: hermetic; the lock in, committed files out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from envmatrix.commands import consumers, options
from envmatrix.commands.workspace import DOCKERFILES, Workspace
from envmatrix.console import Console
from envmatrix.errors import OutOfDate
from envmatrix.files import write_whole
from envmatrix.matrix.json_schema import json_schema
from envmatrix.matrix.schema import MatrixFile, OverlayFile, Table
from envmatrix.render.dockerfile import dockerfile
from envmatrix.text import one_line

SCHEMAS: Mapping[str, type[Table]] = {
    "matrix.schema.json": MatrixFile,
    "matrix.d.schema.json": OverlayFile,
}


@click.group(invoke_without_command=True, epilog="Example: envmatrix generate --check")
@click.option("--check", is_flag=True, help="Write nothing; exit with 4 if a file would change.")
@options.verbosity
@click.pass_context
def command(context: click.Context, *, check: bool, console: Console) -> None:
    """Write a Dockerfile for every environment, and the JSON Schemas of matrix files; what other
    files were asked for once is written anew."""
    if context.invoked_subcommand:
        if check:
            raise click.UsageError(
                f"--check is for all that is generated; leave out `{context.invoked_subcommand}`"
            )
        return
    workspace = Workspace.here()
    wanted = {**outputs(workspace), **consumers.refreshed(workspace)}
    changed = sorted(path for path, text in wanted.items() if _text(workspace.root / path) != text)
    stale = sorted([*_stale(workspace.root, wanted), *consumers.stale(workspace.root, wanted)])
    if check:
        _report_drift(changed, stale)
        console.say(f"{len(wanted)} generated files are up to date")
        return
    _write(workspace.root, {path: wanted[path] for path in changed}, console)
    for path in stale:
        _remove(workspace.root / path)
        console.say(f"removed  {one_line(path)}")
    if not changed and not stale:
        console.say(f"{len(wanted)} generated files are up to date")


@command.command(
    "devcontainer", epilog="Example: envmatrix generate devcontainer --select cuda12-aarch64"
)
@options.select
@options.verbosity
def devcontainer_command(*, patterns: Sequence[str], console: Console) -> None:
    """Write `.devcontainer/<environment>` for the selected cells, with the published image."""
    _ask(consumers.Asked("devcontainer", tuple(patterns)), console)


@command.command("github", epilog="Example: envmatrix generate github --tier pr")
@options.select
@options.tier
@options.verbosity
def github_command(*, patterns: Sequence[str], tier: str | None, console: Console) -> None:
    """Write a workflow of GitHub Actions that tests the selected cells in published images."""
    _ask(consumers.Asked("github", tuple(patterns), tier), console)


def _ask(asked: consumers.Asked, console: Console) -> None:
    workspace = Workspace.here()
    wanted = consumers.files(workspace, asked)
    consumers.check_free(workspace.root, wanted)
    _write(workspace.root, wanted, console)


def _write(root: Path, wanted: Mapping[str, str], console: Console) -> None:
    for path, text in wanted.items():
        write_whole(root / path, text.encode())
        console.say(f"wrote    {one_line(path)}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        return
    path.unlink()
    if not any(path.parent.iterdir()):
        path.parent.rmdir()


def outputs(workspace: Workspace) -> Mapping[str, str]:
    """Every generated file: path within the repository -> text."""
    names = {cell.cell.environment for cell in workspace.matrix.cells}
    rendered = {
        f"{DOCKERFILES}/{environment.name}/Dockerfile": dockerfile(environment)
        for environment in workspace.environments(names).values()
    }
    schemas = {
        name: json.dumps(json_schema(model), indent=2) + "\n" for name, model in SCHEMAS.items()
    }
    return rendered | schemas


def _text(file: Path) -> str | None:
    """None for nothing, and for what cannot be ours."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def _stale(root: Path, wanted: Iterable[str]) -> Iterable[str]:
    """Directories of environments that are no more: `dockerfiles/` holds nothing else."""
    names = {Path(path).parts[1] for path in wanted if path.startswith(DOCKERFILES)}
    for directory in (root / DOCKERFILES).glob("*/"):
        if directory.name not in names:
            yield f"{DOCKERFILES}/{directory.name}"


def _report_drift(changed: Iterable[str], stale: Iterable[str]) -> None:
    details = [f"`{one_line(path)}` differs" for path in changed] + [
        f"`{one_line(path)}` is stale" for path in stale
    ]
    if details:
        raise OutOfDate(
            "generated files are out of date",
            details=details,
            hint="write them: `envmatrix generate`",
        )
