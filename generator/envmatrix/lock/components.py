"""How each source's packages become a component's files: `data/components.yaml`, typed, with the
versions of products that no release of CUDA pins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from envmatrix.matrix.cells import version_key
from envmatrix.matrix.facts import in_range

# How the name of a package of one CUDA release ends.
_OF_RELEASE = re.compile(r"(-\{dev\})?-\{dashed\}$")


@dataclass(frozen=True, slots=True)
class Stub:
    """A library of the driver that a source has no stub of. One is made, of the functions that
    `headers` declare, as far as they are there; each returns `answer`."""

    library: str
    headers: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One part of one component. Texts hold `{words}` of the release and the target."""

    take: Mapping[str, Mapping[str, tuple[str, ...]]]
    drop: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    stubs: tuple[Stub, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """A version of a product that no release of CUDA pins, for the releases from `first` to `last`:
    its packages are `built` with one of the same major, its archive is a `variant`."""

    version: str
    first: str
    ref: str
    last: str | None = None
    built: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Recipes:
    """`parts[source][component][part]`, `cudnn[source][version][part]`, where a version of cuDNN
    has the recipes of the last one before it; `words[source][release]`, where a release has the
    words of all before it."""

    parts: Mapping[str, Mapping[str, Mapping[str, Recipe]]]
    cudnn: Mapping[str, Mapping[str, Mapping[str, Recipe]]]
    words: Mapping[str, Mapping[str, Mapping[str, str]]]
    products: Mapping[str, tuple[Product, ...]] = field(default_factory=dict)

    def of(self, source: str, components: Sequence[str], part: str) -> tuple[Recipe, ...]:
        """The recipes of `part` for those `components` that have one. All are in `source`: the
        rule `components` leaves out the cells that ask for another one."""
        known = self.parts[source]
        return tuple(known[name][part] for name in sorted(components) if part in known[name])

    def of_cudnn(self, source: str, version: str) -> Mapping[str, Recipe]:
        """The recipes of a version of cuDNN, by part."""
        known = self.cudnn[source]
        until = [first for first in known if version_key(first) <= version_key(version)]
        return known[max(until, key=version_key)]

    def words_of(self, source: str, release: str) -> Mapping[str, str]:
        """What the `{words}` of `source` mean for a CUDA release."""
        rows = sorted(self.words[source].items(), key=lambda row: version_key(row[0]))
        until = [words for first, words in rows if version_key(first) <= version_key(release)]
        own = {name: word for words in until for name, word in words.items()}
        return {**self._product_words(release), **own}

    def _product_words(self, release: str) -> Mapping[str, str]:
        """The newest version of each product that works with a release."""
        found: dict[str, str] = {}
        for name, products in self.products.items():
            known = [its for its in products if in_range(release, its.first, its.last)]
            if known:
                its = max(known, key=lambda product: version_key(product.version))
                found[name], found[f"{name}_major"] = its.version, its.version.split(".")[0]
                found[f"{name}_built"], found[f"{name}_variant"] = its.built, its.variant
        return found


@cache
def shipped_recipes() -> Recipes:
    products = {
        name: tuple(Product(**row) for row in _read(f"{name}.yaml"))
        for name in ("cutensor", "nccl", "tensorrt")
    }
    return replace(recipes_of(_read("components.yaml")), products=products)


def recipes_of(document: Mapping[str, Any]) -> Recipes:
    """The recipes of a document such as `components.yaml`."""
    sources = {source: _whole(source, document) for source in document}
    return Recipes(
        parts={
            source: {
                component: _parts(parts)
                for component, parts in rows.items()
                if component not in ("words", "cudnn")
            }
            for source, rows in sources.items()
        },
        cudnn={
            source: {first: _parts(parts) for first, parts in _by_version(rows["cudnn"]).items()}
            for source, rows in sources.items()
            if "cudnn" in rows
        },
        words={source: rows.get("words", {}) for source, rows in sources.items()},
    )


def _whole(source: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands under a source, over what stands under the one that it is `like`."""
    rows = dict(document[source])
    if "like" not in rows:
        return rows
    like = _whole(rows.pop("like"), document)
    words, own = like.get("words", {}), rows.get("words", {})
    both = {first: {**words.get(first, {}), **own.get(first, {})} for first in {*words, *own}}
    whole = {**like, **rows, "words": both}
    return _crossed(whole.pop("crossed"), whole) if "crossed" in whole else whole


def _crossed(components: Sequence[str], rows: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rows of some components, with the packages that are for a target on another machine."""

    def part(name: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        take = row["take"].items()
        crossed = {
            _OF_RELEASE.sub("-cross-{cross}-{dashed}", package): its for package, its in take
        }
        return row if name == "tools" else {**row, "take": crossed}

    parts = {
        component: {name: part(name, row) for name, row in rows[component].items()}
        for component in components
    }
    return {**parts, "words": rows["words"]}


def _by_version(rows: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipes of cuDNN, each whole, by the first version that has them."""
    if "runtime" in rows:
        return {"0": rows}
    found: dict[str, Any] = {}
    before: Mapping[str, Any] = {}
    for first in sorted(rows, key=version_key):
        own = rows[first]
        found[first] = before = own if "runtime" in own else _changed(before, own)
    return found


def _changed(before: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of the version `before`, with what a later one says itself."""

    def part(name: str) -> Mapping[str, Any]:
        row = own.get(name, {})
        links = {**before[name].get("links", {}), **row.get("links", {})}
        return {**before[name], **row, "links": links}

    return {name: part(name) for name in before}


def _parts(rows: Mapping[str, Any]) -> Mapping[str, Recipe]:
    return {part: _recipe(row) for part, row in rows.items()}


def _read(name: str) -> Any:
    text = resources.files("envmatrix").joinpath("data", name).read_text("utf-8")
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # both build only strings
    return yaml.load(text, Loader=loader)  # noqa: S506


def _recipe(row: Any) -> Recipe:
    return Recipe(
        take={
            package: {directory: tuple(patterns) for directory, patterns in places.items()}
            for package, places in row["take"].items()
        },
        drop=tuple(row.get("drop", ())),
        links=row.get("links", {}),
        profile=row.get("profile", ""),
        stubs=tuple(
            Stub(library, tuple(of["headers"]), of["answer"])
            for library, of in row.get("stubs", {}).items()
        ),
    )
