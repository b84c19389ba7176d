"""Suggestions for an unknown word."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    return _suggestion(word, tuple(candidates))


@lru_cache(maxsize=256)
def _suggestion(word: str, candidates: tuple[str, ...]) -> str | None:
    from difflib import get_close_matches

    close = get_close_matches(word, candidates, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None
