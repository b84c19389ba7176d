"""The order of version numbers. Pure."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4096)
def version_key(version: str) -> tuple[int, ...]:
    """Return a key that sorts `9.8` before `9.10`, and an absent version (`""`) before all."""
    return tuple(int(part) for part in version.split(".") if part)


def in_range(version: str, first: str, last: str | None) -> bool:
    """Return whether `first` <= `version` <= `last`, where 9.10.2 still belongs to `last` 9.10.

    A version of two parts is its newest patch: 8.9 is not before `first` 8.9.5.
    """
    key = version_key(version)
    if key < version_key(first)[: len(key)]:
        return False
    return last is None or key[: len(version_key(last))] <= version_key(last)
