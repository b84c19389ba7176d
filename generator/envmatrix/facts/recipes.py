"""Recipes that turn each source's packages into a component's files: `facts/data/components.yaml`,
with the versions of products that no release of CUDA pins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cache
from typing import Annotated

from envmatrix.facts.loading import read_facts
from envmatrix.facts.versions import in_range, version_key
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark

# The end of the name of a package of one CUDA release.
_RELEASE_SUFFIX = re.compile(r"(-\{dev\})?-\{dashed\}$")


@dataclass(frozen=True, slots=True)
class Stub:
    """A driver library without a stub in a source. The generated stub has the functions that those
    `headers` that exist declare; each returns `answer`."""

    library: Annotated[str, Mark.KEY]
    headers: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One part of one component. Texts contain `{words}` of the release and the target."""

    take: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    stubs: Mapping[str, Stub] = field(default_factory=dict)

    def changed_by(self, later: Recipe) -> Recipe:
        """Return the recipe with the files of a later version, if it names any, and its links."""
        return replace(self, take=later.take or self.take, links={**self.links, **later.links})


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


@dataclass(frozen=True, slots=True)
class SourceRecipes:
    """The recipes of a source. One that is `like` another has its words and recipes as well; with
    `crossed` components, only theirs, of packages for cross compiling. Recipes are by component and
    part, those of cuDNN by version and part, words by CUDA release."""

    like: str | None = None
    crossed: tuple[str, ...] = ()
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    components: Mapping[str, Mapping[str, Recipe]] = field(default_factory=dict)
    cudnn: Mapping[str, Mapping[str, Recipe]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipes:
    """The complete recipes of each source: a version of cuDNN has those of the last one before it,
    and a release the words of all before it."""

    sources: Mapping[str, SourceRecipes]
    products: Mapping[str, tuple[ProductRelease, ...]] = field(default_factory=dict)

    def of(self, source: str, components: Sequence[str], part: str) -> tuple[Recipe, ...]:
        """Return the recipes of `part` for those `components` that have one. `source` has all of
        them: the rule `components` excludes cells with others."""
        recipes = self.sources[source].components
        return tuple(recipes[name][part] for name in sorted(components) if part in recipes[name])

    def of_cudnn(self, source: str, version: str) -> Mapping[str, Recipe]:
        """Return the recipes of a version of cuDNN, by part."""
        recipes = self.sources[source].cudnn
        applicable = [first for first in recipes if version_key(first) <= version_key(version)]
        return recipes[max(applicable, key=version_key)]

    def words_of(self, source: str, release: str) -> Mapping[str, str]:
        """Return the values of the `{words}` of `source` for a CUDA release."""
        rows = sorted(self.sources[source].words.items(), key=lambda row: version_key(row[0]))
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
        name: read_facts(f"{name}.yaml", tuple[ProductRelease, ...])
        for name in ("cutensor", "nccl", "tensorrt")
    }
    return recipes_of(read_facts("components.yaml", Mapping[str, SourceRecipes]), products)


def recipes_of(
    sources: Mapping[str, SourceRecipes],
    products: Mapping[str, tuple[ProductRelease, ...]] | None = None,
) -> Recipes:
    """Return the recipes of sources, each with those of the source that it is `like`."""
    complete = {name: _complete(source, sources) for name, source in sources.items()}
    return Recipes(complete, products or {})


def _complete(own: SourceRecipes, sources: Mapping[str, SourceRecipes]) -> SourceRecipes:
    """Return the recipes of a source, over those of the source that it is `like`."""
    if own.like is None:
        return replace(own, cudnn=_by_version(own.cudnn))
    like = _complete(sources[own.like], sources)
    words = {
        first: {**like.words.get(first, {}), **own.words.get(first, {})}
        for first in {*like.words, *own.words}
    }
    components = {**like.components, **own.components}
    if own.crossed:
        crossed = {name: _crossed(components[name]) for name in own.crossed}
        return SourceRecipes(words=words, components=crossed)
    cudnn = _by_version(own.cudnn) or like.cudnn
    return SourceRecipes(words=words, components=components, cudnn=cudnn)


def _crossed(parts: Mapping[str, Recipe]) -> Mapping[str, Recipe]:
    """Return the recipes of a component with packages for cross compiling, but for its tools."""

    def crossed(recipe: Recipe) -> Recipe:
        take = {
            _RELEASE_SUFFIX.sub("-cross-{cross}-{dashed}", package): places
            for package, places in recipe.take.items()
        }
        return replace(recipe, take=take)

    return {name: part if name == "tools" else crossed(part) for name, part in parts.items()}


def _by_version(rows: Mapping[str, Mapping[str, Recipe]]) -> Mapping[str, Mapping[str, Recipe]]:
    """Return the complete recipes of cuDNN by the first version that uses them."""
    recipes: dict[str, Mapping[str, Recipe]] = {}
    before: Mapping[str, Recipe] = {}
    for first in sorted(rows, key=version_key):
        own = rows[first]
        changed = {name: part.changed_by(own.get(name, Recipe())) for name, part in before.items()}
        recipes[first] = before = own if "runtime" in own else changed
    return recipes
