"""Registers the sessions of nox for a repository with a matrix. A noxfile needs no more than

from pathlib import Path
from envmatrix.sessions.registration import add_sessions
add_sessions(Path(__file__).parent)
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import nox

from envmatrix.errors import SKIPPED
from envmatrix.sessions.session_names import SessionNames, session_names

# Session prefix -> (verb of `envmatrix run`, what `nox -l` says of it).
VERBS = {
    "build": ("compile", "Compile the libraries for {cell}."),
    "test": ("test", "Compile and test the libraries in {cell}."),
    "perf": ("perf", "Measure the libraries in {cell} on a GPU."),
    "shell": ("shell", "Open a shell in the container of {cell}."),
}
# Sessions of a single library, in cells with several.
_LIBRARY_VERBS = {
    "build": ("compile", "Compile {library} for {cell}."),
    "test": ("test", "Compile and test {library} in {cell}."),
}


def add_sessions(root: Path) -> None:
    """Register the sessions of every cell of `root`'s matrix, by its id and its short names, and of
    each library in cells with several."""
    os.chdir(root)
    names = session_names(root)
    for name, cell in {**names.all, **_missing_cells(sys.argv[1:], names)}.items():
        for prefix, (verb, text) in VERBS.items():
            _add(f"{prefix}-{name}", (verb, cell), text.format(cell=cell))
    for library, cell in _shared_cells(names):
        for prefix, (verb, text) in _LIBRARY_VERBS.items():
            arguments = (verb, cell, "--library", library)
            _add(f"{prefix}-{cell}-{library}", arguments, text.format(cell=cell, library=library))
    # Thousands of sessions live until the end: the collector need not look for garbage in them.
    gc.freeze()


def is_skip(error: nox.command.CommandFailed) -> bool:
    """Return whether a command of `envmatrix run` ended with the status of a skip."""
    return str(error.reason).endswith(f" {SKIPPED}")


def _shared_cells(names: SessionNames) -> Iterator[tuple[str, str]]:
    for cell, libraries in names.libraries.items():
        if len(libraries) > 1:
            yield from ((library, cell) for library in libraries)


def _add(name: str, arguments: Iterable[str], text: str) -> None:
    command = ("envmatrix", "run", *arguments)

    def run(session: nox.Session) -> None:
        try:
            session.run(*command, *session.posargs)
        except nox.command.CommandFailed as error:
            if command[2] in {"perf", "test"} and is_skip(error):
                session.skip("it cannot run here, as said above")
            raise

    run.__doc__ = text
    nox.session(name=name, default=False, venv_backend="none")(run)


def _missing_cells(arguments: list[str], names: SessionNames) -> Mapping[str, str]:
    """Return requested cells that do not exist: `envmatrix run` explains why, nox cannot."""
    of_libraries = {f"{cell}-{library}" for library, cell in _shared_cells(names)}
    words = (word.partition("-") for word in arguments)
    return {
        name: name
        for prefix, _, name in words
        if prefix in VERBS and name not in names.all and name not in of_libraries
    }
