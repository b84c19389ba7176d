"""The recipes of `data/components.yaml`, against what is known of the components."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from envmatrix.documents import parse_document
from envmatrix.facts.model import load_facts
from envmatrix.facts.recipes import Recipe, SourceRecipes, recipes_of, shipped_recipes
from envmatrix.facts.versions import version_key
from envmatrix.schema.decoding import decode_all

FACTS, RECIPES = load_facts(), shipped_recipes()

# The static libraries that are no variant of a shared one.
STATIC_ONLY = {"culibos", "nvptxcompiler"}


def recipes() -> Iterator[tuple[str, str, str, Recipe]]:
    for source, rows in RECIPES.sources.items():
        for component, parts in rows.components.items():
            for part, recipe in parts.items():
                yield source, component, part, recipe


def patterns(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield each directory with the patterns of its files."""
    for places in recipe.take.values():
        for directory, globs in places.items():
            yield from ((directory, pattern) for pattern in globs)


@pytest.mark.parametrize("source", RECIPES.sources)
def test_a_source_has_recipes_of_the_components_that_it_is_said_to_have(source: str) -> None:
    names = {
        component.name for component in FACTS.components.values() if source in component.sources
    }
    assert RECIPES.sources[source].components.keys() == names


# What follows from a cell, not from a release.
OF_A_CELL = dict.fromkeys(
    [
        "cross",
        "cudnn",
        "cudnn_major",
        "cudnn_pin",
        "dashed",
        "major",
        "release",
        "target",
        "triplet",
    ],
    "x",
)


def texts(recipe: Recipe) -> list[str]:
    fields = [*recipe.take, *recipe.drop, *recipe.links, *recipe.links.values(), recipe.profile]
    return fields + [text for pair in patterns(recipe) for text in pair]


def test_a_recipe_knows_its_words_for_every_release_of_its_source() -> None:
    for source, component, _, recipe in recipes():
        for release in FACTS.cuda.values():
            is_packaged = any(package.source == source for package in release.packages)
            if is_packaged and not FACTS.absence(component, source, release.release):
                words = {**OF_A_CELL, **RECIPES.words_of(source, release.release)}
                for text in texts(recipe):
                    assert text.format_map(words) is not None, component


def test_a_source_has_the_recipes_of_each_cudnn_that_it_is_said_to_have() -> None:
    for row in FACTS.cudnn.projects:
        words = {**OF_A_CELL, **RECIPES.words_of(row.source, f"{row.cuda}.9")}
        for version in filter(None, (row.first, row.last)):
            parts = RECIPES.of_cudnn(row.source, version)
            assert {*parts} == {"runtime", "devel"}
            for recipe in parts.values():
                assert all(text.format_map(words) for text in texts(recipe) if text)


def test_the_headers_of_cudnn_are_in_a_package_of_their_own_since_9_10() -> None:
    def of(version: str) -> list[str]:
        return [*RECIPES.of_cudnn("nvidia-apt", version)["devel"].take]

    assert of("8.9.6.50") == ["libcudnn8-{dev}={cudnn_pin}{built}{cudnn8}"]
    assert of("9.1") == ["libcudnn9-{dev}-cuda-{major}={cudnn_pin}"]
    assert of("9.10.2") == of("9.14") == ["libcudnn9-headers-cuda-{major}={cudnn_pin}"]


LIKE = b"""
apt:
  words: {"12.0": {dev: dev, lib: usr/lib}, "13.0": {nvvm: libnvvm}}
  components:
    cudart: {devel: {take: {"cudart-{dev}": {lib: ["{lib}/*"]}}}}
    nvml: {devel: {take: {nvml: {lib: ["*"]}}}}
dnf:
  like: apt
  words: {"12.0": {dev: devel}, "12.4": {lib: usr/lib64}}
  components:
    nvml: {devel: {take: {nvml-rpm: {lib: ["*"]}}}}
"""


