"""Lists of the files in an archive's packages, and which package has what a build did not find.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from envmatrix.matrix.library import NATIVE
from envmatrix.records import dataclass

# A name that may be that of a header, a library, a module of pkg-config or CMake, or a program.
_NAME = re.compile(r"[A-Za-z0-9][\w.+/-]{0,99}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_HEADER = re.compile(r"\.(h|hh|hpp|hxx|inl|cuh)$|/")
_LIBRARY = re.compile(r"^lib[\w+-]+\.(so|a)\b")
_TRIPLET = r"(?:\w+-linux-gnu/)?"

# The patterns of the paths that a name may mean, the most probable first.
_Patterns = tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True, order=True)
class _Match:
    """A package with a file; the best match is the first."""

    kind: int
    length: int
    package: str


def find_packages(names: Iterable[str], lines: Iterable[str]) -> Mapping[str, str]:
    """Return the packages of names that a build did not find, as a library declares them, by an
    archive's list of files: `usr/include/a.h  libdevel/liba-dev,libdevel/libb-dev`."""
    patterns = {name: _patterns(name) for name in names if _NAME.fullmatch(name)}
    if not patterns:
        return {}
    # One search in each of a million lines, for the ends of paths.
    stems = "|".join({re.escape(_stem(name)) for name in patterns})
    may_match = re.compile(stems, re.IGNORECASE).search
    matches: dict[str, _Match] = {}
    for line in filter(may_match, lines):
        for name, rows in patterns.items():
            for match in _matches(rows, line):
                matches[name] = min(match, matches.get(name, match))
    return {name: _declared(match, patterns[name]) for name, match in matches.items()}


def _matches(patterns: _Patterns, line: str) -> Iterator[_Match]:
    """Yield the packages of a line, if its path matches."""
    path, _, places = line.rstrip().rpartition(" ")
    kinds = (kind for kind, row in enumerate(patterns) if row.fullmatch(path.rstrip()))
    for kind in islice(kinds, 1):
        names = (place.rpartition("/")[2] for place in places.split(","))
        yield from (_Match(kind, len(name), name) for name in names if _PACKAGE.fullmatch(name))


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".so")[0]


def _patterns(name: str) -> _Patterns:
    word = re.escape(name)
    if _LIBRARY.match(name):
        stem = re.escape(name.partition(".so")[0])
        return (re.compile(rf"usr/lib/{_TRIPLET}{stem}(\.so)?"),)
    if _HEADER.search(name):
        return (re.compile(rf"usr/include/{_TRIPLET}{word}"),)
    directory = rf"(?:cmake/{word}[^/]*|{word}[^/]*(?:/cmake)?)"
    config = rf"usr/(?:lib|share)/{_TRIPLET}{directory}/{word}-?Config\.cmake"
    return (
        re.compile(rf"usr/(?:lib|share)/{_TRIPLET}pkgconfig/{word}\.pc", re.IGNORECASE),
        re.compile(config, re.IGNORECASE),
        re.compile(rf"usr/lib/{_TRIPLET}lib{word}\.so"),
        re.compile(rf"usr/s?bin/{word}"),
    )


def _declared(match: _Match, patterns: _Patterns) -> str:
    """Return a package as a library declares it: programs are those of the build."""
    is_program = match.kind == len(patterns) - 1 and len(patterns) > 1
    return f"{match.package}{NATIVE}" if is_program else match.package
