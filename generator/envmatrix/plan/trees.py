"""Trees: what is taken out of which file, and where that goes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from posixpath import dirname
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envmatrix.lock.components import Recipe, Stub


@dataclass(frozen=True, slots=True)
class Unpacking:
    """One file of a tree's packages: what is taken out of it, and where that goes."""

    file: str
    places: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def patterns(self) -> tuple[str, ...]:
        """What tar is asked for: it refuses a pattern that another one leaves nothing for. In an
        archive, below whose top directory all is, `bin/*` takes what is in `nvvm/bin` as well."""
        found = tuple(dict.fromkeys(text for _, patterns in self.places for text in patterns))
        top = "*/" if self.file.endswith(".tar.xz") else ""
        return tuple(
            text for text in found if not any(_covers(top + it, top + text) for it in found)
        )


@dataclass(frozen=True, slots=True)
class Tree:
    """A stage that assembles files under `root` for one layer. `stubs` are made of the headers in
    it, for CUDA's `target`. `searched` is where linkers look for its libraries without being told,
    and `described` where pkg-config looks."""

    stage: str
    files: str
    root: str
    unpackings: tuple[Unpacking, ...]
    drop: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    profile: bool
    target: str = ""
    stubs: tuple[Stub, ...] = ()
    searched: str = ""
    described: str = ""


def dropped(recipes: Sequence[Recipe]) -> list[str]:
    """What recipes drop, without what another one of them takes."""
    taken = {
        f"{directory}/{pattern.rsplit('/', 1)[-1]}"
        for recipe in recipes
        for places in recipe.take.values()
        for directory, patterns in places.items()
        for pattern in patterns
    }
    return [text for recipe in recipes for text in recipe.drop if text not in taken]


def with_links(tree: Tree, links: Mapping[str, str]) -> Tree:
    return replace(tree, links=(*tree.links, *links.items()))


def unpackings(
    recipes: Iterable[Recipe],
    named: Mapping[str, str],
    words: Mapping[str, str],
    located: Callable[[str], str],
) -> tuple[Unpacking, ...]:
    """Each file once, whichever components are in it."""
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for package, places in (pair for recipe in recipes for pair in recipe.take.items()):
        file = named[_package(package.format_map(words))]
        there = files.setdefault(file, {})
        for directory, patterns in places.items():
            texts = (text.format_map(words) for text in patterns)
            to = located(directory)
            there[to] = _without_covered((*there.get(to, ()), *texts))
    return tuple(Unpacking(file, tuple(places.items())) for file, places in files.items())


def _package(text: str) -> str:
    """The package of a recipe's `cutensor/libcutensor:cuda12@2.3.1` or `libnccl2=2.21.5-1`."""
    return re.split("[=@:]", text, maxsplit=1)[0].rpartition("/")[2]


def _without_covered(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that name what another one of the same directory names as well."""
    kept = dict.fromkeys(patterns)
    return tuple(
        text
        for text in kept
        if not any(_covers(it, text) and dirname(it) == dirname(text) for it in kept)
    )


def _covers(pattern: str, other: str) -> bool:
    return pattern != other and fnmatchcase(other, pattern)
