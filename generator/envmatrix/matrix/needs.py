"""Libraries that others need: which ones, in which variant, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from envmatrix.matrix.library import Library
from envmatrix.matrix.variants import Variant

# The variants of each declared library, by its name.
Variants = Mapping[str, Sequence[Library]]

# Settings of variants that a needed library follows.
_FOLLOWED = ("std", "build_type", "sanitizer", "named")


def direct_needs(library: Library, variants_of: Variants) -> tuple[Library, ...]:
    """Return the libraries in `needs` of a library or variant, each in the variant for it."""
    needs = (variants_of[name] for name in library.needs if name in variants_of)
    return tuple(variant_for(library.variant, rows) for rows in needs)


def all_needs(variants_of: Variants) -> Mapping[str, tuple[Library, ...]]:
    """Return by the name of each variant the libraries in its `needs`, and those that they need,
    each after its own needs."""
    variants = {row.name: row for rows in variants_of.values() for row in rows}
    direct = {name: direct_needs(row, variants_of) for name, row in variants.items()}
    names: dict[str, tuple[str, ...]] = {}
    for name in _ordered(direct):
        # Of libraries that need each other, which is an error, one has no entry yet.
        chains = ((*names.get(need.name, ()), need.name) for need in direct[name])
        names[name] = tuple(dict.fromkeys(chain.from_iterable(chains)))
    return {name: tuple(variants[need] for need in names[name]) for name in variants}


def _ordered(direct: Mapping[str, Sequence[Library]]) -> Sequence[str]:
    """Return the names of all variants, each after those that it needs directly."""
    ordered: list[str] = []
    visited: set[str] = set()
    for start in direct:
        path = [] if start in visited else [(start, iter(direct[start]))]
        visited.add(start)
        while path:
            need = next((row for row in path[-1][1] if row.name not in visited), None)
            if need is None:
                ordered.append(path.pop()[0])
            else:
                visited.add(need.name)
                path.append((need.name, iter(direct[need.name])))
    return ordered


def variant_for(variant: Variant, rows: Sequence[Library]) -> Library:
    """Return a variant of a needed library, of which `rows` are all, for one of the library that
    needs it: with each setting of that one which it has variants with, and else that of its default
    variant."""
    default = rows[0].variant
    offered = {key: {getattr(row.variant, key) for row in rows} for key in _FOLLOWED}
    settings = {
        key: getattr(variant if getattr(variant, key) in offered[key] else default, key)
        for key in _FOLLOWED
    }
    named = [row for row in rows if row.variant.named == settings["named"]]
    suited = (row for row in named if all(getattr(row.variant, k) == settings[k] for k in settings))
    return next(suited, named[0])


def installed(declared: Mapping[str, Library]) -> frozenset[str]:
    """Return the names of libraries that are installed after they are compiled: of those that
    others need, or that say how."""
    needed = {name for library in declared.values() for name in library.needs}
    own = {name for name, library in declared.items() if library.build.install}
    return frozenset(needed | own)
