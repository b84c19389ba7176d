"""Selectors of CUDA releases: `12.x`, `latest`, `oldest`, `minmax`, and their resolution."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from envmatrix.errors import Position, Problem
from envmatrix.facts.model import Facts, load_facts
from envmatrix.facts.versions import version_key
from envmatrix.suggestions import did_you_mean

if TYPE_CHECKING:
    from envmatrix.documents import Document, Node

# The locations of releases in a matrix file and in an overlay.
_PLACES = (
    ("axes", "cuda"),
    ("axes", "cuda", "add"),
    ("axes", "cuda", "remove"),
    ("include", "*", "cuda"),
    ("exclude", "*", "cuda"),
    ("sources", "*", "cuda"),
    ("aliases", "*", "cuda"),
    ("runs", "*", "cuda"),
)

_WORDS = ("latest", "oldest", "minmax")
_SELECTOR = re.compile(rf"{'|'.join(_WORDS)}|\d+\.x", re.ASCII)

# Words for selectors in other tools.
_OTHER_WORDS = {"newest": "latest", "max": "latest", "min": "oldest", "first": "oldest"}
_ALMOST_MAJOR = re.compile(r"([1-9]\d*)\.?[xX*]?", re.ASCII)

_PREFIXED = re.compile(r"(?:cuda|ctk|v)[ _-]?([0-9]+\.(?:x|[0-9]+(?:\.[0-9]+)?))", re.IGNORECASE)


def is_selector(value: str) -> bool:
    return _SELECTOR.fullmatch(value) is not None


def suggest_selector(value: str) -> str | None:
    """Return a hint for a value that is almost a selector; else None."""
    if prefixed := _PREFIXED.fullmatch(value):
        return f"did you mean `{prefixed[1]}`?"
    almost = _ALMOST_MAJOR.fullmatch(value)
    if almost and any(name.startswith(f"{almost[1]}.") for name in load_facts().cuda):
        return f"did you mean `{almost[1]}.x`?"
    word = value.lower()
    if word in _OTHER_WORDS:
        return f"did you mean `{_OTHER_WORDS[word]}`?"
    return did_you_mean(word, (selector for selector in _WORDS if selector != value))


def match_releases(selector: str, releases: Sequence[str]) -> tuple[str, ...]:
    """Return those of `releases`, sorted from the oldest, that `selector` stands for."""
    first, last = releases[:1], releases[-1:]
    of_words = {"latest": last, "oldest": first, "minmax": [*first, *last]}
    of_major = [name for name in releases if name.startswith(selector.removesuffix("x"))]
    return tuple(dict.fromkeys(of_words.get(selector, of_major[-1:])))


def resolve_selectors(document: Document, facts: Facts) -> Document:
    """Return `document` with releases in place of selectors, itself without any; one that matches
    nothing stays."""
    releases = complete_releases(facts)
    selectors: list[str] = []

    def expand_item(item: Node) -> tuple[Node, ...]:
        selector = item.content
        if not isinstance(selector, str) or not is_selector(selector):
            return (item,)
        selectors.append(selector)
        names = match_releases(selector, releases)
        return tuple(replace(item, content=name, selector=selector) for name in names) or (item,)

    def expand_node(node: Node) -> Node:
        if isinstance(node.content, tuple):
            items = tuple(release for item in node.content for release in expand_item(item))
            return replace(node, content=items)
        items = expand_item(node)
        return items[0] if len(items) == 1 else replace(node, content=items)

    root = document.root
    for place in _PLACES:
        root = root.replace_at(place, expand_node)
    return replace(document, root=root) if selectors else document


def complete_releases(facts: Facts) -> list[str]:
    """Return the CUDA releases that some source has in full, from the oldest."""
    releases = (release.release for release in facts.cuda.values() if release.packages)
    return sorted(releases, key=version_key)


def quote_release(release: str, selector: str | None) -> str:
    """Return a release in backquotes, with its selector in the file, if any."""
    return f"`{release}` (`{selector}`)" if selector else f"`{release}`"


def unmatched_selector_problem(selector: str, position: Position, facts: Facts) -> Problem:
    names = ", ".join(f"`{release}`" for release in complete_releases(facts))
    message = f"no CUDA release that a source has in full matches `{selector}`"
    return Problem(message, position, f"there are {names}" if names else None)
