"""Overlays: files of matrix.d/, each a migration that changes what matrix.yaml says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce

from envmatrix.errors import Problem
from envmatrix.matrix.cells import AXES
from envmatrix.matrix.document import Document, Location, Node
from envmatrix.matrix.schema import Axes
from envmatrix.matrix.selectors import spelling
from envmatrix.matrix.suggest import did_you_mean

_ADDED_TO = ("include", "exclude", "aliases", "bases", "libraries", "tiers")
_REPLACED = ("defaults", "policy", "sm", "sources")


def merge(base: Document, overlays: Iterable[Document]) -> Document:
    """`base` as the overlays change it, in their order; every value stays where it stands."""
    return reduce(_applied, overlays, base)


def _applied(base: Document, overlay: Document) -> Document:
    root, changes = base.root, overlay.root
    problems = [*base.problems, *overlay.problems]
    for axis in AXES:
        if change := _at(changes, "axes", axis):
            problems += _absent(root, axis, change)
            root = _with_axis(_without_excludes(root, axis, change), axis, change)
    for key in _ADDED_TO:
        if part := changes.child(key):
            before = root.child(key)
            root = root.with_child(key, before.joined(part) if before else part)
    for key in _REPLACED:
        if part := changes.child(key):
            root = root.with_child(key, part, changes.key_mark(key))
    return replace(base, root=root, problems=tuple(problems))


def _with_axis(root: Node, axis: str, change: Node) -> Node:
    removed = _texts(change.child("remove"))
    kept = [value for value in _values(root, axis, change) if value.content not in removed]
    values = Node((*kept, *_items(change.child("add"))), change.mark)
    return root.rewritten(("axes",), lambda axes: axes.with_child(axis, values))


def _without_excludes(root: Node, axis: str, change: Node) -> Node:
    """`root`, whose excludes no longer name what the axis loses."""
    added = _texts(change.child("add"))
    lost = [value for value in _texts(change.child("remove")) if value not in added]
    return root.without(list(_excluded(root, axis, lost)))


def _excluded(root: Node, axis: str, lost: list[str]) -> Iterator[Location]:
    """Where excludes name `lost` values; the whole exclude where it names no others."""
    for index, exclude in enumerate(_items(root.child("exclude"))):
        named = _texts(exclude.child(axis))
        gone = [item for item, value in enumerate(named) if value in lost]
        if gone and len(gone) == len(named):
            yield "exclude", index
        else:
            yield from (("exclude", index, axis, item) for item in gone)


def _absent(root: Node, axis: str, change: Node) -> Iterator[Problem]:
    """Values to remove that the axis has not."""
    values = [str(value.content) for value in _values(root, axis, change)]
    for removed in _items(change.child("remove")):
        text = str(removed.content)
        if text in values:
            values.remove(text)
        else:
            spelt = spelling(text, removed.selector)
            message = f"axis `{axis}` has no value {spelt} to remove"
            hint = did_you_mean(text, values) or f"it has {', '.join(values) or 'none'}"
            yield Problem(message, removed.position, hint)


def _values(root: Node, axis: str, change: Node) -> tuple[Node, ...]:
    """The values of an axis, which only cuDNN's may leave to the default."""
    values = _at(root, "axes", axis)
    if values is None:
        default = Axes.model_fields[axis].default
        return tuple(Node(value, change.mark) for value in default)
    return _items(values)


def _at(node: Node | None, *steps: str) -> Node | None:
    for step in steps:
        node = node.child(step) if node else None
    return node


def _items(node: Node | None) -> tuple[Node, ...]:
    """Those of a list; a value that stands alone is a list of one."""
    if node is None or node.content is None:
        return ()
    return node.content if isinstance(node.content, tuple) else (node,)


def _texts(node: Node | None) -> list[str]:
    return [str(item.content) for item in _items(node)]
