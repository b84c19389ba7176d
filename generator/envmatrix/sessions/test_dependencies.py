"""Files that each test depends on, by the last build, and tests that a change affects. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from envmatrix.records import dataclass
from envmatrix.sessions.context import BUILD, path_inside
from envmatrix.sessions.outcomes import bounded, parse_errors

_NODE = re.compile(r'^"(0x\w+)" \[label="(.*?)"')
_EDGE = re.compile(r'^"(0x\w+)" -> "(0x\w+)"(?: \[label="[^"]*"\]| \[(arrowhead[^\]]*)\])?')
_OBJECT = re.compile(r"^(\S.*): #deps \d+")


@dataclass(frozen=True, slots=True)
class NinjaGraph:
    """Dependency graph of ninja: the inputs of each output, and the files that compilations
    read."""

    inputs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sources: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def reaches(self, output: str) -> frozenset[str]:
        """Return the transitive inputs of an output."""
        followed = (self.inputs, self.sources)
        return frozenset(
            _reachable([output], lambda name: chain(*(row.get(name, ()) for row in followed)))
        )


def _reachable(
    start: Iterable[str], following: Callable[[str], Iterable[str]]
) -> Mapping[str, str]:
    """Return all that follows `start` in a graph, nearest first, each with what it follows."""
    reached: dict[str, str] = {}
    pending = deque(start)
    while pending:
        name = pending.popleft()
        for other in following(name):
            if other not in reached:
                reached[other] = name
                pending.append(other)
    return reached


def parse_ninja(graph: str, deps: str) -> NinjaGraph:
    """Parse the output of `ninja -t graph` and `ninja -t deps`. Edges with several inputs are nodes
    of their own in the graph, and are left out; an order-only edge is no dependency."""
    names: dict[str, str] = {}
    into: dict[str, set[str]] = {}
    for line in graph.splitlines():
        if (edge := _EDGE.match(line)) and "dotted" not in (edge[3] or ""):
            into.setdefault(edge[2], set()).add(edge[1])
        elif (node := _NODE.match(line)) and "shape=ellipse" not in line:
            names[node[1]] = node[2]
    inputs = {name: _files_before(into, names, key) for key, name in names.items()}
    return NinjaGraph(inputs, _parse_deps(deps))


def _files_before(
    into: Mapping[str, Iterable[str]], names: Mapping[str, str], key: str
) -> frozenset[str]:
    """Return the names of the nearest nodes before a node that are files."""
    nodes = _reachable(
        [key], lambda node: () if node in names and node != key else into.get(node, ())
    )
    return frozenset(names[node] for node in nodes if node in names)


def _parse_deps(deps: str) -> Mapping[str, frozenset[str]]:
    sources: dict[str, set[str]] = {}
    files: set[str] = set()
    for line in deps.splitlines():
        if match := _OBJECT.match(line):
            files = sources.setdefault(match[1], set())
        elif line.startswith("    "):
            files.add(line.strip())
    return {name: frozenset(paths) for name, paths in sources.items()}


@dataclass(frozen=True, slots=True)
class Test:
    """A test of CTest. Without a `command` its program does not exist. `texts` are the values of
    properties that may name files, `earlier` the tests that it depends on."""

    __test__ = False  # pytest: this is no test class

    name: str
    command: Sequence[str]
    directory: str = BUILD
    texts: Sequence[str] = ()
    earlier: frozenset[str] = frozenset()

    def paths(self) -> frozenset[str]:
        """Return the absolute paths that the command and the properties may name."""
        parts = {part for text in (*self.command, *self.texts) for part in _parts(text)}
        joined = (posixpath.join(self.directory, part) for part in parts)
        return frozenset(map(posixpath.normpath, joined))


_SEPARATOR = re.compile(r"[\s=:;,\"']+")


def _parts(text: str) -> Iterator[str]:
    """Yield the parts of a text that may be paths, as in `--input=/src/a.txt` or `-I/src`."""
    for part in (text, *_SEPARATOR.split(text)):
        if part:
            yield part
        if "/" in part:
            yield part[part.index("/") :]


# Properties whose values may name files.
_NAMING = ("REQUIRED_FILES", "ENVIRONMENT", "ENVIRONMENT_MODIFICATION")


def listed_tests(text: str) -> tuple[Test, ...]:
    """Parse the output of `ctest --show-only=json-v1`; EnvmatrixError where it is malformed."""
    with parse_errors("the list of tests of `ctest` cannot be read", "run without `--since`"):
        rows = [(row, _properties(row)) for row in json.loads(bounded(text))["tests"]]
        setups: dict[str, set[str]] = {}
        for row, properties in rows:
            for fixture in properties.get("FIXTURES_SETUP", ()):
                setups.setdefault(fixture, set()).add(row["name"])
        return tuple(_test(row, properties, setups) for row, properties in rows)


def _test(
    row: Mapping[str, Any],
    properties: Mapping[str, Sequence[str]],
    setups: Mapping[str, Collection[str]],
) -> Test:
    """Create a test from its row; `setups` are the tests that set up each fixture."""
    (name,) = _check_texts([row["name"]])
    command = _check_texts(row.get("command", []))
    if command[:1] == ["/usr/bin/env"]:
        command = command[1:]  # CMake's emulator of cross-compiled programs
    (directory,) = properties.get("WORKING_DIRECTORY", [BUILD])
    required = (setups.get(key, ()) for key in properties.get("FIXTURES_REQUIRED", ()))
    return Test(
        name,
        command,
        directory,
        texts=[text for key in _NAMING for text in properties.get(key, ())],
        earlier=frozenset(properties.get("DEPENDS", ())).union(*required),
    )


def _properties(row: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the properties of a test that are strings or lists of strings."""
    values = {entry["name"]: entry["value"] for entry in row.get("properties", ())}
    lists = {name: [value] if isinstance(value, str) else value for name, value in values.items()}
    return {name: _check_texts(value) for name, value in lists.items() if isinstance(value, list)}


