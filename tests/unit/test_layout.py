"""What docs/layout.md says to be in images is what the recipes of every source put there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from posixpath import normpath

import pytest
from tests.layout import SOURCES, Listed, components, expected, in_image, system, variables

from envmatrix.facts.model import load_facts
from envmatrix.facts.recipes import Recipe, shipped_recipes

FACTS, RECIPES = load_facts(), shipped_recipes()

# As a CUDA root's own links have them.
LINKS = {"lib64": "targets/{target}/lib", "include": "targets/{target}/include"}

# Where files come with those of another component.
WITH = {("debian", "nvcc"): "cudart"}


def located(path: str) -> str:
    """Return a path of the page as a recipe would say it."""
    top, slash, rest = path.partition("/")
    return f"{LINKS.get(top, top)}{slash}{rest}".replace("<triplet>", "{triplet}")


def puts(recipe: Recipe, path: str) -> bool:
    """Return whether a recipe puts a file at `path`, or a directory that has it."""
    file = path.replace("*", "1")
    if any(fnmatchcase(file, text) for text in recipe.drop):
        return False
    stubs = (stub.library.removesuffix(".1") for stub in recipe.stubs.values())
    links = {*recipe.links, *(f"{LINKS['lib64']}/stubs/{name}" for name in stubs)}
    if recipe.profile:
        links.add("bin/nvcc.profile")
    return any(fnmatchcase(link, path) for link in links) or any(
        is_below(file, *pair) for pair in patterns_in(recipe)
    )


def patterns_in(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for places in recipe.take.values():
        for directory, patterns in places.items():
            yield from ((directory, pattern.rpartition("/")[2]) for pattern in patterns)


def is_below(path: str, directory: str, pattern: str) -> bool:
    rest = path if directory == "." else path.removeprefix(f"{directory}/")
    is_there = directory == "." or rest != path
    return is_there and fnmatchcase(rest.partition("/")[0], pattern)


def lacks(
    source: str, recipes: Collection[Recipe], release: str, paths: Collection[Listed]
) -> list[str]:
    required = [entry.path for entry in paths if entry.is_for(source, release)]
    return [path for path in required if not any(puts(recipe, located(path)) for recipe in recipes)]


def recipes_of(source: str, component: str) -> list[Recipe]:
    names = {component, WITH.get((source, component), component)}
    return [
        recipe
        for name in sorted(names)
        for recipe in RECIPES.sources[source].components[name].values()
    ]


def releases(source: str) -> list[str]:
    return [
        row.release
        for row in FACTS.cuda.values()
        if any(package.source == source for package in row.packages)
    ]


def test_the_page_has_every_component() -> None:
    assert components().keys() == FACTS.components.keys()
    assert all(components().values())


@pytest.mark.parametrize("source", RECIPES.sources)
def test_files_are_where_the_page_says(source: str) -> None:
    listed = components()
    missing = {
        (component, release): paths
        for component in RECIPES.sources[source].components
        for release in releases(source)
        if not FACTS.absence(component, source, release)
        and (paths := lacks(source, recipes_of(source, component), release, listed[component]))
    }
    assert not missing


@pytest.mark.parametrize("source", [name for name, row in RECIPES.sources.items() if row.cudnn])
def test_files_of_cudnn_are_where_the_page_says(source: str) -> None:
    for version, parts in RECIPES.sources[source].cudnn.items():
        missing = lacks(source, parts.values(), "12.4", components()["cudnn"])
        assert not missing, version


def test_every_source_has_a_word_on_the_page() -> None:
    assert RECIPES.sources.keys() == SOURCES.keys()


def test_a_file_that_no_recipe_puts_anywhere_is_told() -> None:
    where = [Listed("/usr/include/<triplet>/nccl.h"), Listed("lib64/libnccl.so")]
    assert lacks("pypi", recipes_of("pypi", "nccl"), "13.5", where) == ["lib64/libnccl.so"]
    dropped = [Listed("include/cuda.h"), Listed("include/curand.h")]
    cudart = recipes_of("debian", "cudart")
    assert lacks("debian", cudart, "12.4", dropped) == ["include/curand.h"]


@pytest.mark.parametrize(
    ("when", "source", "release", "is_for"),
    [
        ("", "pypi", "13.5", True),
        ("wheels", "pypi", "13.5", True),
        ("not wheels", "pypi", "13.5", False),
        ("Debian, packages", "nvidia-dnf", "12.4", True),
        ("since 12.0", "debian", "11.8", False),
        ("since 12.0", "debian", "12.0", True),
        ("before 13.0", "debian", "12.4", True),
        ("before 13.0", "pypi", "13.0", False),
    ],
)
def test_a_path_may_be_for_some_sources_or_releases(
    when: str, source: str, release: str, *, is_for: bool
) -> None:
    assert Listed("bin/nvprune", when).is_for(source, release) == is_for


def test_images_that_run_programs_have_what_these_load() -> None:
    paths = expected("runtime", "pypi", "13.5", ["cudart", "nvcc"])
    assert paths["lib64/libcudart.so.*"]
    assert not {"lib64/libcudart.so", "bin/nvcc", "include"} & paths.keys()
    assert expected("devel", "pypi", "13.5", ["cudart"])["include"]


def test_the_page_says_what_is_in_no_image() -> None:
    assert dict(system("devel"))["/etc/ld.so.conf.d/000_cuda.conf"] is False
    assert variables()["NVIDIA_REQUIRE_CUDA"] == ""
    assert variables()["CUDA_HOME"] == "/usr/local/cuda"


def test_words_of_a_path_mean_something_in_an_image() -> None:
    words = {"triplet": "aarch64-linux-gnu"}
    assert in_image("/usr/include/<triplet>/nccl.h", words) == (
        "/usr/include/aarch64-linux-gnu/nccl.h"
    )


def test_links_of_recipes_stay_in_the_root() -> None:
    for parts in (parts for row in RECIPES.sources.values() for parts in row.components.values()):
        for recipe in parts.values():
            for link, target in recipe.links.items():
                leads_to = normpath(f"{link.rpartition('/')[0]}/{target}")
                assert not leads_to.startswith(".."), link
