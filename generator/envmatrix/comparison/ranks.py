"""Ranks of values. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def doubled_ranks(values: Sequence[float]) -> Sequence[int]:
    """Return twice the rank of each value, so that the rank of equal ones, which is in their
    middle, is whole."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            ranks[index] = start + end + 1
        start = end
    return ranks
