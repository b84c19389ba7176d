"""Trees of files, and how they are unpacked from packages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from posixpath import dirname
from typing import TYPE_CHECKING

from envmatrix.facts.packages import PackageSpec

if TYPE_CHECKING:
    from envmatrix.facts.recipes import Recipe, Stub


@dataclass(frozen=True, slots=True)
class Unpacking:
    """One package of a tree: for each target directory, the patterns of files to unpack to it."""

    file: str
    places: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns for tar, without those that others cover: tar fails for a pattern without
        matches. In an archive with one top directory, `bin/*` matches `nvvm/bin` as well."""
        every = tuple(dict.fromkeys(text for _, patterns in self.places for text in patterns))
        top = "*/" if self.file.endswith(".tar.xz") else ""
        return tuple(
            text for text in every if not any(_covers(top + other, top + text) for other in every)
        )

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield each directory with a pattern, after `=` if another pattern unpacks its files."""
        left = set(self.patterns)
        for directory, patterns in self.places:
            for text in patterns:
                yield directory, text if text in left else f"={text}"
                left.discard(text)


@dataclass(frozen=True, slots=True)
class Tree:
    """A stage that assembles files under `root` for one layer; `script` is the name of its program.
    `stubs` are made of the headers in it, for CUDA's `target`. `library_directory` and
    `pkgconfig_directory` are default directories of linkers and of pkg-config, in which its
    libraries are exposed."""

    stage: str
    script: str
    files: str
    root: str
    unpackings: tuple[Unpacking, ...]
    drop: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    profile: bool
    target: str = ""
    stubs: tuple[Stub, ...] = ()
    library_directory: str = ""
    pkgconfig_directory: str = ""


def paths_to_drop(recipes: Sequence[Recipe]) -> list[str]:
    """Return the paths that recipes drop, without those that another one of them unpacks."""
    unpacked = {
        f"{directory}/{pattern.rsplit('/', 1)[-1]}"
        for recipe in recipes
        for places in recipe.take.values()
        for directory, patterns in places.items()
        for pattern in patterns
    }
    return [text for recipe in recipes for text in recipe.drop if text not in unpacked]


def with_links(tree: Tree, links: Mapping[str, str]) -> Tree:
    return replace(tree, links=(*tree.links, *links.items()))


def unpackings(
    recipes: Iterable[Recipe],
    filenames: Mapping[str, str],
    words: Mapping[str, str],
    locate: Callable[[str], str],
) -> tuple[Unpacking, ...]:
    """Return the unpacking of each file, once for all components in it."""
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for package, places in (pair for recipe in recipes for pair in recipe.take.items()):
        file = filenames[PackageSpec.parse(package.format_map(words)).name]
        targets = files.setdefault(file, {})
        for directory, patterns in places.items():
            texts = (text.format_map(words) for text in patterns)
            target = locate(directory)
            targets[target] = _without_covered((*targets.get(target, ()), *texts))
    return tuple(Unpacking(file, tuple(places.items())) for file, places in files.items())


def _without_covered(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patterns without those that another one in the same directory covers."""
    unique = dict.fromkeys(patterns)
    return tuple(
        text
        for text in unique
        if not any(_covers(other, text) and dirname(other) == dirname(text) for other in unique)
    )


def _covers(pattern: str, other: str) -> bool:
    return pattern != other and fnmatchcase(other, pattern)
