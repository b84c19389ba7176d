"""Libraries that others need: which ones, in which variant, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from envmatrix.matrix.library import Library
from envmatrix.matrix.variants import Variant

# Settings of variants that a needed library follows.
_FOLLOWED = ("std", "build_type", "sanitizer", "named")


def direct_needs(library: Library, declared: Mapping[str, Library]) -> tuple[Library, ...]:
    """Return the libraries in `needs` of a library or variant, each in the variant for it."""
    return tuple(
        variant_for(library.variant, declared[name]) for name in library.needs if name in declared
    )


def all_needs(library: Library, declared: Mapping[str, Library]) -> tuple[Library, ...]:
    """Return the libraries in `needs`, and those that they need, each after its own needs."""
    ordered: list[Library] = []
    visited = {library.name}
    path = [(library, iter(direct_needs(library, declared)))]
    while path:
        needs = path[-1][1]
        need = next((each for each in needs if each.name not in visited), None)
        if need is None:
            ordered.append(path.pop()[0])
        else:
            visited.add(need.name)
            path.append((need, iter(direct_needs(need, declared))))
    return tuple(ordered[:-1])


def variant_for(variant: Variant, needed: Library) -> Library:
    """Return a needed library in its variant for one of the library that needs it: with each
    setting of that one which it has variants with, and else that of its default variant."""
    rows, default = needed.expanded, needed.expanded[0].variant
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
