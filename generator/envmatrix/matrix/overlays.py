"""Overlays: files of matrix.d/, each a migration that changes matrix.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce

from envmatrix.documents import Document, Location, Node
from envmatrix.errors import Problem
from envmatrix.matrix.cells import AXES, OMITTED
from envmatrix.matrix.selectors import quote_release
from envmatrix.suggestions import did_you_mean

_MERGED_KEYS = ("include", "exclude", "aliases", "bases", "libraries", "runs", "tiers")
_REPLACED_KEYS = ("defaults", "policy", "sm", "sources")


def merge(base: Document, overlays: Iterable[Document]) -> Document:
    """Return `base` with the overlays applied in order; values keep their positions."""
    return reduce(_apply, overlays, base)


def _apply(base: Document, overlay: Document) -> Document:
    root, changes = base.root, overlay.root
    problems, axes = [*base.problems, *overlay.problems], changes.child("axes")
    for axis in AXES:
        if change := axes and axes.child(axis):
            problems += _removal_problems(root, axis, change)
            root = _with_axis(_without_excludes(root, axis, change), axis, change)
    for key in _MERGED_KEYS:
        if part := changes.child(key):
            before = root.child(key)
            root = root.with_child(key, before.merge(part) if before else part)
    for key in _REPLACED_KEYS:
        if part := changes.child(key):
            root = root.with_child(key, part, changes.keys.get(key))
    return replace(base, root=root, problems=tuple(problems))


def _with_axis(root: Node, axis: str, change: Node) -> Node:
    removed = _texts(change.child("remove"))
    remaining = [value for value in _values(root, axis, change) if value.content not in removed]
    values = Node((*remaining, *_items(change.child("add"))), change.position)
    return root.replace_at(("axes",), lambda axes: axes.with_child(axis, values))


def _without_excludes(root: Node, axis: str, change: Node) -> Node:
    """Return `root` without the values in excludes that the axis loses."""
    added = _texts(change.child("add"))
    lost = [value for value in _texts(change.child("remove")) if value not in added]
    return root.without(list(_locations_of_lost(root, axis, lost)))


def _locations_of_lost(root: Node, axis: str, lost: list[str]) -> Iterator[Location]:
    """Yield the locations of `lost` values in excludes, or of an exclude that names no others."""
    for index, exclude in enumerate(_items(root.child("exclude"))):
        named = _texts(exclude.child(axis))
        gone = [item for item, value in enumerate(named) if value in lost]
        if gone and len(gone) == len(named):
            yield "exclude", index
        else:
            yield from (("exclude", index, axis, item) for item in gone)


def _removal_problems(root: Node, axis: str, change: Node) -> Iterator[Problem]:
    """Yield values to remove that the axis does not have."""
    values = [str(value.content) for value in _values(root, axis, change)]
    for removed in _items(change.child("remove")):
        text = str(removed.content)
        if text in values:
            values.remove(text)
        else:
            quoted = quote_release(text, removed.selector)
            message = f"axis `{axis}` has no value {quoted} to remove"
            hint = did_you_mean(text, values) or f"it has {', '.join(values) or 'none'}"
            yield Problem(message, removed.position, hint)


def _values(root: Node, axis: str, change: Node) -> tuple[Node, ...]:
    """Return the values of an axis, or its default, if it has one."""
    axes = root.child("axes")
    values = axes and axes.child(axis)
    if values is None:
        return (Node(OMITTED[axis], change.position),) if axis in OMITTED else ()
    return _items(values)


def _items(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list; a single value is a list with one item."""
    if node is None or node.content is None:
        return ()
    return node.content if isinstance(node.content, tuple) else (node,)


def _texts(node: Node | None) -> list[str]:
    return [str(item.content) for item in _items(node)]
