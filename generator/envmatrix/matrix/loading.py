"""Reads the matrix of a repository: matrix.yaml, matrix.d/*.yaml, envs/*.yaml and the facts of the
package."""

from __future__ import annotations

from pathlib import Path

from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix import files
from envmatrix.matrix.document import Document, load
from envmatrix.matrix.expand import expand
from envmatrix.matrix.facts import load_facts
from envmatrix.matrix.flavours import family_problems, image_problems, read_flavours
from envmatrix.matrix.model import Matrix


def load_matrix(root: Path) -> Matrix:
    """The matrix, or a ConfigurationError with everything that is wrong with its files."""
    problems: list[Problem] = []
    matrix = None
    facts = load_facts()
    document = load(root / files.MATRIX, files.MATRIX)
    overlays = _documents(root / files.OVERLAYS, problems)
    documents = _documents(root / files.FLAVOURS, problems)
    flavours, flavour_problems = read_flavours(documents, facts)
    if not problems and not flavour_problems:
        flavour_problems.extend(image_problems(flavours, documents))
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


def _documents(directory: Path, problems: list[Problem]) -> list[Document]:
    """The files of a directory that can be read, in the order of their names."""
    documents = []
    for path in files.yaml_files(directory):
        try:
            documents.append(load(path, f"{directory.name}/{path.name}"))
        except ConfigurationError as error:
            problems += error.problems
    return documents
