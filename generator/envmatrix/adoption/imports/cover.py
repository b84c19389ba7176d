"""Short descriptions of sets of cells: a product of axes, and globs of ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, combinations, product
from typing import TypeAlias

# A cell by the values of its axes, in the order of axes.
Cell: TypeAlias = tuple[str, ...]

# The most cells that a product is grown from.
_MOST_SEEDS = 24


def largest_product(
    cells: Sequence[Cell], is_harmless: Callable[[Cell], bool]
) -> tuple[tuple[str, ...], ...]:
    """Return the values of each axis whose product has the most of `cells`, and otherwise only
    harmless ones: such as those that cannot exist."""
    members = frozenset(cells)
    step = max(1, len(cells) // _MOST_SEEDS)
    best: tuple[tuple[str, ...], ...] = ()
    most = 0
    for seed in cells[::step]:
        axes = _grown(seed, cells, members, is_harmless)
        count = sum(cell in members for cell in product(*axes))
        if count > most:
            best, most = axes, count
    return best


def _grown(
    seed: Cell,
    cells: Sequence[Cell],
    members: Collection[Cell],
    is_harmless: Callable[[Cell], bool],
) -> tuple[tuple[str, ...], ...]:
    """Return the product that grows from one cell, each time by the value that adds the most."""
    axes: list[tuple[str, ...]] = [(value,) for value in seed]
    values = [tuple(dict.fromkeys(column)) for column in zip(*cells, strict=True)]
    while True:
        best = (0, 0, "")
        for axis, column in enumerate(values):
            for value in (value for value in column if value not in axes[axis]):
                added = [*product(*axes[:axis], (value,), *axes[axis + 1 :])]
                count = sum(cell in members for cell in added)
                if count and all(cell in members or is_harmless(cell) for cell in added):
                    best = max(best, (count, -axis, value))
        count, negative, value = best
        if not count:
            return tuple(
                tuple(value for value in column if value in chosen)
                for column, chosen in zip(values, axes, strict=True)
            )
        axes[-negative] = (*axes[-negative], value)


def globs_of(
    targets: Collection[str], others: Collection[str], parts: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return globs that match all ids of `targets` and none of `others`, few and short ones.
    `parts` are the parts of each id, which globs may leave out."""
    candidates: dict[str, frozenset[str]] = {}
    for target in targets:
        for glob in _globs(parts[target]):
            if glob not in candidates and not any(fnmatchcase(name, glob) for name in others):
                matching = (name for name in targets if fnmatchcase(name, glob))
                candidates[glob] = frozenset(matching)
    left, result = set(targets), []
    while left:
        glob = min(candidates, key=lambda name: (-len(candidates[name] & left), len(name), name))
        if not candidates[glob] & left:  # cannot be: each id is a glob of itself
            break
        result.append(glob)
        left -= candidates[glob]
    return sorted(result)


def _globs(parts: Sequence[str]) -> Iterator[str]:
    """Yield an id with some of its parts as `*`, from the shortest."""
    indices = range(len(parts))
    for chosen in chain.from_iterable(combinations(indices, size) for size in (1, 2, len(parts))):
        words = [part if index in chosen else "*" for index, part in enumerate(parts)]
        glob = "-".join(words)
        while "*-*" in glob:
            glob = glob.replace("*-*", "*")
        yield glob
