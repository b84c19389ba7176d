"""The flavours of images, as envs/*.yaml define them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import PurePosixPath
from string import Formatter

from envmatrix.documents import Document, Location, Node
from envmatrix.errors import Position, Problem
from envmatrix.facts.model import Facts
from envmatrix.facts.systems import OperatingSystem
from envmatrix.facts.targets import CROSS_HOST, TARGETS, docker_arch
from envmatrix.matrix.checks import component_problems
from envmatrix.matrix.library import NATIVE
from envmatrix.matrix.model import ANALYSIS, DEV, OF_TARGET, Flavour, Matrix
from envmatrix.matrix.other_names import suggest_name
from envmatrix.matrix.validation import read_document
from envmatrix.suggestions import did_you_mean

# The required flavours, each with the one that it extends; `defaults/` has those for which a
# repository has no file.
IMAGES: Mapping[str, str | None] = {"runtime": None, "devel": "runtime", "cross": "devel"}

# The optional flavours, likewise.
_OPTIONAL: Mapping[str, str] = {ANALYSIS: "devel", DEV: "devel"}

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
    names = sorted(flavours, key=lambda name: (len([*_ancestors(name, flavours)]), name))
    return ({} if problems else {name: flavours[name] for name in names}), problems


def required_flavour_problems(
    flavours: Mapping[str, Flavour], documents: Sequence[Document]
) -> Iterator[Problem]:
    """Yield required flavours that are empty or extend the wrong flavour."""
    documents_by_name = _by_name(documents)
    optional = {name: parent for name, parent in _OPTIONAL.items() if name in flavours}
    for name, parent in {**IMAGES, **optional}.items():
        flavour, document = flavours[name], documents_by_name[name]
        if flavour.extends != parent:
            must = f"must extend `{parent}`" if parent else "must extend no other"
            yield Problem(f"flavour `{name}` {must}", document.position("extends"))
        if not flavour.packages:
            message = f"flavour `{name}` needs at least one of `packages`"
            yield Problem(message, document.key_position("packages"))


def family_problems(matrix: Matrix, documents: Sequence[Document]) -> Iterator[Problem]:
    """Yield flavours without packages for the family of a system of the matrix."""
    documents_by_name = _by_name(documents)
    systems = [matrix.facts.os[os] for os in reversed(matrix.axes["os"])]
    firsts = {
        (os.family.name, name): os.name
        for os, name in product(systems, ("runtime", "devel"))
        if not matrix.flavours[name].packages_of(os)
    }
    for (family, name), os in sorted(firsts.items(), key=lambda row: row[0][0]):
        message = f"flavour `{name}` has no packages of the family `{family}` for `{os}`"
        hint = f"name them there: `families: {{{family}: [...]}}`"
        yield Problem(message, documents_by_name[name].position(), hint)


def package_positions(
    package: str, os: OperatingSystem, documents: Sequence[Document], facts: Facts
) -> Iterator[Position]:
    """Yield the positions at which flavours name a package of an operating system."""
    for document in documents:
        flavour = read_document(Flavour, document).contents
        for _, location, text in _located_packages(flavour, facts) if flavour else ():
            key, *scope = location[:-1]
            is_common = os.family.name == "deb" if key == "packages" else scope == [os.family.name]
            is_of_system = is_common or scope == [os.name]
            if is_of_system and _pattern(text).fullmatch(package):
                yield document.position(*location)


def library_package_positions(
    package: str, os: OperatingSystem, document: Document
) -> Iterator[Position]:
    """Yield the positions at which libraries of a matrix file name a package of an operating
    system."""
    libraries = document.root.child("libraries")
    for library in libraries.children if libraries else ():
        for scope in ((os.family.name,), ("systems", os.name)):
            place = ("libraries", library, "packages", *scope)
            for index, node in _items_at(document.root, place):
                text = str(node.content).removesuffix(NATIVE) + OF_TARGET
                if _pattern(text).fullmatch(package):
                    yield document.position(*place, index)


def _items_at(root: Node, place: Location) -> Iterator[tuple[int, Node]]:
    """Yield the items of the list at a place, or of one that stands for the table around it."""
    node: Node | None = root
    for step in place:
        is_short = node is not None and isinstance(node.content, tuple) and step == "deb"
        node = node if is_short or node is None else node.child(step)
    if node is not None and isinstance(node.content, tuple):
        yield from enumerate(node.content)


def _pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of the packages that an entry of a flavour means in some cell."""
    parts = (re.escape(part) for part in re.split(r"\{\w+\}", text.removesuffix(OF_TARGET)))
    architecture = r"(:\w+)?" if text.endswith(OF_TARGET) else ""
    return re.compile("[a-z0-9+.-]+".join(parts) + architecture)


