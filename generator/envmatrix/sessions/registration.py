"""The sessions of nox for a repository with a matrix. A noxfile needs no more than

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
from envmatrix.sessions.names import SessionNames, session_names

# Session prefix -> (verb of `envmatrix run`, what `nox -l` says of it).
VERBS = {
    "build": ("compile", "Compile the libraries for {cell}."),
    "test": ("test", "Compile and test the libraries in {cell}."),
    "perf": ("perf", "Measure the libraries in {cell} on a GPU."),
    "shell": ("shell", "Open a shell in the container of {cell}."),
}
# What a single library has sessions for, where there are several.
_OF_ONE = {
    "build": ("compile", "Compile {library} for {cell}."),
    "test": ("test", "Compile and test {library} in {cell}."),
}


def add_sessions(root: Path) -> None:
    """For every cell of `root`'s matrix, by its id and its short names, what people do in it; and
    for each library in a cell, where there are several."""
    os.chdir(root)
    found = session_names(root)
    for name, cell in {**found.all, **_wanted(sys.argv[1:], found)}.items():
        for prefix, (verb, text) in VERBS.items():
            _add(f"{prefix}-{name}", (verb, cell), text.format(cell=cell))
    for library, cell in _several(found):
        for prefix, (verb, text) in _OF_ONE.items():
            arguments = (verb, cell, "--library", library)
            _add(f"{prefix}-{cell}-{library}", arguments, text.format(cell=cell, library=library))
    # Thousands of sessions live until the end: the collector need not look for garbage in them.
    gc.freeze()


def is_skip(error: nox.command.CommandFailed) -> bool:
    """Whether a command of `envmatrix run` said that it cannot run here."""
    return str(error.reason).endswith(f" {SKIPPED}")


def _several(found: SessionNames) -> Iterator[tuple[str, str]]:
    for cell, libraries in found.libraries.items():
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


def _wanted(arguments: list[str], known: SessionNames) -> Mapping[str, str]:
    """Cells asked for by name that do not exist: `envmatrix run` explains why, nox cannot."""
    of_libraries = {f"{cell}-{library}" for library, cell in _several(known)}
    words = (word.partition("-") for word in arguments)
    return {
        name: name
        for prefix, _, name in words
        if prefix in VERBS and name not in known.all and name not in of_libraries
    }
