"""GitLab's `.gitlab-ci.yml`: jobs with `parallel:matrix`, and jobs in images with CUDA."""

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
    alternatives_of,
    bounded,
    brief,
    combinations,
    text_of,
    texts_of,
)
from envmatrix.adoption.imports.keys import Word, meaning_of
from envmatrix.documents import Node

REFERENCE = "!reference"
# Keys at the top that are no jobs.
_GLOBAL = (
    "cache", "default", "image", "include", "services", "spec", "stages", "variables", "workflow",
)  # fmt: skip
_OF_JOBS = ("script", "extends", "parallel", "image", "trigger", "stage")
# Keys of jobs that decide on their cells.
_OF_CELLS = ("extends", "image", "parallel", "tags", "variables")
# Longer texts are no names.
_LONGEST = 500
_UNKNOWN = " " * (_LONGEST + 1)
# As deep as GitLab follows them.
_MOST_REFERENCES = 10
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<plain>[A-Za-z_]\w*))", re.ASCII)


def read(sources: Sequence[Source], request: Request) -> Iterator[Item]:
    for source in sources:
        yield from _Pipeline(source.root).items(request)


def suits(source: Source) -> bool:
    return any(
        key in job.children_by_key
        for name, job in source.root.children_by_key.items()
        if name not in ("jobs", "on")
        for key in _OF_JOBS
    )


class _Pipeline:
    """The jobs of a file, with what they extend and refer to in it."""

    def __init__(self, root: Node) -> None:
        self._entries = root.children_by_key
        self._templates: dict[str, Node | None] = {}
        self._effort = 0

    def items(self, request: Request) -> Iterator[Item]:
        include = self._entries.get("include")
        for node in alternatives_of(include):
            yield Remainder("include", (_described(node),), "is another file", node.position)
        for name, entry in self._entries.items():
            if name in _GLOBAL or name.startswith(".") or not entry.children_by_key:
                continue
            if request.wants(name):
                yield from self._job(name, entry)

    def _job(self, name: str, entry: Node) -> Iterator[Item]:
        missing: list[Remainder] = []
        job = self._extended(entry, missing)
        yield from missing
        for variables in self._combinations(job):
            self._spend(sum(len(node.children) for node in job.children.values()), job)
            words = [*self._words(job, variables)]
            position = next(iter(variables.values()), entry).position
            yield from meaning_of(words).job(position, brief(name))

    def _extended(self, entry: Node, missing: list[Remainder]) -> Node:
        """Return a job with what it extends: mappings are merged, other values replaced."""
        parts = {
            key: self._resolved(node, 0)
            for key, node in entry.children_by_key.items()
            if key in _OF_CELLS
        }
        job = replace(entry, content=parts)
        bases: list[Node] = []
        for parent in texts_of(parts.get("extends")):
            template = self._template(text_of(parent), missing)
            if template is None:
                what = ("extends", (brief(text_of(parent)),))
                is_here = text_of(parent) in self._entries
                reason = "extends itself" if is_here else "is not in this file"
                missing.append(Remainder(*what, reason, parent.position))
            else:
                bases.append(template)
        for base in (*bases[1:], job) if bases else ():
            bases[0] = self._merged(bases[0], base)
        return bases[0] if bases else job

    def _template(self, name: str, missing: list[Remainder]) -> Node | None:
        """Return an entry that jobs extend; None if there is none, or if it extends itself."""
        if name not in self._templates:
            self._templates[name] = None
            entry = self._entries.get(name)
            self._templates[name] = entry and self._extended(entry, missing)
        return self._templates[name]

    def _merged(self, base: Node, node: Node) -> Node:
        """Return mappings merged at every depth; of other values, those of `node`."""
        ours, others = base.children_by_key, node.children_by_key
        if not ours or not others:
            return node
        self._spend(len(ours) + len(others), node)
        merged = {
            key: self._merged(ours[key], value) if key in ours else value
            for key, value in others.items()
        }
        return replace(node, content={**ours, **merged}, keys={**base.keys, **node.keys})

    def _resolved(self, node: Node, depth: int) -> Node:
        """Return a value with those that `!reference` names."""
        self._spend(1, node)
        if node.tag == REFERENCE:
            target: Node | None = Node(self._entries, node.position)
            for step in texts_of(node):
                target = target.child(text_of(step)) if target is not None else None
            if target is None or depth >= _MOST_REFERENCES:
                return replace(node, content=None, tag=None)
            return self._resolved(target, depth + 1)
        if isinstance(node.content, tuple):
            items: list[Node] = []
            for item in node.content:
                resolved = self._resolved(item, depth)
                parts = resolved.content
                is_list = item.tag == REFERENCE and isinstance(parts, tuple)
                items += parts if is_list and isinstance(parts, tuple) else (resolved,)
            return replace(node, content=tuple(items))
        if children := node.children_by_key:
            resolved_children = {
                key: self._resolved(child, depth) for key, child in children.items()
            }
            return replace(node, content=resolved_children)
        return node

    def _spend(self, count: int, node: Node) -> None:
        self._effort += count
        bounded(self._effort, node.position, MOST_VALUES)

    def _combinations(self, job: Node) -> Iterator[Mapping[str, Node]]:
        parallel = job.child("parallel")
        matrix = parallel.child("matrix") if parallel else None
        entries = matrix.content if matrix and isinstance(matrix.content, tuple) else ()
        if not entries:
            yield {}
        for entry in entries:
            lists = {key: texts_of(node) for key, node in entry.children_by_key.items()}
            yield from combinations(lists, entry.position)

    def _words(self, job: Node, variables: Mapping[str, Node]) -> Iterator[Word]:
        values = {**self._variables(None), **self._variables(job)}
        values |= {name: text_of(node) for name, node in variables.items()}
        for node in (self._image(job), *texts_of(job.child("tags"))):
            if node is not None and (text := _filled(text_of(node), values)):
                key = "image" if node is self._image(job) else "tags"
                yield Word(key, text, node.position)
        for name, node in variables.items():
            yield Word(name, text_of(node), node.position)
        table = job.child("variables")
        for name, node in (table.children_by_key if table else {}).items():
            word = Word(name, _filled(text_of(_value(node)), values), node.position)
            if word.text and name not in variables and word.kind not in ("", "title", "python"):
                yield word

    def _image(self, job: Node) -> Node | None:
        default = self._entries.get("default")
        image = job.child("image") or (default.child("image") if default else None)
        image = image or self._entries.get("image")
        return image.child("name") if image is not None and image.children_by_key else image

    def _variables(self, job: Node | None) -> dict[str, str]:
        table = job.child("variables") if job is not None else self._entries.get("variables")
        entries = table.children_by_key if table else {}
        return {name: text_of(_value(node)) for name, node in entries.items()}


def _value(node: Node) -> Node:
    """Return the value of a variable that may have a description."""
    return node.child("value") or node if node.children_by_key else node


def _described(node: Node) -> str:
    texts = (f"{key} {text_of(value)}" for key, value in node.children_by_key.items())
    return brief(", ".join(texts) or text_of(node))


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with the values of variables; empty if one is not known."""
    if len(text) > _LONGEST:
        return ""
    for _ in range(3):  # a variable may have others
        names = [match["braced"] or match["plain"] for match in _VARIABLE.finditer(text)]
        if not names:
            return text
        if any(len(values.get(name, _UNKNOWN)) > _LONGEST for name in names):
            return ""
        text = _VARIABLE.sub(lambda match: values[match["braced"] or match["plain"]], text)
    return ""
