"""RAPIDS' shared workflows, whose matrices are YAML in a script, and the workflows that call them
with a `matrix_filter`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from envmatrix.adoption.imports import github
from envmatrix.adoption.imports.jobs import Item, Remainder, Request, Source, brief, text_of
from envmatrix.adoption.imports.keys import Word, meaning_of
from envmatrix.adoption.imports.row_filters import NotEvaluated, apply_filter
from envmatrix.documents import Node, parse_document
from envmatrix.records import dataclass

_BEGIN = re.compile(r'^[ \t]*(?:export[ \t]+)?MATRI(?:X|CES)="[ \t]*\n', re.M)
_END = re.compile(r'^[ \t]*"[ \t]*$', re.M)
_SHARED = re.compile(r"rapidsai/shared-workflows/\.github/workflows/(?P<file>[\w.-]+)@.*", re.ASCII)
# Shared workflows that have a matrix.
_OF_MATRICES = re.compile(r"(?:conda-(?:cpp|python)|wheels)-(?:build|tests?)", re.ASCII)
# The matrix of a build on a branch is the one of nights.
_TYPES = {"branch": "nightly"}
_ALL = "."
_AMD64 = 'map(select(.ARCH == "amd64"))'
_NUMBERS = 'split(".")|map(tonumber)'
# As the workflow that computes matrices has them, by the inputs of those that call it.
_IMPLIED: Mapping[str, Mapping[str, str]] = {
    "pure-wheel": {"true": f"{_AMD64} | group_by(.CUDA_VER) | map(max_by(.PY_VER | {_NUMBERS}))"},
    "pure-conda": {
        "true": f"{_AMD64} | sort_by(.CUDA_VER, .PY_VER) | [last]",
        "cuda_major": f"{_AMD64} | group_by(.CUDA_VER|{_NUMBERS}|.[0])"
        f" | map(max_by([(.PY_VER|{_NUMBERS}), (.CUDA_VER|{_NUMBERS})]))",
    },
}

_Row = Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The rows of a matrix, by its name and type (`nightly`)."""

    name: str
    kind: str
    rows: tuple[_Row, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, self.kind, f"{self.name}/{self.kind}")


def suits(source: Source) -> bool:
    return bool(_BEGIN.search(source.text)) or any(
        _SHARED.fullmatch(text_of(job.child("uses"))) for _, job in github.jobs_of(source)
    )


def read(sources: Sequence[Source], request: Request) -> Iterator[Item]:
    matrices = [matrix for source in sources for matrix in _matrices(source)]
    callers = [source for source in sources if not _BEGIN.search(source.text)]
    if not callers:
        for matrix in matrices:
            if request.wants(*matrix.names):
                yield from _jobs(matrix.rows, f"{matrix.name}/{matrix.kind}")
        return
    for source in callers:
        for name, job in github.jobs_of(source):
            if request.wants(name):
                yield from _of_caller(name, job, source, matrices)


def _matrices(source: Source) -> Iterator[_Matrix]:
    """Yield the matrices in the scripts of a shared workflow."""
    for start, end in _scripts(source.text):
        # Lines before it keep the positions.
        content = "\n" * source.text.count("\n", 0, start) + source.text[start:end]
        root = parse_document(content.encode(), source.document.file).root
        stem = posixpath.splitext(posixpath.basename(source.document.file))[0]
        tables = root.children_by_key
        if any(isinstance(node.content, tuple) for node in tables.values()):
            tables = {stem: root}
        for name, table in tables.items():
            for kind, rows in table.children_by_key.items():
                items = rows.content if isinstance(rows.content, tuple) else ()
                yield _Matrix(name, kind, tuple(row.children_by_key for row in items))


def _scripts(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the YAML of matrices begins and ends."""
    position = 0
    while begin := _BEGIN.search(text, position):
        end = _END.search(text, begin.end())
        if end is None:
            return
        yield begin.end(), end.start()
        position = end.end()


def _of_caller(name: str, job: Node, source: Source, matrices: Sequence[_Matrix]) -> Iterator[Item]:
    uses = job.child("uses")
    called = _SHARED.fullmatch(text_of(uses))
    inputs = job.child("with")
    kind = text_of(inputs.child("build_type")) if inputs else ""
    kind = _TYPES.get(kind, kind)
    stem = posixpath.splitext(called["file"])[0] if called else ""
    if not _OF_MATRICES.fullmatch(stem) or kind not in ("pull-request", "nightly"):
        yield from github.read_job(name, job, source)
        return
    matching = [matrix for matrix in matrices if (matrix.name, matrix.kind) == (stem, kind)]
    if not matching:
        reason = (
            "its matrix is in rapidsai/shared-workflows: name `compute-matrix.yaml` of that as "
            "another file"
        )
        yield Remainder("job", (brief(name),), reason, job.position, jobs=1)
        return
    node = inputs.child("matrix_filter") if inputs else None
    text = text_of(node) if text_of(node) not in ("", _ALL) else _implied_filter(inputs)
    rows = matching[0].rows
    try:
        rows = _filtered(rows, text)
    except NotEvaluated:
        word = Word("matrix_filter", text, node.position if node else job.position)
        yield word.detail("cannot be evaluated: all rows of the matrix are converted")
    yield from _jobs(rows, name)


def _implied_filter(inputs: Node | None) -> str:
    """Return the filter of packages that are the same for several rows."""
    for key, filters in _IMPLIED.items():
        value = text_of(inputs.child(key)) if inputs else ""
        if value in filters:
            return filters[value]
    return _ALL


def _filtered(rows: Sequence[_Row], text: str) -> tuple[_Row, ...]:
    """Return the rows that a filter leaves."""
    number = "number"
    texts = [
        {key: text_of(node) for key, node in row.items()} | {number: str(index)}
        for index, row in enumerate(rows)
    ]
    indices = [str(row.get(number)) for row in apply_filter(text, texts)]
    if not all(index.isdigit() for index in indices):
        raise NotEvaluated
    return tuple(rows[int(index)] for index in indices)


def _jobs(rows: Sequence[_Row], name: str) -> Iterator[Item]:
    for row in rows:
        words = [Word(key, text_of(node), node.position) for key, node in row.items()]
        if words:
            yield from meaning_of(words).job(words[0].position, brief(name))