def _check_texts(values: Sequence[object]) -> Sequence[str]:
    if not isinstance(values, list):
        raise TypeError(f"{type(values).__name__} where a list is expected")
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        raise TypeError("a value that is no text")
    return texts


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Dependencies of tests: the `files` of the library, by their paths in it, without tests whose
    files are unknown; and the `earlier` tests of every test. `compiled` are the sources and headers
    of all tests."""

    files: Mapping[str, Collection[str]]
    earlier: Mapping[str, Collection[str]]
    compiled: Collection[str]


def dependencies(graph: NinjaGraph, tests: Iterable[Test], tree: str) -> Dependencies:
    """Return the dependencies of tests in a build: the files that their programs and other outputs
    they name are made of, and the files that they name. The files of a test whose program is not an
    output of the build are unknown."""
    files: dict[str, set[str]] = {}
    earlier: dict[str, set[str]] = {}
    unknown: set[str] = set()
    objects: set[str] = set()
    for test in tests:
        earlier.setdefault(test.name, set()).update(test.earlier)
        if not test.command or not graph.reaches(_output(test.command[0])):
            unknown.add(test.name)
            continue
        paths = test.paths()
        outputs = set(map(_output, paths))
        reached = outputs.union(*map(graph.reaches, outputs))
        objects |= reached & graph.sources.keys()
        files.setdefault(test.name, set()).update(_all_inside(reached | paths, tree))
    return Dependencies(
        {name: paths for name, paths in files.items() if name not in unknown},
        earlier,
        _all_inside((file for output in objects for file in graph.reaches(output)), tree),
    )


def _output(path: str) -> str:
    """Return ninja's name of a path."""
    return path.removeprefix(f"{BUILD}/")


def _all_inside(paths: Iterable[str], tree: str) -> frozenset[str]:
    return frozenset(filter(None, (path_inside(path, tree) for path in paths)))


@dataclass(frozen=True, slots=True)
class Selection:
    """Tests that a change affects, each with the reason; all of them where `tests` is None, because
    of `reason`."""

    tests: Mapping[str, str] | None
    reason: str


def selection(
    dependencies: Dependencies, changed: Sequence[str], ignored: Sequence[str] = ()
) -> Selection:
    """Select the tests that depend on changed files, and those that depend on such tests. Select
    all where a changed file was not compiled, so that any test may read it, or where the files of a
    test are unknown. `ignored` are the library's globs of files that no test depends on."""
    relevant = [file for file in changed if not is_ignored(file, ignored)]
    if not relevant:
        return Selection({}, "nothing that a test depends on changed")
    tests = dependencies.earlier
    if unknown := [name for name in tests if name not in dependencies.files]:
        return Selection(None, f"it is not known what `{unknown[0]}` depends on")
    chosen: dict[str, str] = {}
    for file in relevant:
        if file not in dependencies.compiled:
            return Selection(None, f"it is not known who depends on `{file}`")
        for name in tests:
            if file in dependencies.files[name]:
                chosen.setdefault(name, f"depends on `{file}`")
    chosen |= _later_tests(chosen, dependencies.earlier)
    return Selection(chosen, f"{len(chosen)} of {len(tests)} tests depend on what changed")


def _later_tests(
    chosen: Collection[str], earlier: Mapping[str, Collection[str]]
) -> Mapping[str, str]:
    """Return the tests that depend on chosen ones, transitively, with the reason."""
    later: dict[str, list[str]] = {}
    for name, others in earlier.items():
        for other in others:
            later.setdefault(other, []).append(name)
    reached = _reachable(chosen, lambda name: later.get(name, ()))
    return {
        name: f"depends on the test `{test}`"
        for name, test in reached.items()
        if name not in chosen
    }


def is_ignored(file: str, globs: Sequence[str]) -> bool:
    return any(PurePosixPath(file).match(glob) for glob in globs)


def files_of_library(changed: Sequence[str], path: str) -> tuple[str, ...]:
    """Return the changed files below a library's `path`, relative to it. Other files do not affect
    the library: they are not mounted."""
    return tuple(file for name in changed if (file := path_inside(name, path)))
