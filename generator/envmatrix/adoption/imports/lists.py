"""Lists of jobs by two keys: workflow and compiler, as NVIDIA/nvbench has them, or platform and
workflow, as NVIDIA/cuda-python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from envmatrix.adoption.imports.jobs import (
    Item,
    Request,
    Source,
    alternatives_of,
    combinations,
    rows_of,
    text_of,
)
from envmatrix.adoption.imports.keys import Word, meaning_of
from envmatrix.documents import Node


def read(sources: Sequence[Source], request: Request) -> Iterator[Item]:
    for source in sources:
        for name, kind, rows in _lists(source.root):
            if request.wants(name, kind, f"{name}/{kind}"):
                for row in rows:
                    yield from _jobs(row, f"{name}/{kind}")


def suits(source: Source) -> bool:
    return any(_lists(source.root))


def _lists(root: Node) -> Iterator[tuple[str, str, tuple[Node, ...]]]:
    """Yield lists of rows that name CUDA releases, with the two keys of each."""
    for name, groups in root.children_by_key.items():
        for kind, group in groups.children_by_key.items():
            rows = rows_of(group)
            words = (Word(key, "", row.position) for row in rows for key in row.children_by_key)
            if any(word.kind == "cuda" for word in words):
                yield name, kind, rows


def _jobs(row: Node, name: str) -> Iterator[Item]:
    lists = {key: alternatives_of(value) for key, value in row.children_by_key.items()}
    for values in combinations(lists, row.position):
        words = [*_words(values), Word("platform", name, row.position)]
        yield from meaning_of(words).job(row.position, name)


def _words(values: Mapping[str, Node]) -> Iterator[Word]:
    for key, node in values.items():
        if key == "compiler" and (parts := node.children_by_key):
            yield Word(key, text_of(parts.get("name")), node.position)
            yield Word("compiler_version", text_of(parts.get("version")), node.position)
        elif entries := node.children_by_key:
            for name, entry in entries.items():
                yield Word(name, text_of(entry), entry.position)
        else:
            yield Word(key, text_of(node), node.position)
