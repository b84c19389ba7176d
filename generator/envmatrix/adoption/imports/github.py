"""Workflows of GitHub Actions: jobs with `strategy.matrix`, and jobs in images with CUDA."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from envmatrix.adoption.imports.jobs import (
    MOST_VALUES,
    Item,
    Remainder,
    Request,
    Source,
    bounded,
    brief,
    combinations,
    rows_of,
    text_of,
)
from envmatrix.adoption.imports.keys import NOT_EVALUATED, Word, meaning_of
from envmatrix.adoption.imports.words import axes_in_name
from envmatrix.documents import Node

_EXPRESSION = re.compile(r"\$\{\{\s*(?P<code>.*?)\s*\}\}", re.DOTALL)
_NAME = re.compile(r"(?P<context>matrix|env)\.[\w-]+(?:\.[\w-]+)*", re.ASCII)
# Longer texts are no names.
_LONGEST = 1000
# Steps that install CUDA, and the input that names the release.
_INSTALLERS = re.compile(r"[^@]*/(?:cuda-toolkit|setup-cuda|cuda-toolkit-action)(?:@.*)?", re.ASCII)

_Row = Mapping[str, Node]


def read(sources: Sequence[Source], request: Request) -> Iterator[Item]:
    for source in sources:
        for name, job in jobs_of(source):
            if request.wants(name):
                yield from read_job(name, job, source)


def suits(source: Source) -> bool:
    return any(
        key in job.children_by_key for _, job in jobs_of(source) for key in ("runs-on", "uses")
    )


def jobs_of(source: Source) -> Iterator[tuple[str, Node]]:
    jobs = source.root.child("jobs")
    yield from (jobs.children_by_key if jobs else {}).items()


def read_job(name: str, job: Node, source: Source) -> Iterator[Item]:
    """Yield one job for each combination of its matrix."""
    strategy = job.child("strategy")
    matrix = strategy.child("matrix") if strategy else None
    rows: list[_Row] = [{}]
    if matrix is not None and isinstance(matrix.content, str):
        what = ("matrix of job", (brief(name),))
        yield Remainder(*what, NOT_EVALUATED, matrix.position, jobs=1)
        return
    if matrix is not None:
        yield from _expressions(name, matrix)
        rows = _combinations(matrix)
    if uses := text_of(job.child("uses")):
        position = job.children_by_key["uses"].position
        reason = "what the job does is in another file"
        yield Remainder("uses", (brief(uses),), reason, position)
    values = sum(len(table.content or ()) for table in _tables(job, source))
    bounded(len(rows) * values, job.position, MOST_VALUES)
    for row in rows:
        words = [*_words(job, row, source)]
        position = next(iter(row.values()), job).position
        yield from meaning_of(words).job(position, brief(name))


def _tables(job: Node, source: Source) -> Iterator[Node]:
    """Yield the values that each row of a job's matrix is read with."""
    nodes = (source.root.child("env"), *(job.child(key) for key in ("env", "with", "steps")))
    yield from (node for node in nodes if node is not None)


def _expressions(name: str, matrix: Node) -> Iterator[Remainder]:
    for key, node in matrix.children_by_key.items():
        if isinstance(node.content, str):
            what = (f"matrix of job {brief(name)}", (brief(key),))
            yield Remainder(*what, NOT_EVALUATED, node.position)


def _combinations(matrix: Node) -> list[_Row]:
    """Return the rows of a matrix: its product without what `exclude` names, and `include`."""
    keys = matrix.children_by_key
    lists = {
        key: node.content
        for key, node in keys.items()
        if key not in ("include", "exclude") and isinstance(node.content, tuple)
    }
    excludes = [row.children_by_key for row in rows_of(keys.get("exclude"))]
    includes = rows_of(keys.get("include"))
    products = [*combinations(lists, matrix.position)] if lists else []
    bounded(len(products) * (len(includes) + len(excludes)), matrix.position, MOST_VALUES)
    rows: list[dict[str, Node]] = [
        {**row}
        for row in products
        if not any(exclude and _holds(exclude, row) for exclude in excludes)
    ]
    originals, added = [{**row} for row in rows], []
    for entry in includes:
        values = entry.children_by_key
        extended = [
            row
            for row, original in zip(rows, originals, strict=True)
            if _holds({key: value for key, value in values.items() if key in original}, original)
        ]
        for row in extended:
            row |= values
        if not extended:
            added.append({**values})
    bounded(len(rows) + len(added), matrix.position)
    return [*rows, *added]


