"""`compile_commands.json` with paths of this machine instead of those in containers, for clangd:
https://clang.llvm.org/docs/JSONCompilationDatabase.html"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from posixpath import join, normpath
from typing import Any

from envmatrix.confined import Refused
from envmatrix.errors import EnvmatrixError
from envmatrix.files import write_whole
from envmatrix.sessions.context import BUILD, COPY, PREFIX, SOURCE, BuildContext
from envmatrix.sessions.outcomes import bounded

FILE = "compile_commands.json"

# Where a path begins in an argument: at its start, after an option, or after a separator.
_BEGIN = r"(^|^-(?:I|L|B|F|isystem|iquote|idirafter|include)|[=:,])"
_END = r"(?=$|[/=:,])"


def write_for_host(context: BuildContext) -> None:
    """Write the commands beside the build directory, if the build system wrote any; those of
    an instrumented build are for the analyser alone."""
    if context.instrumentation.name:
        return
    with context.build.opened() as build:
        try:
            text = build.text(FILE)
        except Refused:
            return
    build_path = str(context.directory.absolute() / context.build.name)
    places = {BUILD: build_path, SOURCE: str(context.source.absolute())}
    for name, path in context.prefixes.items():
        places[f"{PREFIX}/{name}"] = str(path.absolute())
    if context.copies_source:
        places[f"{BUILD}/{COPY}"] = places[SOURCE]
    write_whole(context.directory / FILE, for_host(text, places).encode())


# Options of C++ standards, also by their names before they were published.
_STANDARD = re.compile(r"-std[= ](?:c|gnu)\+\+(?P<name>[0-9][0-9a-z])")
_EARLIER_NAMES = {"0x": "11", "1y": "14", "1z": "17", "2a": "20", "2b": "23", "2c": "26"}


def standards(context: BuildContext) -> frozenset[str]:
    """Return the C++ standards that a build compiles for by options; none where it wrote no
    commands."""
    with context.build.opened() as build:
        try:
            names = [match["name"] for match in _STANDARD.finditer(build.text(FILE))]
        except Refused:
            return frozenset()
    return frozenset(_EARLIER_NAMES.get(name, name) for name in names)


def for_host(text: str, places: Mapping[str, str]) -> str:
    """Return compile commands with directories of containers replaced by those of `places`."""
    try:
        rows = [_row(row, places) for row in json.loads(bounded(text))]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EnvmatrixError(f"the build's `{FILE}` is malformed: {error}") from error
    return json.dumps(rows, indent=2) + "\n"


def _row(row: Mapping[str, Any], places: Mapping[str, str]) -> Mapping[str, object]:
    directory = str(row["directory"])
    words = row["arguments"] if "arguments" in row else shlex.split(row["command"])
    return {
        "directory": _on_host(directory, places),
        "file": _on_host(normpath(join(directory, row["file"])), places),
        "arguments": [_on_host(_absolute(str(word), directory), places) for word in words],
    }


def _absolute(word: str, directory: str) -> str:
    """Meson names files relative to the build directory."""
    return (
        re.sub(rf"{_BEGIN}\.\.{SOURCE}{_END}", rf"\1{SOURCE}", word) if directory == BUILD else word
    )


def _on_host(word: str, places: Mapping[str, str]) -> str:
    names = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
    return re.sub(f"{_BEGIN}({names}){_END}", lambda match: match[1] + places[match[2]], word)
