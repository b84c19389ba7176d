"""Loading of the matrix of a repository: matrix.yaml, matrix.d/*.yaml, envs/*.yaml, and of the
package the facts and the flavours that the repository does not define."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from envmatrix.documents import Document, Node, load_document
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.facts.model import load_facts
from envmatrix.facts.systems import OperatingSystem
from envmatrix.matrix import files
from envmatrix.matrix.expand import expand
from envmatrix.matrix.flavours import (
    family_problems,
    library_package_positions,
    package_positions,
    read_flavours,
    required_flavour_problems,
)
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.overlays import merge
from envmatrix.text import one_line

DEFAULTS = Path(__file__).parent / "defaults"


def load_matrix(root: Path) -> Matrix:
    """Return the matrix. Raise ConfigurationError with all problems of its files."""
    problems: list[Problem] = []
    matrix = None
    facts = load_facts()
    document = load_document(root / files.MATRIX, files.MATRIX)
    overlays = _documents(root / files.OVERLAYS, problems)
    own_flavours = _documents(root / files.FLAVOURS, problems)
    problems += _unread_problems(root)
    documents = [*own_flavours, *_default_flavours(root)]
    flavours, flavour_problems = read_flavours(documents, facts)
    if not problems and not flavour_problems:
        flavour_problems.extend(required_flavour_problems(flavours, documents))
    try:
        matrix = expand(document, facts, flavours, overlays)
    except ConfigurationError as error:
        problems[:0] = error.problems
    problems += flavour_problems
    if matrix is not None and not problems:
        problems += family_problems(matrix, documents)
    if matrix is None or problems:
        raise ConfigurationError(*problems)
    return matrix


def positions_of_package(root: Path, package: str, os: OperatingSystem) -> tuple[Position, ...]:
    """Return the positions at which flavours and libraries of the repository name a package of a
    system."""
    documents = [*_documents(root / files.FLAVOURS, []), *_default_flavours(root)]
    matrix = load_document(root / files.MATRIX, files.MATRIX)
    matrix = merge(matrix, _documents(root / files.OVERLAYS, []))
    return (
        *package_positions(package, os, documents, load_facts()),
        *library_package_positions(package, os, matrix),
    )


def positions_of_requirement(root: Path, library: str, requirement: str) -> tuple[Position, ...]:
    """Return the positions at which matrix files of the repository have a requirement of a
    library."""
    documents = [
        load_document(root / files.MATRIX, files.MATRIX),
        *_documents(root / files.OVERLAYS, []),
    ]
    return tuple(
        document.position("libraries", library, table, "requires", index)
        for document in documents
        for table in ("build", "test")
        for index, text in enumerate(_texts(document, "libraries", library, table, "requires"))
        if text == requirement
    )


def position_of_source(root: Path, library: str, archive: str) -> Position:
    """Return the position at which matrix files of the repository have the source of a library, or
    one of its archives."""
    matrix = load_document(root / files.MATRIX, files.MATRIX)
    matrix = merge(matrix, _documents(root / files.OVERLAYS, []))
    place = ("archives", archive) if archive else ("source",)
    return matrix.key_position("libraries", library, *place)


def _unread_problems(root: Path) -> Iterator[Problem]:
    for file in files.unread_files(root):
        name, directory = file.relative_to(root).as_posix(), file.relative_to(root).parts[0]
        hint = f"name it `{directory}/{one_line(file.stem)}.yaml`, or move it away"
        yield Problem(f"`{one_line(name)}` is not read", hint=hint)


def _texts(document: Document, *location: str) -> Sequence[object]:
    """Return the items of a list of a document; none if it is not there."""
    node: Node | None = document.root
    for step in location:
        node = node.child(step) if node else None
    content = node.content if node else ()
    return [item.content for item in content] if isinstance(content, tuple) else ()


def _default_flavours(root: Path) -> Iterator[Document]:
    """Yield the flavours of the package that have no file in `envs/`."""
    for path in files.yaml_files(DEFAULTS):
        if not (root / files.FLAVOURS / path.name).exists():
            yield load_document(path, f"built-in {files.FLAVOURS}/{path.name}")


def _documents(directory: Path, problems: list[Problem]) -> list[Document]:
    """Return the files of a directory that parse, in the order of their names; append the problems
    of the others to `problems`."""
    documents = []
    for path in files.yaml_files(directory):
        try:
            documents.append(load_document(path, f"{directory.name}/{path.name}"))
        except ConfigurationError as error:
            problems += error.problems
    return documents
