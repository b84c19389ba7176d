"""`envmatrix generate`: write the committed files from the lock, hermetically."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import click

from envmatrix.app import consumers
from envmatrix.app.workspace import DOCKERFILES, Workspace
from envmatrix.commands import options
from envmatrix.console import Console
from envmatrix.errors import OutOfDate
from envmatrix.files import write_whole
from envmatrix.images.dockerfile import generated_files
from envmatrix.images.stages import SCRIPTS
from envmatrix.matrix.contents import json_schemas
from envmatrix.schema.json_schema import dumped
from envmatrix.text import one_line


@click.group(invoke_without_command=True, epilog="Example: envmatrix generate --check")
@click.option("--check", is_flag=True, help="Write nothing; exit with 4 if a file would change.")
@options.verbosity
@click.pass_context
def command(context: click.Context, *, check: bool, console: Console) -> None:
    """Write a Dockerfile for every environment, the scripts for them, and the JSON Schemas of
    matrix files. Update files for consumers that were generated before."""
    if context.invoked_subcommand:
        if check:
            raise click.UsageError(
                f"--check is for all generated files; leave out `{context.invoked_subcommand}`"
            )
        return
    workspace = Workspace.here()
    texts = {**outputs(workspace), **consumers.current_files(workspace)}
    changed = sorted(path for path, text in texts.items() if _text(workspace.root / path) != text)
    stale = sorted([*_stale(workspace.root, texts), *consumers.stale_files(workspace.root, texts)])
    if check:
        _report_drift(changed, stale)
        console.say(f"{len(texts)} generated files are up to date")
        return
    _write(workspace.root, {path: texts[path] for path in changed}, console)
    for path in stale:
        _remove(workspace.root / path)
        console.say(f"removed  {one_line(path)}")
    if not changed and not stale:
        console.say(f"{len(texts)} generated files are up to date")


@command.command(
    "devcontainer", epilog="Example: envmatrix generate devcontainer --select cuda12-aarch64"
)
@options.select
@options.verbosity
def devcontainer_command(*, patterns: Sequence[str], console: Console) -> None:
    """Write `.devcontainer/<environment>` for the selected cells, with the published image."""
    _generate(consumers.ConsumerRequest("devcontainer", tuple(patterns)), console)


@command.command("github", epilog="Example: envmatrix generate github --tier pr")
@options.select
@options.tier
@options.verbosity
def github_command(*, patterns: Sequence[str], tier: str | None, console: Console) -> None:
    """Write a workflow of GitHub Actions that tests the selected cells in published images."""
    _generate(consumers.ConsumerRequest("github", tuple(patterns), tier), console)


def _generate(request: consumers.ConsumerRequest, console: Console) -> None:
    workspace = Workspace.here()
    texts = consumers.files(workspace, request)
    consumers.check_free(workspace.root, texts)
    _write(workspace.root, texts, console)


def _write(root: Path, texts: Mapping[str, str], console: Console) -> None:
    for path, text in texts.items():
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
    """Return every generated file: path within the repository -> text."""
    names = {cell.environment for cell in workspace.matrix.cells}
    rendered = {
        f"{DOCKERFILES}/{path}": text
        for definition in workspace.definitions(names)
        for path, text in generated_files(definition).items()
    }
    return rendered | {name: dumped(schema) + "\n" for name, schema in json_schemas().items()}


def _text(file: Path) -> str | None:
    """Return the text of a file; None if it is missing or not a file."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def _stale(root: Path, paths: Collection[str]) -> Iterable[str]:
    """Yield the directories of removed environments, and unused scripts: `dockerfiles/` has nothing
    else."""
    directories = {str(Path(path).parent) for path in paths}
    for pattern, current in (("*/", directories), (f"{SCRIPTS}/*", paths)):
        stored = (str(path.relative_to(root)) for path in (root / DOCKERFILES).glob(pattern))
        yield from (path for path in stored if path not in current)


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
