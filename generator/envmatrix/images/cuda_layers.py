"""Trees of files, and how they are unpacked from packages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from fnmatch import fnmatchcase
from posixpath import dirname
from typing import TYPE_CHECKING

from envmatrix.errors import OutOfDate
from envmatrix.facts.packages import PackageSpec
from envmatrix.records import dataclass

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
    def members(self) -> tuple[str, ...]:
        """The patterns of all members that it may unpack, sorted."""
        texts = {text.removeprefix("?") for _, patterns in self.places for text in patterns}
        return tuple(sorted(texts))

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
    libraries are exposed. Its hash has only what tells it from others of a lock, because thousands
    of lookups compute it."""

    stage: str
    script: str
    files: str
    root: str
    unpackings: tuple[Unpacking, ...] = field(default=(), hash=False)
    drop: tuple[str, ...] = field(default=(), hash=False)
    links: tuple[tuple[str, str], ...] = field(default=(), hash=False)
    profile: bool = False
    target: str = ""
    stubs: tuple[Stub, ...] = field(default=(), hash=False)
    library_directory: str = ""
    pkgconfig_directory: str = ""


@dataclass(frozen=True, slots=True)
class RecipeTexts:
    """The texts of recipes for a target: the values of their `{words}`, and the directories of the
    operating system by those of Debian."""

    words: Mapping[str, str]
    directories: Mapping[str, str]

    def expand(self, text: str) -> str:
        return text.format_map(self.words)

    def locate(self, path: str) -> str:
        for of_debian, own in self.directories.items():
            if path.startswith(of_debian):
                path = own + path.removeprefix(of_debian)
        return self.expand(path)


def assemble(
    tree: Tree, recipes: Sequence[Recipe], filenames: Mapping[str, str], texts: RecipeTexts
) -> Tree:
    """Return the tree with what recipes make of packages, whose files are in `filenames`. Its own
    links come after those of the recipes."""
    links = [link for recipe in recipes for link in recipe.links.items()]
    return replace(
        tree,
        unpackings=_unpackings(recipes, filenames, texts),
        drop=tuple(map(texts.expand, _paths_to_drop(recipes))),
        links=(*((texts.locate(link), texts.expand(to)) for link, to in links), *tree.links),
        profile=any(texts.expand(recipe.profile) for recipe in recipes),
        target=texts.words["target"],
        stubs=tuple(stub for recipe in recipes for stub in recipe.stubs.values()),
    )


def _paths_to_drop(recipes: Sequence[Recipe]) -> list[str]:
    """Return the paths that recipes drop, without those that another one of them unpacks."""
    unpacked = {
        f"{directory}/{pattern.rsplit('/', 1)[-1]}"
        for recipe in recipes
        for places in recipe.take.values()
        for directory, patterns in places.items()
        for pattern in patterns
    }
    return [text for recipe in recipes for text in recipe.drop if text not in unpacked]


def _unpackings(
    recipes: Sequence[Recipe], filenames: Mapping[str, str], texts: RecipeTexts
) -> tuple[Unpacking, ...]:
    """Return the unpacking of each file, once for all components in it."""
    files: dict[str, dict[str, tuple[str, ...]]] = {}
    for package, places in (pair for recipe in recipes for pair in recipe.take.items()):
        name = PackageSpec.parse(texts.expand(package)).name
        if name not in filenames:
            raise OutOfDate(
                f"the lock lacks the package `{name}`", hint="restore it from version control"
            )
        targets = files.setdefault(filenames[name], {})
        for directory, patterns in places.items():
            target = texts.locate(directory)
            expanded = map(texts.expand, patterns)
            targets[target] = _without_covered((*targets.get(target, ()), *expanded))
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
