"""Paths of this machine instead of those in containers, so that people can open them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from envmatrix.records import dataclass
from envmatrix.sessions.context import BUILD, COPY, PREFIX, SOURCE, BuildContext

_COPIED = f"{BUILD}/{COPY}"
# A path, also relative to the build directory, and its line as nvcc has it: `/src/a.cu(12)`.
_PATH = re.compile(
    rf"(?<![\w./-])(?:\.\.(?=/src/))?(?P<root>{SOURCE}|{_COPIED}|{BUILD}|{PREFIX}/[\w.-]+)"
    rf"(?P<path>/[^\s:()'\"<>,;`]+)"
    r"(?:\((?P<line>\d+)\))?"
)


@dataclass(frozen=True, slots=True)
class HostPaths:
    """Directories of this machine by their paths in containers. `copy` is that of a copied source,
    which has what the build made beside the source's own files."""

    roots: Mapping[str, str]
    copy: str = ""

    @classmethod
    def of(cls, context: BuildContext) -> HostPaths:
        """Return the directories of a build. A copy of a source stands for the source."""
        source, copy = _relative(context.source), context.build.display_path(COPY)
        copied = source if context.copies_source else copy
        needs = {
            f"{PREFIX}/{name}": _relative(path.absolute())
            for name, path in context.prefixes.items()
        }
        build = context.build.display_path(".")
        return cls({SOURCE: source, _COPIED: copied, BUILD: build, **needs}, copy)

    def text(self, text: str) -> str:
        """Return a text with paths of this machine, and each line as `path:line`."""
        return _PATH.sub(self._displayed, text) if self.roots else text

    def texts(self, texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self.text, texts))

    def _displayed(self, match: re.Match[str]) -> str:
        root = self.roots.get(match["root"], match["root"])
        if match["root"] == _COPIED and not os.path.lexists(f"{root}{match['path']}"):
            root = self.copy or root
        path = match["path"].removeprefix("/") if root == "." else f"{root}{match['path']}"
        return f"{path}:{match['line']}" if match["line"] else path


NO_PATHS = HostPaths({})


def _relative(path: Path) -> str:
    """Return a path relative to the current directory if it is in it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
