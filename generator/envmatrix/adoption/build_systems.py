"""How a library is built and tested, by the files of its source. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envmatrix.adoption.cmake import cmake
from envmatrix.adoption.proposal import PYTHON_TO_RUN, Proposal
from envmatrix.adoption.source_tree import SourceTree
from envmatrix.documentation import page

# Directories where a repository with several parts has its C++ library, the first first.
_PREFERRED = ("cpp", "c++", "src", "lib", "source")
# Directories whose builds are not those of the library.
_ASIDE = re.compile(
    r"(?:bench(?:mark)?|demo|doc|example|sample|script|test|tool|util)s?", re.IGNORECASE
)
_HEADER = re.compile(r"\.(?:h|hh|hpp|hxx|cuh)$")
_CUDA_HEADER = ".cuh"
_PYTHON = {"devel": ("python3-dev",), "runtime": PYTHON_TO_RUN}
# Backends of pyproject.toml, by their module. Those that call another build system come before it.
_CALLING = {"scikit_build_core": "scikit-build-core", "mesonpy": "meson-python"}
_OWN_REQUIREMENTS = ("setuptools", "wheel")
_PYTHON_TEST = re.compile(r"(?P<directory>tests?)/(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py")
_MESON_TEST = re.compile(r"(?m)^\s*(?:\w+\.)?test\s*\(")
_MESON_PROJECT = re.compile(r"(?m)^\s*project\s*\(\s*'([^']+)'")
_MESON_GTEST = re.compile(r"dependency\s*\(\s*'(?:gtest|gmock)")
_AUTOMAKE_TESTS = re.compile(r"(?m)^\s*(?:TESTS|check_PROGRAMS)\s*\+?=")
_MAKE_TESTS = re.compile(r"(?m)^(check|test)\s*:")

# Dependencies on headers, which the image for tests lacks, would compile everything again there:
# the tests are those of a copy without dependencies.
_CHECK = (
    "rm -rf /build/check && cp -a /build/source /build/check && "
    "find /build/check -name '*.P*o' -exec truncate -s 0 {} + && make -C /build/check check"
)
_CONFIGURE = './configure ${CROSS_TRIPLE:+"--host=$CROSS_TRIPLE"}'
_EACH_HEADER = """\
cd {directory} && find .{depth} {names} | while IFS= read -r header; do
  echo "#include <${{header#./}}>" >/build/header.{suffix}
  {compiler} -std=c++17 -I . -c -o /build/header.o /build/header.{suffix}