def test_a_source_that_is_like_another_says_what_differs() -> None:
    document = parse_document(LIKE, "components.yaml")
    result = recipes_of(decode_all(Mapping[str, SourceRecipes], document))
    assert result.sources["dnf"].components["cudart"] == result.sources["apt"].components["cudart"]
    assert [*result.sources["dnf"].components["nvml"]["devel"].take] == ["nvml-rpm"]
    assert result.words_of("dnf", "12.0") == {"dev": "devel", "lib": "usr/lib"}
    assert result.words_of("dnf", "13.0") == {"dev": "devel", "lib": "usr/lib64", "nvvm": "libnvvm"}
    assert result.words_of("apt", "13.0") == {"dev": "dev", "lib": "usr/lib", "nvvm": "libnvvm"}


def test_nvidias_packages_are_named_as_its_rpm_packages_but_for_words() -> None:
    rpm = {"dev": "devel", "nccl_package": "libnccl"}
    fixed = re.compile(r"-dev\b")
    for parts in RECIPES.sources["nvidia-apt"].components.values():
        for recipe in parts.values():
            assert not any(fixed.search(package) for package in recipe.take)
    assert rpm.keys() <= RECIPES.words_of("nvidia-apt", "12.4").keys()


@pytest.mark.parametrize(
    ("product", "release", "version"),
    [
        ("nccl", "12.4", "2.21.5"),
        ("nccl", "12.5", "2.21.5"),
        ("nccl", "13.2", "2.28.3"),
        ("tensorrt", "12.4", "10.16.1.11"),
        ("tensorrt", "11.8", "10.0.1.6"),
        ("cutensor", "13.0", "2.3.1"),
    ],
)
def test_a_product_is_the_newest_that_works_with_the_release(
    product: str, release: str, version: str
) -> None:
    assert RECIPES.words_of("nvidia-apt", release)[product] == version


def test_a_product_is_of_no_release_that_it_does_not_work_with() -> None:
    assert "nccl" not in RECIPES.words_of("nvidia-apt", "12.1")


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


def test_a_link_leads_to_what_has_its_name() -> None:
    for _, _, _, recipe in recipes():
        for link, target in recipe.links.items():
            name = link.rpartition("/")[2]
            assert target.startswith((f"{name}.", "../"))
            assert not target.startswith("../") or target.endswith(f"/{name}")


@pytest.mark.parametrize("source", ["nvidia-apt", "nvidia-dnf"])
def test_a_version_of_cudnn_has_the_links_of_those_before_it(source: str) -> None:
    def headers(version: str) -> set[str]:
        links = RECIPES.of_cudnn(source, version)["devel"].links
        names = {link.rpartition("/")[2] for link in links}
        return {name for name in names if name.endswith(".h")}

    assert "cudnn_ops.h" in headers("9.1") == headers("9.21")
    assert headers("9.22") - headers("9.21") == {"cudnn_subquadratic_ops.h"}
    assert headers("9.28") - headers("9.25.1") == {"cudnn_gnn_ops.h"}
    assert "cudnn_ops_infer.h" in headers("8.9.6")
    assert not headers("8.9.6") & {"cudnn_ops.h", "cudnn_graph.h"}


def test_the_libraries_of_cudnn_are_linked_with_by_their_names() -> None:
    for source, version, part in (
        ("pypi", "9.28", "ops"),
        ("nvidia-apt", "9.28", "ops"),
        ("nvidia-apt", "8.9.6", "ops_infer"),
    ):
        links = RECIPES.of_cudnn(source, version)["devel"].links
        assert f"/usr/lib/{{triplet}}/libcudnn_{part}.so" in links, source


def test_the_cuda_runtime_of_debian_leaves_the_headers_of_others_to_them() -> None:
    dropped = RECIPES.sources["debian"].components["cudart"]["devel"].drop
    headers = {
        f"{directory}/{pattern.rsplit('/', 1)[-1]}"
        for source, component, _, recipe in recipes()
        if source == "debian" and component not in {"cudart", "profiler"}
        for package, places in recipe.take.items()
        if package.startswith("nvidia-cuda-dev")
        for directory, globs in places.items()
        if directory.endswith("/include")
        for pattern in globs
    }
    assert headers <= set(dropped)
