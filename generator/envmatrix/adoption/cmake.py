"""How a library is built and tested by CMake, by the texts of its files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from envmatrix.adoption.cmake_presets import (
    PRESETS,
    Preset,
    chosen_preset,
    configure_presets,
    preset_texts,
)
from envmatrix.adoption.proposal import PYTHON_TO_RUN, Proposal
from envmatrix.adoption.source_tree import SourceTree
from envmatrix.documentation import page

_COMMENT = re.compile(r"#\[(=*)\[.*?\]\1\]|#[^\n]*", re.DOTALL)
_TESTING = re.compile(r"\benable_testing\s*\(|\binclude\s*\(\s*CTest\s*\)", re.IGNORECASE)
_OPTION = re.compile(
    r"\b(?:option|cmake_dependent_option)\s*\(\s*(?P<name>\w+)\s+"
    r'(?:"(?:[^"\\]|\\.)*"|[^\s")]+)\s*(?P<value>[^\s)]*)',
    re.IGNORECASE,
)
_TEST_OPTION = re.compile(
    r"(?:^|_)(?:BUILD|ENABLE|WITH)_(?:UNIT_?)?TESTS?(?:ING)?$|^(?:[A-Z0-9]+_)?TESTS?$",
    re.IGNORECASE,
)
# A name that is a variable is none.
_PROJECT = re.compile(
    r"^[ \t]*project\s*\(\s*\"?([\w.+-]+)\"?(?=[\s)])", re.IGNORECASE | re.MULTILINE
)
_OFF = ("", "off", "no", "false", "0")
_FIND = re.compile(r"\bfind_package\s*\(\s*(?P<name>\w+)(?P<words>[^)]*)\)", re.IGNORECASE)
_FETCH = re.compile(
    r"\b(?:FetchContent_Declare|CPMAddPackage)\s*\(\s*\"?(?:NAME\s+)?(\w+)", re.IGNORECASE
)
# Writes among the sources; and tests that run there, which often write there as well.
_OF_SOURCE = r"\$\{(?:CMAKE|PROJECT|\w+)_(?:CURRENT_)?SOURCE_DIR\}"
_WRITING = re.compile(
    rf"\bfile\s*\(\s*(?:RENAME|WRITE|APPEND|TOUCH)\s+\"?{_OF_SOURCE}"
    rf"|\bWORKING_DIRECTORY\s+\"?{_OF_SOURCE}",
    re.IGNORECASE,
)
# Packages of Debian by the name that `find_package` has, where none is needed to run with it.
_PACKAGES = {
    "benchmark": ("libbenchmark-dev:{target}",),
    "Boost": ("libboost-dev:{target}",),
    "Catch2": ("catch2:{target}",),
    "doctest": ("doctest-dev",),
    "Eigen3": ("libeigen3-dev",),
    "GTest": ("libgtest-dev:{target}", "libgmock-dev:{target}"),
    "nlohmann_json": ("nlohmann-json3-dev",),
    "PkgConfig": ("pkgconf",),
    "pybind11": ("pybind11-dev", "python3-dev"),
}
# Packages that the images have, or that are for documentation.
_PRESENT = {"CUDA", "CUDAToolkit", "Doxygen", "Git", "OpenMP", "Sphinx", "Threads"}
_PYTHON = {"Python", "Python3", "PythonInterp", "PythonLibs"}
# Sources that a package of Debian has, by the name that `FetchContent` has: the directory, the
# package.
_SOURCES = {"googletest": ("/usr/src/googletest", "googletest")}
_MOST_NOTED = 8


def cmake(tree: SourceTree) -> Proposal | None:
    """Return how CMake builds the library at the top of a tree, if it does."""
    if "CMakeLists.txt" not in tree:
        return None
    texts = [_COMMENT.sub("", text) for text in tree.texts_named("CMakeLists.txt", ".cmake")]
    top = _COMMENT.sub("", tree.text("CMakeLists.txt"))
    presets = configure_presets(preset_texts("", tree.text))
    preset = chosen_preset(presets or ())
    fetched = dict.fromkeys(chain.from_iterable(map(_FETCH.findall, texts)))
    sources = {name: _SOURCES[name.lower()] for name in fetched if name.lower() in _SOURCES}
    options = [
        *(f"-D{name}=ON" for name in _test_options(texts)),
        *(
            f"-DFETCHCONTENT_SOURCE_DIR_{name.upper()}={place}"
            for name, (place, _) in sources.items()
        ),
    ]
    finds = [match for text in texts for match in _FIND.finditer(text)]
    devel = [package for match in finds for package in _packages(match)]
    devel += [package for _, package in sources.values()]
    packages: dict[str, Sequence[str]] = {"devel": tuple(dict.fromkeys(devel))} if devel else {}
    if any(match["name"] in _PYTHON for match in finds):
        packages["runtime"] = PYTHON_TO_RUN
    is_tested = any(map(_TESTING.search, texts))
    build: dict[str, Any] = {"preset": preset} if preset else {}
    if options:
        build["options"] = options
    if any(map(_WRITING.search, texts)):
        build["source_tree"] = "copied"
    return Proposal(
        system=f"CMake with the preset `{preset}`" if preset else "CMake",
        tests="CTest" if is_tested else "none",
        build=build,
        test=None if is_tested else "none",
        packages=packages,
        project=next(iter(_PROJECT.findall(top)), ""),
        notes=[*_notes(top, [name for name in fetched if name not in sources], presets, preset)],
    )


def _test_options(texts: Sequence[str]) -> Iterator[str]:
    """Yield the options that turn tests on, and are off."""
    values = {
        match["name"]: match["value"].lower() for text in texts for match in _OPTION.finditer(text)
    }
    return (name for name, value in values.items() if _TEST_OPTION.search(name) and value in _OFF)


def _packages(find: re.Match[str]) -> Sequence[str]:
    """Return the packages to compile with that a call of `find_package` needs."""
    if find["name"] in _PYTHON:
        return ("python3-dev",) if "Development" in find["words"] else ()
    return _PACKAGES.get(find["name"], ())


def _notes(
    top: str, fetched: Sequence[str], presets: Sequence[Preset] | None, preset: str | None
) -> Iterator[str]:
    """Yield what was not decided."""
    unknown = [
        match["name"]
        for match in _FIND.finditer(top)
        if "REQUIRED" in match["words"] and match["name"] not in {*_PACKAGES, *_PRESENT, *_PYTHON}
    ]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown[:_MOST_NOTED]))
        yield f"CMake requires {names}: list packages that have them in envs/devel.yaml"
    if fetched:
        names = ", ".join(fetched[:_MOST_NOTED])
        yield f"CMake downloads {names}, but builds have no network: see {page('libraries')}"
    if presets is None:
        yield f"{PRESETS} or a file that it includes is invalid, so no preset was chosen"
    elif presets and preset is None:
        names = ", ".join(each.name for each in presets[:_MOST_NOTED])
        yield f"CMake has presets, of which none was chosen: {names}"
