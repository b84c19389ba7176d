"""The presets of CMake for a configuration: those of CMakePresets.json, and of the files that it
includes. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from envmatrix.records import dataclass

PRESETS = "CMakePresets.json"

# More files than these are not read.
_MOST_FILES = 100
_GENERATORS = (None, "Ninja", "Unix Makefiles")


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset that is not hidden. It is usable if it has no other generator, and no toolchain or
    condition of its own."""

    name: str
    is_usable: bool


def preset_texts(directory: str, read: Callable[[str], str]) -> Iterator[str]:
    """Yield the texts of CMakePresets.json in a directory of a repository, and of the files of the
    repository that it includes, each once. `read` returns the text of a path, or nothing."""
    waiting, visited = [posixpath.join(directory, PRESETS)], set[str]()
    while waiting and len(visited) < _MOST_FILES:
        path = waiting.pop(0)
        if path not in visited:
            visited.add(path)
            text = read(path)
            yield text
            waiting += _included(text, posixpath.dirname(path), directory)


def _included(text: str, directory: str, top: str) -> Iterator[str]:
    """Yield the paths within a repository that a file in a directory includes; `top` is the
    directory of CMakePresets.json."""
    macros = {"${fileDir}": directory, "${sourceDir}": top}
    for name in _names(text):
        first, _, rest = name.partition("/")
        relative = (macros[first], rest) if first in macros else (directory, name)
        path = posixpath.normpath(posixpath.join(*relative))
        if not path.startswith(("../", "/")):
            yield path


def _names(text: str) -> Sequence[str]:
    """Return the printable values of `include`; none if the text is invalid."""
    try:
        names = _document(text).get("include", ())
    except (ValueError, AttributeError, RecursionError):
        return ()
    if not isinstance(names, list):
        return ()
    return [name for name in names if isinstance(name, str) and name.isprintable()]


def configure_presets(texts: Iterable[str]) -> Sequence[Preset] | None:
    """Return the presets that are not hidden; None if a text is invalid."""
    try:
        rows = {
            str(row["name"]): row
            for text in texts
            for row in _document(text).get("configurePresets", ())
        }
        return [
            Preset(name, _is_usable(name, rows))
            for name, row in rows.items()
            if not row.get("hidden")
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _document(text: str) -> Any:
    return json.loads(text) if text else {}


def _is_usable(name: str, rows: Mapping[str, Mapping[str, Any]]) -> bool:
    generator, texts = None, []
    for row in _with_ancestors(name, rows):
        generator = generator or row.get("generator")
        texts.append(json.dumps({key: row[key] for key in row if key != "description"}))
    own = re.search(r"toolchain|VCPKG|CONAN|\"condition\"", "".join(texts), re.IGNORECASE)
    return generator in _GENERATORS and own is None


def _with_ancestors(
    name: str, rows: Mapping[str, Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield a preset and those that it inherits from, each once."""
    waiting, visited = [name], set()
    while waiting:
        key = waiting.pop(0)
        if key in visited or key not in rows:
            continue
        visited.add(key)
        yield rows[key]
        inherited = rows[key].get("inherits", ())
        waiting += [inherited] if isinstance(inherited, str) else inherited


def chosen_preset(presets: Sequence[Preset]) -> str | None:
    """Return the preset to take: `default`, one for a release, or the only one."""
    names = [preset.name for preset in presets if preset.is_usable]
    if "default" in names:
        return "default"
    release = [name for name in names if "release" in name.lower()]
    candidates = release or names
    return candidates[0] if len(candidates) == 1 else None