done
"""
_UNKNOWN = "echo 'write the commands that build the library into matrix.yaml'; exit 1"


def propose(tree: SourceTree) -> Proposal:
    """Return how the library in a tree is built: at its top, or in a directory of it."""
    if proposal := _at_top(tree):
        return proposal
    names = (name for name in tree.directories if not _ASIDE.fullmatch(name))
    parts = {name: part for name in names if (part := _at_top(tree.below(name)))}
    if parts:
        first, *others = sorted(parts, key=_rank)
        more = [f"other directories that are built: {', '.join(others)}"] if others else []
        return replace(parts[first], path=first, notes=[*parts[first].notes, *more])
    return _headers(tree) or Proposal(
        system="none that is recognized",
        tests="none",
        build={"system": "script", "commands": [_UNKNOWN]},
        test="none",
        notes=[f"write `build` of the library: {page('libraries')} lists the build systems"],
    )


def _rank(directory: str) -> tuple[int, str]:
    is_preferred = directory in _PREFERRED
    return (_PREFERRED.index(directory) if is_preferred else len(_PREFERRED), directory)


def _at_top(tree: SourceTree) -> Proposal | None:
    return next(filter(None, (detect(tree) for detect in _DETECTORS)), None)


def _pyproject(tree: SourceTree) -> Mapping[str, Any]:
    try:
        return tomllib.loads(tree.text("pyproject.toml"))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}  # the build tells what is wrong with it


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _texts(document: Mapping[str, Any], key: str) -> Sequence[str]:
    value = document.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _calling_python(tree: SourceTree) -> Proposal | None:
    """Return how a Python package is built whose backend calls CMake or Meson."""
    backend = str(_table(_pyproject(tree), "build-system").get("build-backend", ""))
    name = _CALLING.get(backend.partition(".")[0])
    return _python_package(tree, name) if name else None


def _python(tree: SourceTree) -> Proposal | None:
    document = _pyproject(tree)
    if "setup.py" not in tree and not (document.keys() & {"build-system", "project"}):
        return None
    backend = str(_table(document, "build-system").get("build-backend", "setuptools"))
    return _python_package(tree, backend.partition(".")[0].replace("_core", ""))


def _python_package(tree: SourceTree, backend: str) -> Proposal:
    document = _pyproject(tree)
    requires = _texts(_table(document, "build-system"), "requires") or _OWN_REQUIREMENTS
    directories = (match["directory"] for match in map(_PYTHON_TEST.match, tree.files) if match)
    tests = next(directories, None)
    needed = _texts(_table(document, "project"), "dependencies")
    build = {"system": "python", "requires": [*requires]}
    name = _table(document, "project").get("name")
    packages = _PYTHON
    if backend == "meson-python":
        packages = {**_PYTHON, "devel": (*_PYTHON["devel"], "pkgconf")}
    return Proposal(
        system=f"Python, by {backend}",
        tests="pytest" if tests else "none",
        build=build,
        test={"framework": "pytest", "run": [tests], "requires": ["pytest", *needed]}
        if tests
        else "none",
        packages=packages,
        project=name if isinstance(name, str) else "",
    )


def _meson(tree: SourceTree) -> Proposal | None:
    if "meson.build" not in tree:
        return None
    texts = [re.sub(r"#[^\n]*", "", text) for text in tree.texts_named("meson.build")]
    is_tested = any(map(_MESON_TEST.search, texts))
    devel = ["meson", "pkgconf"]
    if any(map(_MESON_GTEST.search, texts)):
        devel += ["libgtest-dev:{target}", "libgmock-dev:{target}"]
    packages: dict[str, Sequence[str]] = {"devel": devel}
    if is_tested:
        packages["runtime"] = ("meson", *PYTHON_TO_RUN)
    return Proposal(
        system="Meson",
        tests="meson test" if is_tested else "none",
        build={"system": "meson"},
        test=None if is_tested else "none",
        packages=packages,
        project=next(iter(_MESON_PROJECT.findall(tree.text("meson.build"))), ""),
    )


def _autotools(tree: SourceTree) -> Proposal | None:
    if not {"configure", "configure.ac", "configure.in"} & {*tree.files}:
        return None
    is_made = "configure" not in tree
    make = 'make -j"$JOBS"'
    is_tested = any(map(_AUTOMAKE_TESTS.search, tree.texts_named("Makefile.am")))
    is_automake = "Makefile.am" in tree or "Makefile.in" in tree
    first = "./autogen.sh" if "autogen.sh" in tree else "autoreconf --force --install"
    checks = is_tested and is_automake
    commands = [
        *([f"NOCONFIGURE=1 {first}"] if is_made else ()),
        _CONFIGURE,
        make,
        *([f"{make} check TESTS="] if checks else ()),  # compiles the tests, runs none
    ]
    packages: dict[str, Sequence[str]] = {}
    if is_made:
        packages["devel"] = ("autoconf", "automake", "autopoint", "gettext", "libtool", "pkgconf")
    if checks:
        packages["runtime"] = ("make",)
    return Proposal(
        system="autotools",
        tests="make check" if checks else "none",
        build={"system": "script", "commands": commands},
        test={"framework": "commands", "run": [_CHECK]} if checks else "none",
        packages=packages,
    )


def _make(tree: SourceTree) -> Proposal | None:
    if tree.makefile is None:
        return None
    target = _MAKE_TESTS.search(tree.text(tree.makefile))
    note = f"`make {target[1]}` runs tests: name its programs in `test`" if target else None
    return Proposal(
        system="Make",
        tests="none",
        build={"system": "make"},
        test="none",
        notes=[note] if note else [],
    )


def _bazel(tree: SourceTree) -> Proposal | None:
    if not {"MODULE.bazel", "WORKSPACE", "WORKSPACE.bazel"} & {*tree.files}:
        return None
    note = (
        "Debian 12 and 13 have no package of Bazel: `families` and `bases` in matrix files name "
        f"another system, see {page('matrix')}"
    )
    return Proposal(system="Bazel", tests="bazel test", build={"system": "bazel"}, notes=[note])


def _headers(tree: SourceTree) -> Proposal | None:
    """Return how a library of headers is checked: each of `include`, or else at the top, compiles
    on its own."""
    directory = "include"
    headers = [path for path in tree.below(directory).files if _HEADER.search(path)]
    if not headers:
        directory = "."
        headers = [path for path in tree.files if "/" not in path and _HEADER.search(path)]
    if not headers:
        return None
    is_cuda = any(path.endswith(_CUDA_HEADER) for path in headers)
    suffixes = sorted({path.rpartition(".")[2] for path in headers})
    names = " -o ".join(f"-name '*.{suffix}'" for suffix in suffixes)
    command = _EACH_HEADER.format(
        directory=directory,
        depth=" -maxdepth 1" if directory == "." else "",
        names=f"\\( {names} \\)",
        suffix="cu" if is_cuda else "cpp",
        compiler='nvcc -ccbin "$CXX"' if is_cuda else '"$CXX"',
    )
    return Proposal(
        system="headers only",
        tests="none",
        build={"system": "script", "commands": [command]},
        test="none",
        notes=["each header is compiled on its own; `test` may name programs that use them"],
    )


# A package of several systems is built by the first.
_DETECTORS: Sequence[Callable[[SourceTree], Proposal | None]] = (
    _calling_python,
    cmake,
    _meson,
    _autotools,
    _python,
    _make,
    _bazel,
)
