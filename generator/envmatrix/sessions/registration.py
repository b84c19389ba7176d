"""Registers the sessions of nox for a repository with a matrix. A noxfile needs no more than

from pathlib import Path
from envmatrix.sessions.registration import add_sessions
add_sessions(Path(__file__).parent)
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import nox

from envmatrix.errors import SKIPPED
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
    "pull": (("pull",), "Pull published images by digest: `-- --select cuda12-aarch64`."),
}
# Those that have sessions of a single library as well, in cells with several.
_LIBRARY_VERBS = ("build", "test")


def add_sessions(root: Path) -> None:
    """Register the sessions of many cells; of every cell of `root`'s matrix, by its id and its
    short names; and of each library in cells with several."""
    os.chdir(root)
    cells, libraries_of = cells_and_libraries(root)
    shared = [
        (library, cell)
        for cell, libraries in libraries_of.items()
        for library in (libraries if len(libraries) > 1 else ())
    ]
    names = {*cells, *(f"{cell}-{library}" for library, cell in shared)}
    for name, (arguments, text) in MANY.items():
        _register(name, ("envmatrix", *arguments), text, may_skip=arguments[0] != "pull")
    for name, cell in {**cells, **_missing_cells(sys.argv[1:], names)}.items():
        for prefix in VERBS:
            _add(prefix, name, cell)
    for library, cell in shared:
        for prefix in _LIBRARY_VERBS:
            _add(prefix, f"{cell}-{library}", cell, library)
    # Thousands of sessions live until the end: the collector need not look for garbage in them.
    gc.freeze()


def _is_skip(error: nox.command.CommandFailed) -> bool:
    """Return whether a command ended with the status of a skip."""
    return str(error.reason).endswith(f" {SKIPPED}")


def cells_and_libraries(root: Path) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    """Return the ids of cells by id and by short name, and the names of the libraries of each cell
    by its id; from the cache if no file of the matrix changed: there may be thousands."""
    return cached_value(f"{root.resolve()} names", identity(files_of(root)), lambda: _read(root))


def _read(root: Path) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    from envmatrix.matrix.loading import load_matrix  # not when the cache answers
    from envmatrix.matrix.selection import is_for, short_names

    matrix = load_matrix(root)
    short_ids = {name: cell.id for name, cell in short_names(matrix).items()}
    libraries = {
        cell.id: [library.name for library in matrix.libraries if is_for(library, cell, matrix)]
        for cell in matrix.cells
    }
    return {**short_ids, **{name: name for name in libraries}}, libraries


def _add(prefix: str, name: str, cell: str, library: str | None = None) -> None:
    verb, text = VERBS[prefix]
    command = ("envmatrix", "run", verb, cell, *(("--library", library) if library else ()))
    description = text.format(library=library or "the libraries", cell=cell)
    may_skip = verb in {"perf", "test"}
    _register(f"{prefix}-{name}", command, description, may_skip=may_skip)


def _register(name: str, command: Sequence[str], text: str, *, may_skip: bool = False) -> None:
    def run(session: nox.Session) -> None:
        try:
            session.run(*command, *session.posargs)
        except nox.command.CommandFailed as error:
            if may_skip and _is_skip(error):
                session.skip("it cannot run here, as said above")
            raise

    run.__doc__ = text
    nox.session(name=name, default=False, venv_backend="none")(run)


def _missing_cells(arguments: Sequence[str], names: Collection[str]) -> Mapping[str, str]:
    """Return requested cells that do not exist: `envmatrix run` explains why, nox cannot."""
    words = (word.partition("-") for word in arguments)
    return {name: name for prefix, _, name in words if prefix in VERBS and name not in names}
