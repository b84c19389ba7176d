"""Paths of the dashboard's pages. Pure.

A path contains a stored name only if it is a plain file name, otherwise its hash.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

INDEX, PERFORMANCE = "index.html", "performance.html"
# The directories of pages.
CELLS, RUNS, TESTS = "cell", "run", "outcome"

# The most names whose file names are kept.
_NAMES = 4_096

# Names that are valid file names everywhere; hashed names contain a tilde.
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._+@-]{0,119}", re.ASCII)
_HASHED = re.compile(r"[A-Za-z0-9_]{0,40}~[0-9a-f]{32}", re.ASCII)


@lru_cache(_NAMES)
def file_name(name: str) -> str:
    """Return a unique plain file name for a stored name."""
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]+', '', name)[:40]}~{digest[:32]}"


def is_file_name(name: str) -> bool:
    """Return whether some stored name has this file name."""
    return bool(_PLAIN.fullmatch(name) or _HASHED.fullmatch(name))


def is_hashed(name: str) -> bool:
    """Return whether a file name is a hash, so that only a search finds the stored name."""
    return "~" in name


def cell_page(library: str, cell: str) -> str:
    return f"{CELLS}/{file_name(library)}/{file_name(cell)}.html"


def run_page(run: str) -> str:
    return f"{RUNS}/{file_name(run)}.html"


def test_page(library: str, test: str) -> str:
    return f"{TESTS}/{file_name(library)}/{file_name(test)}.html"
