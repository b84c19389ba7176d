"""Suggestions for an unknown word."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

# How alike words are: enough to suggest one, and where only a typing error is meant.
ALIKE, MISTYPED = 0.6, 0.85


def did_you_mean(word: str, candidates: Iterable[str], cutoff: float = ALIKE) -> str | None:
    return _suggestion(word, tuple(candidates), cutoff)


@lru_cache(maxsize=256)
def _suggestion(word: str, candidates: tuple[str, ...], cutoff: float) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(word, candidates, n=1, cutoff=cutoff)
    return f"did you mean `{close[0]}`?" if close else None
