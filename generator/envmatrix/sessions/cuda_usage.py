"""Components of CUDA that a build used, by the headers and libraries that its files name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from envmatrix.confined import Directory, Refused
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.lock.cuda_in_image import component_of
from envmatrix.sessions import binaries
from envmatrix.sessions.buildsystems.cmake import DEPS, GRAPH
from envmatrix.sessions.context import BuildContext

# Files of Ninja, CMake and compilers that name headers and libraries.
_TEXTS = (GRAPH, DEPS, "**/build.ninja", "**/*.d", "**/link.txt")
# More files than that are not looked at for what they are loaded with.
_MOST_ENTRIES = 20_000

# A file of CUDA, by its path among headers or libraries; NCCL and TensorRT are among the system's.
_FILE = re.compile(
    r"/usr/local/cuda[\w.-]*/(?:[\w.+-]+/)*?(?:include|lib64|lib)/((?:[\w.+-]+/)*[\w.+-]+)"
    r"|/usr/(?:include|lib64|lib)/(?:\w+-linux-gnu/)?((?:nccl|Nv|lib(?:nccl|nv(?:infer|onnx)))[\w.]*)"
)
# A library that a linker looks for.
_LINKED = re.compile(r"(?<!\S)-l([\w+-]+)(?!\S)")


def check_components(context: BuildContext) -> None:
    """Raise where a build used a component that its image has for other libraries only."""
    with context.build.opened() as build:
        sources = used_names(build)
    undeclared: dict[str, Problem] = {}
    for file in sorted(sources):
        component = component_of(file)
        if component and component in context.borrowed and component not in undeclared:
            undeclared[component] = Problem(
                f"library `{context.library.name}` uses `{file}` of the component `{component}`, "
                "which is there for other libraries only",
                hint=f"add it to the library: `components: [{component}]`; "
                f"`{context.build.display_path(sources[file])}` tells that it is used",
            )
    if undeclared:
        raise ConfigurationError(*(undeclared[name] for name in sorted(undeclared)))


def used_names(build: Directory) -> Mapping[str, str]:
    """Return headers and libraries that may be CUDA's, each with a file of the build directory that
    names it."""
    sources: dict[str, str] = {}
    for entry in build.entries(_MOST_ENTRIES):
        with suppress(Refused), build.open(entry.name) as handle:
            sources |= dict.fromkeys(binaries.needed_libraries(handle), entry.name)
    for file in build.files(_TEXTS):
        with suppress(Refused):
            sources |= dict.fromkeys(named_in(build.text(file.name)), file.name)
    return sources


def named_in(text: str) -> frozenset[str]:
    """Return the files of CUDA and the linked libraries that a text of a build system names."""
    files = (match[1] or match[2] for match in _FILE.finditer(text))
    return frozenset(files).union(f"lib{match[1]}" for match in _LINKED.finditer(text))