def _by_name(documents: Sequence[Document]) -> Mapping[str, Document]:
    return {PurePosixPath(document.file).stem: document for document in documents}


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
    ancestors = [*_ancestors(contents.flavour, flavours)]
    yield from _name_problems(contents, document, ancestors)
    if contents.extends and contents.extends not in flavours:
        hint = did_you_mean(contents.extends, flavours)
        message = f"there is no flavour `{contents.extends}`"
        yield Problem(message, document.position("extends"), hint)
    yield from component_problems(contents.components, document, ("components",), facts)
    of_cross = "cross" in (contents.flavour, *ancestors)
    for system in contents.systems:
        if system not in facts.os:
            position = document.key_position("systems", system)
            hint = suggest_name(system) or did_you_mean(system, facts.os)
            yield Problem(f"unknown operating system `{system}`", position, hint)
    for family, location, package in _located_packages(contents, facts):
        position = document.position(*location)
        yield from placeholder_problems(package, position)
        if family == "deb":
            yield from _architecture_problems(
                package, contents.flavour, position, of_cross=of_cross
            )
        elif ":" in package:
            message = f"packages of the family `{family}` are of the image's own architecture"
            hint = "only systems of the family `deb` have cross images"
            yield Problem(f"`{package}`: {message}", position, hint)


def _located_packages(contents: Flavour, facts: Facts) -> Iterator[tuple[str, Location, str]]:
    """Yield every package of a flavour, after its family and its location in the file."""
    rows: list[tuple[str, Location, Sequence[str]]] = [("deb", ("packages",), contents.packages)]
    rows += [(name, ("families", name), names) for name, names in contents.families.items()]
    rows += [
        (facts.os[name].family.name, ("systems", name), names)
        for name, names in contents.systems.items()
        if name in facts.os
    ]
    for family, location, packages in rows:
        for index, package in enumerate(packages):
            yield family, (*location, index), package


def _name_problems(
    contents: Flavour, document: Document, ancestors: Sequence[str]
) -> Iterator[Problem]:
    name, stem = contents.flavour, PurePosixPath(document.file).stem
    if name != stem:
        message = f"flavour `{name}` is described in a file called `{stem}`"
        yield Problem(message, document.position("flavour"))
    if name in ancestors:
        yield Problem(f"flavour `{name}` extends itself", document.position("extends"))


def _architecture_problems(
    package: str, flavour: str, position: Position, *, of_cross: bool
) -> Iterator[Problem]:
    """Yield the problem of the architecture in the name of a package, if there is one."""
    name, colon, architecture = package.partition(":")
    if not colon or package.endswith(OF_TARGET) or (of_cross and architecture in _ARCHITECTURES):
        return
    if architecture in _ARCHITECTURES:
        message = f"the packages of `{flavour}` are of the image's own architecture"
        hint = (
            f"write `{name}{OF_TARGET}`, which a cross image has for its target as well; or list "
            "it in `envs/cross.yaml`"
        )
    else:
        message = f"there are no packages of the architecture `{architecture}`"
        architectures = ("{target}", *(_ARCHITECTURES if of_cross else ()))
        hint = f"write {' or '.join(f'`{name}:{option}`' for option in architectures)}"
    yield Problem(f"`{package}`: {message}", position, hint)


def placeholder_problems(package: str, position: Position) -> Iterator[Problem]:
    """Yield unknown placeholders in the name of a package, and braces that are none."""
    try:
        name = package.removesuffix(OF_TARGET)
        fields = [field for _, field, _, _ in Formatter().parse(name) if field is not None]
    except ValueError:
        yield Problem(f"`{package}` has a brace without its counterpart", position)
        return
    for field in fields:
        if field not in _PLACEHOLDERS:
            others = "known are `{compiler}`, `{gcc}` and `{triplet}`"
            hint = did_you_mean(field, _PLACEHOLDERS) or others
            yield Problem(f"`{package}`: unknown placeholder `{{{field}}}`", position, hint)
