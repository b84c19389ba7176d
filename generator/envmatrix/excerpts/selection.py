"""Selection of members as the scripts of images select them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import accumulate


def is_selected(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a pattern matches the member of a name, or a directory that it is in.

    `*` matches slashes too, as it does for tar and unzip. More members than the scripts unpack do
    no harm, since they unpack by the same patterns.
    """
    paths = [*accumulate(name.rstrip("/").split("/"), lambda path, part: f"{path}/{part}")]
    return any(fnmatchcase(path, pattern) for pattern in patterns for path in paths)
