"""How each source's packages become a component's files: `data/components.yaml`, typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import yaml

from envmatrix.matrix.cells import version_key


@dataclass(frozen=True, slots=True)
class Recipe:
    """One part of one component. Texts hold `{words}` of the release and the target."""

    take: Mapping[str, Mapping[str, tuple[str, ...]]]
    drop: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""


@dataclass(frozen=True)
class Recipes:
    """`parts[source][component][part]`; `words[source][release]`, where a release has the words
    of all before it."""

    parts: Mapping[str, Mapping[str, Mapping[str, Recipe]]]
    words: Mapping[str, Mapping[str, Mapping[str, str]]]

    def of(self, source: str, components: Sequence[str], part: str) -> tuple[Recipe, ...]:
        """The recipes of `part` for those `components` that have one. All are in `source`: the
        rule `components` leaves out the cells that ask for another one."""
        known = self.parts[source]
        return tuple(known[name][part] for name in sorted(components) if part in known[name])

    def words_of(self, source: str, release: str) -> Mapping[str, str]:
        """What the `{words}` of `source` mean for a CUDA release."""
        rows = sorted(self.words[source].items(), key=lambda row: version_key(row[0]))
        until = [words for first, words in rows if version_key(first) <= version_key(release)]
        return {name: word for words in until for name, word in words.items()}


@cache
def shipped_recipes() -> Recipes:
    text = resources.files("envmatrix").joinpath("data/components.yaml").read_text("utf-8")
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # both build only strings
    document = yaml.load(text, Loader=loader)  # noqa: S506
    for row in document.values():
        if like := row.pop("like", None):
            row["words"] = _merged(document[like]["words"], row.get("words", {}))
            row |= {name: its for name, its in document[like].items() if name not in row}
    return Recipes(
        parts={
            source: {
                component: {part: _recipe(row) for part, row in parts.items()}
                for component, parts in components.items()
                if component != "words"
            }
            for source, components in document.items()
        },
        words={source: rows.get("words", {}) for source, rows in document.items()},
    )


def _merged(
    words: Mapping[str, Mapping[str, str]], others: Mapping[str, Mapping[str, str]]
) -> Mapping[str, Mapping[str, str]]:
    return {
        release: {**words.get(release, {}), **others.get(release, {})}
        for release in (*words, *others)
    }


def _recipe(row: Any) -> Recipe:
    return Recipe(
        take={
            package: {directory: tuple(patterns) for directory, patterns in places.items()}
            for package, places in row["take"].items()
        },
        drop=tuple(row.get("drop", ())),
        links=row.get("links", {}),
        profile=row.get("profile", ""),
    )