def _holds(values: _Row, row: _Row) -> bool:
    return all(key in row and _plain(row[key]) == _plain(value) for key, value in values.items())


def _plain(node: Node) -> object:
    """Return a value without its position."""
    if node.children:
        return {key: _plain(child) for key, child in node.children.items()}
    return node.content or ""


def _words(job: Node, row: _Row, source: Source) -> Iterator[Word]:
    """Yield what a job says in one row of its matrix, what decides more first."""
    values = dict(_flat(row))
    environment = {
        key: node
        for table in (source.root.child("env"), job.child("env"))
        for key, node in (table.children_by_key if table else {}).items()
    }
    names = {f"matrix.{key}": text_of(node) for key, node in values.items()}
    for key, node in environment.items():
        if (text := _filled(text_of(node), names)) is not None:
            names[f"env.{key}"] = text
    container, runner = _image(job.child("container")), _label(job.child("runs-on"))
    for key, value in (("container", container), ("label of the runner", runner)):
        if value is not None and _filled(text_of(value), names) is None:
            yield Word(key, text_of(value), value.position)
    yield from _filled_words({"container": container}, names)
    yield from (
        Word(key.rpartition(".")[2] if "." in key else key, text_of(node), node.position)
        for key, node in values.items()
    )
    steps = (step.children_by_key for step in rows_of(job.child("steps")))
    for step in steps:
        arguments = step.get("with")
        if arguments and _INSTALLERS.fullmatch(text_of(step.get("uses"))):
            yield from _filled_words({"cuda": arguments.child("cuda")}, names)
    inputs = job.child("with")
    tables = ({**environment}, inputs.children_by_key if inputs else {})
    for table in tables:
        telling = {key: node for key, node in table.items() if _is_telling(key, node)}
        yield from _filled_words(telling, names)
    yield from _filled_words({"runs-on": runner}, names)


def _is_telling(key: str, node: Node) -> bool:
    word = Word(key, text_of(node), node.position)
    if word.kind in ("title", "python"):
        return False
    return bool(word.kind) or "cuda" in axes_in_name(word.text)


def _flat(row: _Row, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Yield the texts of a row, those of mappings under all their keys."""
    for key, node in row.items():
        if children := node.children_by_key:
            yield from _flat(children, f"{prefix}{key}.")
        elif isinstance(node.content, tuple):
            yield f"{prefix}{key}", _joined(node)
        else:
            yield f"{prefix}{key}", node


def _joined(node: Node) -> Node:
    """Return a list of texts as one."""
    texts = " ".join(text_of(item) for item in rows_of(node))
    return replace(node, content=texts)


def _image(container: Node | None) -> Node | None:
    if container is not None and container.children_by_key:
        return container.child("image")
    return container


def _label(node: Node | None) -> Node | None:
    """Return the labels of a runner as one text."""
    if node is not None and node.children_by_key:
        node = node.child("labels") or node.child("group")
    return _joined(node) if node is not None and isinstance(node.content, tuple) else node


def _filled_words(table: Mapping[str, Node | None], names: Mapping[str, str]) -> Iterator[Word]:
    """Yield values with those of the matrix in place of expressions; none that is empty then, or
    that has others."""
    for key, node in table.items():
        if node is not None and (text := _filled(text_of(node), names)):
            yield Word(key, text, node.position)


def _filled(text: str, names: Mapping[str, str]) -> str | None:
    """Return a text with the values of expressions; None if one of them cannot be evaluated, or if
    it is no name but a long text."""
    if len(text) > _LONGEST:
        return None
    codes = {match["code"] for match in _EXPRESSION.finditer(text)}
    values = {code: _value(code, names) for code in codes}
    if None in values.values():
        return None
    return _EXPRESSION.sub(lambda match: str(values[match["code"]]), text)


def _value(code: str, names: Mapping[str, str]) -> str | None:
    """Return the value of a name, or of the first of several that is not empty: `a || 'b'`. A name
    that a row of the matrix does not have is empty."""
    for operand in code.split("||"):
        word = operand.strip()
        match = _NAME.fullmatch(word)
        if match is None and not re.fullmatch(r"'[^']*'", word):
            return None
        if match and word not in names and match["context"] == "env":
            return None
        if value := names.get(word, "") if match else word.strip("'"):
            return None if "${{" in value or len(value) > _LONGEST else value
    return ""
