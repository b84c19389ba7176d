"""Components of CUDA that a source names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envmatrix.adoption.source_tree import SourceTree
from envmatrix.facts.model import load_facts
from envmatrix.lock.cuda_in_image import component_of

# Targets of CMake, and headers; names of CUDA's own only.
_TARGET = re.compile(r"\bCUDA::(\w+)")
_HEADER = re.compile(r"(?m)^\s*#\s*include\s*<([^>\n]{1,200})>")
# What images have.
_PRESENT = {"cccl", "cudart", "nvcc"}


def used_components(tree: SourceTree) -> list[str]:
    """Return the components that a library lists because its source names them, sorted."""
    names = {component_of(name) for name in _names(tree)}
    return sorted(name for name in load_facts().listable if name in names - _PRESENT)


def _names(tree: SourceTree) -> Iterator[str]:
    for path, text in tree.texts.items():
        pattern = _HEADER if path.endswith((".cu", ".cuh")) else _TARGET
        yield from pattern.findall(text)
