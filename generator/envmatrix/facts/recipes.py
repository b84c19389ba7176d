"""Recipes that turn each source's packages into a component's files: `data/components.yaml`, typed,
with the versions of products that no release of CUDA pins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from envmatrix.facts.versions import in_range, version_key

# The end of the name of a package of one CUDA release.
_RELEASE_SUFFIX = re.compile(r"(-\{dev\})?-\{dashed\}$")


@dataclass(frozen=True, slots=True)
class Stub:
    """A driver library without a stub in a source. The generated stub has the functions that those
    `headers` that exist declare; each returns `answer`."""

    library: str
    headers: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One part of one component. Texts contain `{words}` of the release and the target."""

    take: Mapping[str, Mapping[str, tuple[str, ...]]]
    drop: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    stubs: tuple[Stub, ...] = ()


@dataclass(frozen=True, slots=True)
class ProductRelease:
    """A version of a product that no release of CUDA pins, for the CUDA releases from `first` to
    `last`. Its packages are `built` with a release of the same major; its archive is a
    `variant`."""

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
    products: Mapping[str, tuple[ProductRelease, ...]] = field(default_factory=dict)

    def of(self, source: str, components: Sequence[str], part: str) -> tuple[Recipe, ...]:
        """Return the recipes of `part` for those `components` that have one. `source` has all of
        them: the rule `components` excludes cells with others."""
        recipes = self.parts[source]
        return tuple(recipes[name][part] for name in sorted(components) if part in recipes[name])

    def of_cudnn(self, source: str, version: str) -> Mapping[str, Recipe]:
        """Return the recipes of a version of cuDNN, by part."""
        recipes = self.cudnn[source]
        applicable = [first for first in recipes if version_key(first) <= version_key(version)]
        return recipes[max(applicable, key=version_key)]

    def words_of(self, source: str, release: str) -> Mapping[str, str]:
        """Return the values of the `{words}` of `source` for a CUDA release."""
        rows = sorted(self.words[source].items(), key=lambda row: version_key(row[0]))
        applicable = [words for first, words in rows if version_key(first) <= version_key(release)]
        own = {name: word for words in applicable for name, word in words.items()}
        return {**self._product_words(release), **own}

    def _product_words(self, release: str) -> Mapping[str, str]:
        """Return the words of the newest version of each product that works with a release."""
        words: dict[str, str] = {}
        for name, products in self.products.items():
            compatible = [
                product for product in products if in_range(release, product.first, product.last)
            ]
            if compatible:
                product = max(compatible, key=lambda product: version_key(product.version))
                words[name], words[f"{name}_major"] = product.version, product.version.split(".")[0]
                words[f"{name}_built"], words[f"{name}_variant"] = product.built, product.variant
        return words


@cache
def shipped_recipes() -> Recipes:
    products = {
        name: tuple(ProductRelease(**row) for row in _read(f"{name}.yaml"))
        for name in ("cutensor", "nccl", "tensorrt")
    }
    return replace(recipes_of(_read("components.yaml")), products=products)


def recipes_of(document: Mapping[str, Any]) -> Recipes:
    """Return the recipes of a document such as `components.yaml`."""
    sources = {source: _merged_rows(source, document) for source in document}
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


def _merged_rows(source: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rows of a source, merged over those of the source that it is `like`."""
    rows = dict(document[source])
    if "like" not in rows:
        return rows
    like = _merged_rows(rows.pop("like"), document)
    words, own = like.get("words", {}), rows.get("words", {})
    both = {first: {**words.get(first, {}), **own.get(first, {})} for first in {*words, *own}}
    whole = {**like, **rows, "words": both}
    return _with_cross_packages(whole.pop("crossed"), whole) if "crossed" in whole else whole


def _with_cross_packages(components: Sequence[str], rows: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the rows of some components, with packages for cross compiling."""

    def part(name: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        take = row["take"].items()
        crossed = {
            _RELEASE_SUFFIX.sub("-cross-{cross}-{dashed}", package): places
            for package, places in take
        }
        return row if name == "tools" else {**row, "take": crossed}

    parts = {
        component: {name: part(name, row) for name, row in rows[component].items()}
        for component in components
    }
    return {**parts, "words": rows["words"]}


def _by_version(rows: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the complete recipes of cuDNN by the first version that uses them."""
    if "runtime" in rows:
        return {"0": rows}
    recipes: dict[str, Any] = {}
    before: Mapping[str, Any] = {}
    for first in sorted(rows, key=version_key):
        own = rows[first]
        recipes[first] = before = own if "runtime" in own else _with_changes(before, own)
    return recipes


def _with_changes(before: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parts of the version `before`, overridden by those of a later one."""

    def part(name: str) -> Mapping[str, Any]:
        row = own.get(name, {})
        links = {**before[name].get("links", {}), **row.get("links", {})}
        return {**before[name], **row, "links": links}

    return {name: part(name) for name in before}


def _parts(rows: Mapping[str, Any]) -> Mapping[str, Recipe]:
    return {part: _recipe(row) for part, row in rows.items()}


def _read(name: str) -> Any:
    text = resources.files("envmatrix").joinpath("facts/data", name).read_text("utf-8")
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
