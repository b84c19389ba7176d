"""Conversion of texts, as the command converts files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml
from tests.fakes import plain

from envmatrix.adoption.imports.conversion import Context, convert, systems_to_try
from envmatrix.adoption.imports.formats import detect, items_of, parse_source
from envmatrix.adoption.imports.jobs import Job, Remainder, Request
from envmatrix.adoption.imports.text import matrix_text
from envmatrix.adoption.proposal import Proposal
from envmatrix.documents import parse_document
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix

DIRECTORIES = {"": ".", "solver": "solver", "sparse": "sparse"}


def proposal_of(library: str) -> Proposal | None:
    path = DIRECTORIES.get(library)
    return Proposal(system="CMake", tests="CTest", path=path) if path else None


@dataclass
class Result:
    """A converted matrix, and what is left."""

    text: str
    remainders: tuple[Remainder, ...]

    @property
    def matrix(self) -> Matrix:
        return expand(parse_document(self.text.encode(), "matrix.yaml"), load_facts(), {})

    @property
    def cells(self) -> list[str]:
        return [cell.id for cell in self.matrix.cells]

    @property
    def document(self) -> dict[str, Any]:
        root = parse_document(self.text.encode(), "matrix.yaml").root
        return cast("dict[str, Any]", plain(root))

    @property
    def libraries(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.document["libraries"])

    @property
    def rest(self) -> dict[str, str]:
        """The reasons by what is not converted."""
        return {row.what: row.reason for row in self.remainders}


def workflow(*rows: Mapping[str, object], **jobs: Sequence[Mapping[str, object]]) -> str:
    """Return a workflow of GitHub with a job of these rows, and others."""
    every = {"build": [*rows], **jobs} if rows else jobs
    return yaml.safe_dump(
        {
            "jobs": {
                name: {"runs-on": "ubuntu-22.04", "strategy": {"matrix": {"include": lines}}}
                for name, lines in every.items()
            }
        },
        sort_keys=False,
    )


def jobs_of(text: str, *more: str, name: str = "ci.yaml") -> list[Job]:
    sources = [parse_source(each.encode(), name) for each in (text, *more)]
    items = items_of(sources, detect(sources), Request())
    return [item for item in items if isinstance(item, Job)]


def converted(
    text: str,
    *more: str,
    workflows: tuple[str, ...] = (),
    systems: tuple[str, ...] = (),
    name: str = "ci.yaml",
) -> Result:
    sources = [parse_source(each.encode(), name) for each in (text, *more)]
    facts = load_facts()
    context = Context(
        facts=facts,
        components=("cudart", "nvcc", "cccl"),
        systems=systems or systems_to_try(facts),
        library="solver",
        find=proposal_of,
    )
    items = items_of(sources, detect(sources), Request(workflows))
    conversion = convert(items, context)
    document = conversion.outline.document if conversion.outline else {}
    return Result(matrix_text(document, ()), conversion.remainders)
