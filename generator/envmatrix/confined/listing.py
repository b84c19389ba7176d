"""The files of a directory that match patterns, within limits. For `envmatrix.confined` alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from envmatrix.confined import entries
from envmatrix.confined.entries import Refused
from envmatrix.text import one_line

# Entries that are looked at, files that match, and directories in each other.
MOST_ENTRIES = 2_000_000
MOST_FILES = 20_000
DEEPEST = 64

_Parts: TypeAlias = tuple[str, ...]
# A directory, how patterns spell it, and what is left of them there.
_Visit: TypeAlias = tuple[_Parts, _Parts, frozenset[_Parts]]


@dataclass(frozen=True, slots=True, order=True)
class File:
    """A regular file by its name in the directory, as a pattern spells it; `size` in bytes."""

    name: str
    size: int


Kind: TypeAlias = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """What is in a directory, by its name in there."""

    name: str
    kind: Kind


def entries_below(top: int) -> Iterator[Entry]:
    """Entries of any kind, as they come, but not those that lie too deep."""
    waiting: list[_Parts] = [()]
    while waiting:
        place = waiting.pop()
        for entry in _in(top, place):
            kind = _kind(entry)
            yield Entry("/".join((*place, entry.name)), kind)
            if kind == "directory" and len(place) < DEEPEST:
                waiting.append((*place, entry.name))


def _in(top: int, place: _Parts) -> Iterator[os.DirEntry[str]]:
    """The entries of a directory; none where it is not to be read, or gone."""
    try:
        directory = entries.own_directory(top, place)
    except OSError:
        return
    try:
        with os.scandir(directory) as found:
            yield from found
    finally:
        os.close(directory)


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


class Listing:
    """The files below an open directory that match patterns, within limits."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._entries = 0
        self._found: dict[str, File] = {}

    def of(self, patterns: Iterable[str]) -> Iterable[File]:
        rests = frozenset(tuple(entries.parts_of(pattern)) for pattern in patterns)
        waiting: list[_Visit] = [((), (), rests)]
        while waiting:
            waiting += self._look_in(*waiting.pop())
        return self._found.values()

    def _look_in(
        self, place: _Parts, spelled: _Parts, rests: frozenset[_Parts]
    ) -> Iterator[_Visit]:
        """What is to be looked at below `place`, which patterns spell `spelled`, and with which
        rests of patterns."""
        open_rests = _with_no_directories(rests)
        for entry in _in(self._top, place):
            self._count()
            yield from self._below(entry, place, spelled, open_rests)

    def _below(
        self, entry: os.DirEntry[str], place: _Parts, spelled: _Parts, rests: frozenset[_Parts]
    ) -> Iterator[_Visit]:
        name = (*spelled, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if onward := frozenset(_onward(rests, entry.name)):
                if len(place) >= DEEPEST:
                    raise Refused(f"`{one_line(name[0])}` is more than {DEEPEST} directories deep")
                yield (*place, entry.name), name, onward
        elif entry.is_symlink():
            onward = frozenset(rest[1:] for rest in rests if rest[0] == entry.name and rest[1:])
            if onward:
                with suppress(OSError, Refused):
                    yield entries.resolved(self._top, (*place, entry.name)), name, onward
        elif entry.is_file(follow_symlinks=False) and any(
            _is_last(rest, entry.name) for rest in rests
        ):
            self._add("/".join(name), entry)

    def _add(self, name: str, entry: os.DirEntry[str]) -> None:
        with suppress(OSError):
            self._found[name] = File(name, entry.stat(follow_symlinks=False).st_size)
        if len(self._found) > MOST_FILES:
            raise Refused(f"the patterns match more than {MOST_FILES} files")

    def _count(self) -> None:
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise Refused(f"the directory has more than {MOST_ENTRIES} entries")


def _with_no_directories(rests: frozenset[_Parts]) -> frozenset[_Parts]:
    """`rests`, and what is left of them where `**` is no directory at all."""
    found = set(rests)
    for rest in rests:
        while rest[0] == "**" and rest[1:]:
            rest = rest[1:]
            found.add(rest)
    return frozenset(found)


def _onward(rests: Iterable[_Parts], name: str) -> Iterator[_Parts]:
    for rest in rests:
        if rest[0] == "**":
            yield rest
        elif rest[1:] and fnmatchcase(name, rest[0]):
            yield rest[1:]


def _is_last(rest: _Parts, name: str) -> bool:
    return len(rest) == 1 and fnmatchcase(name, rest[0])
