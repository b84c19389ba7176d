"""The flavours of images, as envs/*.yaml define them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from string import Formatter

from envmatrix.documents import Document
from envmatrix.errors import Problem
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import CROSS_HOST, TARGETS, docker_arch
from envmatrix.matrix.checks import component_problems
from envmatrix.matrix.model import ANALYSIS, OF_TARGET, Flavour, Matrix
from envmatrix.matrix.validation import read_document
from envmatrix.suggestions import did_you_mean

# The required flavours, each with the one that it extends.
IMAGES: Mapping[str, str | None] = {"runtime": None, "devel": "runtime", "cross": "devel"}

# A minimal example of each, for hints: enough to compile with CMake and to run CTest.
_SMALLEST: Mapping[str, str] = {
    "runtime": "{flavour: runtime, components: [cudart], packages: [cmake, libgomp1, libstdc++6]}",
    "devel": "{flavour: devel, extends: runtime, components: [nvcc, cccl], "
    'packages: ["g++-{gcc}", make, ninja-build]}',
    "cross": '{flavour: cross, extends: devel, packages: ["g++-{gcc}-{triplet}"]}',
}

# The optional flavours, likewise.
_OPTIONAL: Mapping[str, str] = {ANALYSIS: "devel"}

# Debian's names of the architectures whose packages a cross image may have: its own, and those of
# its targets.
_ARCHITECTURES = sorted(
    {
        docker_arch(name)
        for name, target in TARGETS.items()
        if name == CROSS_HOST or (target.crossed != "no" and "cross" not in target.packages)
    }
)

_PLACEHOLDERS = ("compiler", "gcc", "triplet")


def read_flavours(
    documents: Sequence[Document], facts: Facts
) -> tuple[dict[str, Flavour], list[Problem]]:
    """Return the flavours by name, each after the one it extends, and all problems; no flavours if
    there are problems."""
    readings = [read_document(Flavour, document) for document in documents]
    problems = [problem for reading in readings for problem in reading.document.problems]
    valid = [(reading.contents, reading.document) for reading in readings if reading.contents]
    flavours = {flavour.flavour: flavour for flavour, _ in valid}
    for flavour, document in valid:
        problems += _problems(flavour, document, flavours, facts)
    return ({} if problems else _by_extension(flavours)), problems


def required_flavour_problems(
    flavours: Mapping[str, Flavour], documents: Sequence[Document]
) -> Iterator[Problem]:
    """Yield required flavours that are missing, empty, or extend the wrong flavour."""
    documents_by_name = {PurePosixPath(document.file).stem: document for document in documents}
    optional = {name: parent for name, parent in _OPTIONAL.items() if name in flavours}
    for name, parent in {**IMAGES, **optional}.items():
        flavour = flavours.get(name)
        if flavour is None:
            hint = f"describe it in `envs/{name}.yaml`, for example: `{_SMALLEST[name]}`"
            yield Problem(f"there is no flavour `{name}`", hint=hint)
            continue
        if flavour.extends != parent:
            must = f"must extend `{parent}`" if parent else "must extend no other"
            yield Problem(f"flavour `{name}` {must}", documents_by_name[name].position("extends"))
        if not flavour.packages:
            position = documents_by_name[name].key_position("packages")
            yield Problem(f"flavour `{name}` needs at least one of `packages`", position)


def family_problems(matrix: Matrix, documents: Sequence[Document]) -> Iterator[Problem]:
    """Yield flavours without packages for the family of a system of the matrix."""
    documents_by_name = {PurePosixPath(document.file).stem: document for document in documents}
    systems = {matrix.facts.os[os].family.name: os for os in reversed(matrix.axes["os"])}
    for family, os in sorted(systems.items()):
        for name in ("runtime", "devel"):
            if not matrix.flavours[name].packages_of(family):
                yield Problem(
                    f"flavour `{name}` has no packages of the family `{family}` for `{os}`",
                    documents_by_name[name].position(),
                    f"name them there: `families: {{{family}: [...]}}`",
                )


def components_of_images(flavours: Mapping[str, Flavour]) -> Iterator[str]:
    for name in IMAGES:
        if flavour := flavours.get(name):
            yield from flavour.components


def _by_extension(flavours: Mapping[str, Flavour]) -> dict[str, Flavour]:
    names = sorted(flavours, key=lambda name: (len(list(_ancestors(name, flavours))), name))
    return {name: flavours[name] for name in names}


def _ancestors(name: str, flavours: Mapping[str, Flavour]) -> Iterator[str]:
    """Yield the flavours that `name` extends, directly and indirectly; a cycle ends at its first
    repeated flavour."""
    visited = {name}
    while (flavour := flavours.get(name)) and (parent := flavour.extends):
        yield parent
        if parent in visited:
            return
        visited.add(parent)
        name = parent


def _problems(
    contents: Flavour, document: Document, flavours: Mapping[str, Flavour], facts: Facts
) -> Iterator[Problem]:
    yield from _name_problems(contents, document)
    yield from _extension_problems(contents, document, flavours)
    yield from component_problems(contents.components, document, ("components",), facts)
    of_cross = "cross" in (contents.flavour, *_ancestors(contents.flavour, flavours))
    for index, package in enumerate(contents.packages):
        yield from _placeholder_problems(package, document, ("packages", index))
        if problem := _architecture_problem(package, contents.flavour, of_cross=of_cross):
            yield replace(problem, position=document.position("packages", index))
    for family, packages in contents.families.items():
        for index, package in enumerate(packages):
            yield from _placeholder_problems(package, document, ("families", family, index))
            if ":" in package:
                yield Problem(
                    f"`{package}`: packages of the family `{family}` are of the image's own "
                    "architecture",
                    document.position("families", family, index),
                    "only systems of the family `deb` have cross images",
                )


def _name_problems(contents: Flavour, document: Document) -> Iterator[Problem]:
    stem = PurePosixPath(document.file).stem
    if contents.flavour != stem:
        message = f"flavour `{contents.flavour}` is described in a file called `{stem}`"
        yield Problem(message, document.position("flavour"))


def _extension_problems(
    contents: Flavour, document: Document, flavours: Mapping[str, Flavour]
) -> Iterator[Problem]:
    if contents.extends is None:
        return
    position = document.position("extends")
    if contents.extends not in flavours:
        hint = did_you_mean(contents.extends, flavours)
        yield Problem(f"there is no flavour `{contents.extends}`", position, hint)
    if contents.flavour in _ancestors(contents.flavour, flavours):
        yield Problem(f"flavour `{contents.flavour}` extends itself", position)


def _architecture_problem(package: str, flavour: str, *, of_cross: bool) -> Problem | None:
    """Return the problem of the architecture in the name of a package; None if there is none."""
    name, colon, architecture = package.partition(":")
    if not colon or package.endswith(OF_TARGET):
        return None
    if architecture in _ARCHITECTURES:
        return None if of_cross else _native_package_problem(package, flavour)
    architectures = ("{target}", *(_ARCHITECTURES if of_cross else ()))
    options = " or ".join(f"`{name}:{option}`" for option in architectures)
    message = f"`{package}`: there are no packages of the architecture `{architecture}`"
    return Problem(message, hint=f"write {options}")


def _native_package_problem(package: str, flavour: str) -> Problem:
    name = package.partition(":")[0]
    return Problem(
        f"`{package}`: the packages of `{flavour}` are of the image's own architecture",
        hint=f"write `{name}{OF_TARGET}`, which a cross image has for its target as well; or list "
        "it in `envs/cross.yaml`",
    )


def _placeholder_problems(
    package: str, document: Document, location: tuple[str | int, ...]
) -> Iterator[Problem]:
    position = document.position(*location)
    try:
        name = package.removesuffix(OF_TARGET)
        fields = [field for _, field, _, _ in Formatter().parse(name) if field is not None]
    except ValueError:
        yield Problem(f"`{package}` has a brace without its counterpart", position)
        return
    for field in fields:
        if field not in _PLACEHOLDERS:
            hint = (
                did_you_mean(field, _PLACEHOLDERS)
                or "known are `{compiler}`, `{gcc}` and `{triplet}`"
            )
            yield Problem(f"`{package}`: unknown placeholder `{{{field}}}`", position, hint)
