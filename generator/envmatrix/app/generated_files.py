"""The committed files that are generated: written, and compared with what the lock says."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from envmatrix.app import consumers
from envmatrix.app.consumers import ConsumerRequest
from envmatrix.app.workspace import DOCKERFILES, Workspace
from envmatrix.console import Console
from envmatrix.errors import OutOfDate
from envmatrix.files import write_whole
from envmatrix.images.dockerfile import generated_files
from envmatrix.images.stages import SCRIPTS
from envmatrix.matrix.contents import json_schemas
from envmatrix.schema.json_schema import dumped
from envmatrix.text import one_line


def write_generated(workspace: Workspace, console: Console) -> None:
    """Write the generated files that changed, and remove those that are stale."""
    texts, changed, stale = _compare(workspace)
    _write(workspace.root, {path: texts[path] for path in changed}, console)
    for path in stale:
        _remove(workspace.root / path)
        console.say(f"removed  {one_line(path)}")
    if not changed and not stale:
        console.say(f"{len(texts)} generated files are up to date")


def check_generated(workspace: Workspace, console: Console) -> None:
    """Raise OutOfDate if a generated file would change."""
    texts, changed, stale = _compare(workspace)
    details = [f"`{one_line(path)}` differs" for path in changed] + [
        f"`{one_line(path)}` is stale" for path in stale
    ]
    if details:
        raise OutOfDate(
            "generated files are out of date",
            details=details,
            hint="write them: `envmatrix generate`",
        )
    console.say(f"{len(texts)} generated files are up to date")


def write_consumer(workspace: Workspace, request: ConsumerRequest, console: Console) -> None:
    """Write the files of a consumer of published images."""
    texts = consumers.files(workspace, request)
    consumers.check_free(workspace.root, texts)
    _write(workspace.root, texts, console)


def _compare(workspace: Workspace) -> tuple[Mapping[str, str], Sequence[str], Sequence[str]]:
    """Return the text of every generated file, and the paths of those that changed or are stale."""
    root, texts = workspace.root, {**outputs(workspace), **consumers.current_files(workspace)}
    changed = sorted(path for path, text in texts.items() if _text(root / path) != text)
    stale = {*_stale(root, texts), *(consumers.present_files(root).keys() - texts.keys())}
    return texts, changed, sorted(stale)


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
