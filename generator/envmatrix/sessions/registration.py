"""Registers the sessions of nox for a repository with a matrix. A noxfile needs no more than

from pathlib import Path
from envmatrix.sessions.registration import add_sessions
add_sessions(Path(__file__).parent)
"""

from __future__ import annotations

import gc
import logging
import os
import runpy
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import nox
from nox._options import options

from envmatrix.errors import INTERRUPTED, SKIPPED
from envmatrix.machine.disk_cache import cached_value, identity
from envmatrix.matrix.files import files_of
from envmatrix.matrix.tier_names import TIERS

# Session prefix -> (verb of `envmatrix run`, what `nox -l` says of it).
VERBS = {
    "build": ("compile", "Compile {library} for {cell}."),
    "test": ("test", "Compile and test {library} in {cell}."),
    "perf": ("perf", "Measure {library} in {cell} on a GPU."),
    "shell": ("shell", "Open a shell in the container of {cell}."),
}
# Sessions of many cells -> (what they run, what `nox -l` says of it). What follows `--` is added.
MANY = {
    "matrix": (("test",), "Compile and test the libraries in every cell: `-- 'cuda13*'`."),
    **{
        f"matrix-{tier}": (("test", "--tier", tier), f"Compile and test the cells of tier {tier}.")
        for tier in TIERS
    },
    "matrix-perf": (("perf",), "Measure the libraries in every cell on GPUs: `-- 'cuda13*'`."),
    "matrix-step": (("step",), "Run the steps of libraries in every cell: `-- --step nvrtc`."),
    "pull": (("pull",), "Pull published images by digest: `-- --select cuda12-aarch64`."),
}
# Those that have sessions of a single library as well, in cells with several.
_LIBRARY_VERBS = ("build", "test")


def add_sessions(root: Path, always: Collection[str] = ()) -> None:
    """Register those sessions that nox was asked for: of many cells; of every cell of `root`'s
    matrix, by its id and its short names; and of each library in cells with several. nox takes
    long for thousands of sessions.

    `always` are sessions to register whatever nox was asked for, such as those that others notify
    or require. What the noxfile sets in `nox.options` has to be set before.
    """
    os.chdir(root)
    cells, libraries_of = cells_and_libraries(root)
    requested = _requested_sessions()
    every = _all_sessions(cells, libraries_of)
    # With those of many cells, nox says which session it does not find.
    for name in every if requested is None else dict.fromkeys((*requested, *always, *MANY)):
        if name in MANY:
            arguments, text = MANY[name]
            _register(name, arguments, text, may_skip=arguments[0] != "pull")
        elif name.partition("-")[0] in VERBS:
            _add(name, cells, libraries_of)
    # Thousands of sessions live until the end: the collector need not look for garbage in them.
    gc.freeze()


def _requested_sessions() -> Sequence[str] | None:
    """Return the names of the sessions that nox was asked for; None where it may need any other: it
    lists them all, or selects them by keywords or tags."""
    command_line = options.parse_args()
    names = command_line.sessions or command_line.usage or nox.options.sessions
    selects = (command_line.keywords, command_line.tags, nox.options.keywords, nox.options.tags)
    if any(selects) or (command_line.list_sessions and not names):
        return None
    return [*(names or ())]


def _all_sessions(
    cells: Mapping[str, str], libraries_of: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield the names of all sessions."""
    yield from MANY
    yield from (f"{prefix}-{name}" for name in cells for prefix in VERBS)
    for cell, libraries in libraries_of.items():
        for library in libraries if len(libraries) > 1 else ():
            yield from (f"{prefix}-{cell}-{library}" for prefix in _LIBRARY_VERBS)


def cells_and_libraries(root: Path) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    """Return the ids of cells by id and by short name, and the names of the libraries of each cell
    by its id; from the cache if no file of the matrix changed: there may be thousands."""
    name = f"sessions of {root.resolve()}"  # no name of a `Workspace`, which begins with its root
    return cached_value(name, identity(files_of(root)), lambda: _read(root))


def _read(root: Path) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    from envmatrix.matrix.loading import load_matrix  # not when the cache answers
    from envmatrix.matrix.selection import is_for, short_names

    matrix = load_matrix(root)
    short_ids = {name: cell.id for name, cell in short_names(matrix).items()}
    libraries = {
        cell.id: [library.name for library in matrix.variants if is_for(library, cell, matrix)]
        for cell in matrix.cells
    }
    return {**short_ids, **{name: name for name in libraries}}, libraries


def _add(session: str, cells: Mapping[str, str], libraries_of: Mapping[str, Sequence[str]]) -> None:
    """Register the session of a cell, or of a library in a cell. The cell need not exist:
    `envmatrix run` explains why, nox cannot."""
    prefix, _, name = session.partition("-")
    verb, text = VERBS[prefix]
    cell, library = cells.get(name, name), None
    if name not in cells and prefix in _LIBRARY_VERBS:
        cell, library = _cell_and_library(name, libraries_of)
    arguments = ("run", verb, cell, *(("--library", library) if library else ()))
    description = text.format(library=library or "the libraries", cell=cell)
    _register(session, arguments, description, may_skip=verb in {"perf", "test"})


def _cell_and_library(
    name: str, libraries_of: Mapping[str, Sequence[str]]
) -> tuple[str, str | None]:
    """Return the cell and the library that a session is named after; the name alone if there are no
    such."""
    for place, character in enumerate(name):
        cell, library = name[:place], name[place + 1 :]
        if character == "-" and library in libraries_of.get(cell, ()):
            return cell, library
    return name, None


def _register(name: str, arguments: Sequence[str], text: str, *, may_skip: bool = False) -> None:
    def run(session: nox.Session) -> None:
        words = (*arguments, *session.posargs)
        session.log(shlex.join(("envmatrix", *words)))
        status = _run_envmatrix(words)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        if status == SKIPPED and may_skip:
            session.skip("it cannot run here, as said above")
        if status:
            raise nox.command.CommandFailed(f"exit code {status}")

    run.__doc__ = text
    nox.session(name=name, default=False, venv_backend="none")(run)


def _run_envmatrix(arguments: Sequence[str]) -> int:
    """Run `envmatrix` in this process, which has imported much of it; return its exit code."""
    before, root = sys.argv, logging.getLogger()
    sys.argv = ["envmatrix", *arguments]
    level = root.level
    # nox shows whatever any library logs.
    nox.logger.logger.setLevel(nox.logger.logger.getEffectiveLevel())
    root.setLevel(logging.WARNING)
    try:
        runpy.run_module("envmatrix", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    finally:
        root.setLevel(level)
        sys.argv = before
        sys.stdout.flush()
    return 0
