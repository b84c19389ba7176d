"""Suggestions for an unknown word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from envmatrix.text import leading_names

# How alike words are: enough to suggest one, and where only a typing error is meant.
ALIKE, MISTYPED = 0.6, 0.85
# The most names that a hint lists.
_MOST_NAMES = 20


def did_you_mean(word: str, candidates: Iterable[str], cutoff: float = ALIKE) -> str | None:
    return _suggestion(word, tuple(candidates), cutoff)


def known_names(word: str, names: Iterable[str]) -> str:
    """Return a hint for an unknown word: the name that is meant, or the names that there are."""
    candidates = [*names]
    return did_you_mean(word, candidates) or _listed(candidates)


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"there are {leading_names(quoted, _MOST_NAMES, 'name') or 'none'}"


@lru_cache(maxsize=256)
def _suggestion(word: str, candidates: tuple[str, ...], cutoff: float) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(word, candidates, n=1, cutoff=cutoff)
    return f"did you mean `{close[0]}`?" if close else None
