"""The files of a directory that match patterns, within limits. For `envmatrix.confined` alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from envmatrix.confined import entries
from envmatrix.confined.entries import Refused
from envmatrix.records import dataclass
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
    """Regular file by its name in the directory, as a pattern spells it; `size` in bytes."""

    name: str
    size: int


Kind: TypeAlias = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """Directory entry, by its path in the directory."""

    name: str
    kind: Kind


def entries_below(top: int) -> Iterator[Entry]:
    """Yield entries of any kind, unsorted, without those beyond the depth limit."""
    pending: list[_Parts] = [()]
    while pending:
        directory = pending.pop()
        for entry in _scan(top, directory):
            kind = _kind(entry)
            yield Entry("/".join((*directory, entry.name)), kind)
            if kind == "directory" and len(directory) < DEEPEST:
                pending.append((*directory, entry.name))


def _scan(top: int, place: _Parts) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a directory; nothing where it is unreadable or missing."""
    try:
        directory = entries.open_directory(top, place)
    except OSError:
        return
    with entries.closing(directory), os.scandir(directory) as scan:
        yield from scan


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


class Listing:
    """Files below an open directory that match patterns, within limits."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._entries = 0
        self._files: dict[str, File] = {}

    def of(self, patterns: Iterable[str]) -> Iterable[File]:
        remainders = frozenset(tuple(entries.parts_of(pattern)) for pattern in patterns)
        pending: list[_Visit] = [((), (), remainders)]
        while pending:
            place, spelled, remainders = pending.pop()
            expanded = _expand_double_stars(remainders)
            for entry in _scan(self._top, place):
                self._entries += 1
                if self._entries > MOST_ENTRIES:
                    raise Refused(f"the directory has more than {MOST_ENTRIES} entries")
                pending += self._below(entry, place, spelled, expanded)
        return self._files.values()

    def _below(
        self, entry: os.DirEntry[str], place: _Parts, spelled: _Parts, remainders: frozenset[_Parts]
    ) -> Iterator[_Visit]:
        """Yield the directory to visit for an entry of `place`, which patterns spell `spelled`,
        with the remainders of patterns for it; add the file where one matches."""
        name = (*spelled, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if onward := frozenset(_onward(remainders, entry.name)):
                if len(place) >= DEEPEST:
                    raise Refused(f"`{one_line(name[0])}` is more than {DEEPEST} directories deep")
                yield (*place, entry.name), name, onward
        elif entry.is_symlink():
            onward = frozenset(
                remainder[1:]
                for remainder in remainders
                if remainder[0] == entry.name and remainder[1:]
            )
            if onward:
                with suppress(OSError, Refused):
                    yield entries.resolve_links(self._top, (*place, entry.name)), name, onward
        elif entry.is_file(follow_symlinks=False) and any(
            _is_last(remainder, entry.name) for remainder in remainders
        ):
            self._add("/".join(name), entry)

    def _add(self, name: str, entry: os.DirEntry[str]) -> None:
        with suppress(OSError):
            self._files[name] = File(name, entry.stat(follow_symlinks=False).st_size)
        if len(self._files) > MOST_FILES:
            raise Refused(f"the patterns match more than {MOST_FILES} files")


def _expand_double_stars(remainders: frozenset[_Parts]) -> frozenset[_Parts]:
    """Return `remainders`, and those where `**` matches no directory."""
    expanded = set(remainders)
    for remainder in remainders:
        while remainder[0] == "**" and remainder[1:]:
            remainder = remainder[1:]
            expanded.add(remainder)
    return frozenset(expanded)


def _onward(remainders: Iterable[_Parts], name: str) -> Iterator[_Parts]:
    for remainder in remainders:
        if remainder[0] == "**":
            yield remainder
        elif remainder[1:] and fnmatchcase(name, remainder[0]):
            yield remainder[1:]


def _is_last(remainder: _Parts, name: str) -> bool:
    return len(remainder) == 1 and fnmatchcase(name, remainder[0])
