"""The files of a repository, as far as they tell how it is built."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property

from envmatrix.records import dataclass

# Files whose texts are looked at.
TEXTS = re.compile(
    r"(?:.*/)?(?:CMakeLists\.txt|CMakePresets\.json|[^/]*\.cmake|meson\.build|meson_options\.txt"
    r"|pyproject\.toml|setup\.(?:py|cfg)|configure(?:\.ac|\.in)|Makefile\.am"
    r"|(?:GNU)?[Mm]akefile|[^/]*\.(?:cu|cuh))"
)
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")


@dataclass(frozen=True)
class SourceTree:
    """The `files` of a directory, as paths below it, and the `texts` of some by path; `name` is
    that of the directory."""

    name: str
    files: Sequence[str]
    texts: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(self.files)

    @property
    def makefile(self) -> str | None:
        """The file that `make` reads, if there is one."""
        return next((name for name in _MAKEFILES if name in self), None)

    @property
    def directories(self) -> Sequence[str]:
        """The names of the directories at the top."""
        return sorted({path.partition("/")[0] for path in self.files if "/" in path})

    def text(self, path: str) -> str:
        """Return the text of a file; empty if it was not read."""
        return self.texts.get(path, "")

    def texts_named(self, *names: str) -> Iterator[str]:
        """Yield the texts of files with one of these names or suffixes, at any depth."""
        for path, text in self.texts.items():
            if posixpath.basename(path) in names or posixpath.splitext(path)[1] in names:
                yield text

    def below(self, directory: str) -> SourceTree:
        """Return the tree of a directory."""
        start = len(directory) + 1
        prefix = f"{directory}/"
        files = [path[start:] for path in self.files if path.startswith(prefix)]
        texts = {path[start:]: text for path, text in self.texts.items() if path.startswith(prefix)}
        return SourceTree(posixpath.basename(directory), files, texts)
