"""Selectors of CUDA releases: `12.x`, `latest`, `oldest`, `minmax`, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from envmatrix.errors import Position, Problem
from envmatrix.matrix.cells import version_key
from envmatrix.matrix.document import Document, Node
from envmatrix.matrix.facts import Facts
from envmatrix.matrix.suggest import did_you_mean

# Where releases stand in a matrix file and in an overlay.
_PLACES = (
    ("axes", "cuda"),
    ("axes", "cuda", "add"),
    ("axes", "cuda", "remove"),
    ("include", "*", "cuda"),
    ("exclude", "*", "cuda"),
    ("sources", "*", "cuda"),
    ("aliases", "*", "cuda"),
)

_WORDS = ("latest", "oldest", "minmax")
_SELECTOR = re.compile(rf"{'|'.join(_WORDS)}|\d+\.x", re.ASCII)

# What people write who know selectors from elsewhere.
_OTHER_WORDS = {"newest": "latest", "max": "latest", "min": "oldest", "first": "oldest"}
_ALMOST_MAJOR = re.compile(r"([1-9]\d*)\.?[xX*]?", re.ASCII)


def is_selector(value: str) -> bool:
    return _SELECTOR.fullmatch(value) is not None


def near_miss(value: str) -> str | None:
    """A suggestion for what is almost a selector."""
    if almost := _ALMOST_MAJOR.fullmatch(value):
        return f"did you mean `{almost[1]}.x`?"
    word = value.lower()
    if word in _OTHER_WORDS:
        return f"did you mean `{_OTHER_WORDS[word]}`?"
    return did_you_mean(word, (known for known in _WORDS if known != value))


def matching(selector: str, releases: Sequence[str]) -> tuple[str, ...]:
    """Of `releases`, the oldest first, those that `selector` stands for."""
    match selector:
        case "latest":
            return tuple(releases[-1:])
        case "oldest":
            return tuple(releases[:1])
        case "minmax":
            return tuple(dict.fromkeys((*releases[:1], *releases[-1:])))
    of_major = [it for it in releases if it.startswith(selector.removesuffix("x"))]
    return tuple(of_major[-1:])


def resolve(document: Document, facts: Facts) -> Document:
    """`document` with releases where it has selectors; one that matches nothing stays."""
    releases = complete_releases(facts)

    def selected(node: Node) -> tuple[Node, ...]:
        selector = node.content
        if not isinstance(selector, str) or not is_selector(selector):
            return (node,)
        found = matching(selector, releases)
        return tuple(replace(node, content=it, selector=selector) for it in found) or (node,)

    def resolved(node: Node) -> Node:
        if isinstance(node.content, tuple):
            items = tuple(found for item in node.content for found in selected(item))
            return replace(node, content=items)
        found = selected(node)
        return found[0] if len(found) == 1 else replace(node, content=found)

    root = document.root
    for place in _PLACES:
        root = root.rewritten(place, resolved)
    return replace(document, root=root)


def complete_releases(facts: Facts) -> list[str]:
    """Those that some source has in full, the oldest first."""
    known = (release.release for release in facts.cuda.values() if release.packages)
    return sorted(known, key=version_key)


def spelling(release: str, selector: str | None) -> str:
    """A release, with the selector that stands for it in the file."""
    return f"`{release}` (`{selector}`)" if selector else f"`{release}`"


def unmatched(selector: str, position: Position, facts: Facts) -> Problem:
    known = ", ".join(f"`{release}`" for release in complete_releases(facts))
    message = f"no CUDA release that a source has in full matches `{selector}`"
    return Problem(message, position, f"there are {known}" if known else None)
