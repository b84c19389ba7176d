"""The recipes of `data/components.yaml`, against what is known of the components."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from envmatrix.lock.components import Recipe, shipped_recipes
from envmatrix.matrix.cells import version_key
from envmatrix.matrix.facts import load_facts

FACTS, RECIPES = load_facts(), shipped_recipes()

# The static libraries that are no variant of a shared one.
STATIC_ONLY = {"culibos", "nvptxcompiler"}


def recipes() -> Iterator[tuple[str, str, str, Recipe]]:
    for source, components in RECIPES.parts.items():
        for component, parts in components.items():
            for part, recipe in parts.items():
                yield source, component, part, recipe


def patterns(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Each directory with a pattern of what goes there."""
    for places in recipe.take.values():
        for directory, found in places.items():
            yield from ((directory, pattern) for pattern in found)


@pytest.mark.parametrize("source", RECIPES.parts)
def test_a_source_has_recipes_of_the_components_that_it_is_said_to_have(source: str) -> None:
    said = {its.name for its in FACTS.components.values() if source in its.sources}
    assert RECIPES.parts[source].keys() - {"cudnn"} == said


def test_a_recipe_knows_its_words_for_every_release_of_its_source() -> None:
    others = dict.fromkeys(["cudnn_major", "dashed", "major", "release", "target", "triplet"], "")
    for source, component, _, recipe in recipes():
        for release in FACTS.cuda.values():
            if any(package.source == source for package in release.packages):
                words = {**others, **RECIPES.words_of(source, release.release)}
                texts = [*recipe.take, *recipe.drop, *recipe.links.values(), recipe.profile]
                texts += [text for pair in patterns(recipe) for text in pair]
                for text in texts:
                    assert text.format_map(words) is not None, component


def test_static_libraries_come_when_they_are_asked_for() -> None:
    for _, component, part, recipe in recipes():
        if component.endswith("-static"):
            shared = component.removesuffix("-static")
            needs = FACTS.components[component].needs
            assert shared in needs[min(needs, key=version_key)]
            assert part == "devel"
            assert all("_static" in pattern for _, pattern in patterns(recipe))
        elif component not in {*STATIC_ONLY, "cudart"}:
            assert not any(pattern.endswith(".a") for _, pattern in patterns(recipe))


def test_a_link_leads_to_the_library_of_its_name() -> None:
    for _, _, _, recipe in recipes():
        for link, target in recipe.links.items():
            assert target.startswith(f"{link.rsplit('/', 1)[-1]}.")


def test_the_cuda_runtime_of_debian_leaves_the_headers_of_others_to_them() -> None:
    dropped = RECIPES.parts["debian"]["cudart"]["devel"].drop
    taken = {
        f"{directory}/{pattern.rsplit('/', 1)[-1]}"
        for source, component, _, recipe in recipes()
        if source == "debian" and component not in {"cudart", "profiler"}
        for package, places in recipe.take.items()
        if package.startswith("nvidia-cuda-dev")
        for directory, found in places.items()
        if directory.endswith("/include")
        for pattern in found
    }
    assert taken <= set(dropped)
