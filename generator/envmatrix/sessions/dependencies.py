"""Which files each test depends on, by the last build, and which tests a change reaches. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.outcomes import bounded
from envmatrix.sessions.steps import BUILD

_NODE = re.compile(r'^"(0x\w+)" \[label="(.*?)"')
_EDGE = re.compile(r'^"(0x\w+)" -> "(0x\w+)"(?: \[label="[^"]*"\]| \[(arrowhead[^\]]*)\])?')
_OBJECT = re.compile(r"^(\S.*): #deps \d+")


@dataclass(frozen=True, slots=True)
class Build:
    """What ninja knows: the inputs of each output, and the files that its compilation read."""

    inputs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    read: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def reaches(self, output: str) -> frozenset[str]:
        """All that an output is made of, over any number of steps."""
        found: set[str] = set()
        waiting = [output]
        while waiting:
            name = waiting.pop()
            for its in (*self.inputs.get(name, ()), *self.read.get(name, ())):
                if its not in found:
                    found.add(its)
                    waiting.append(its)
        return frozenset(found)


def build_of(graph: str, deps: str) -> Build:
    """Of what `ninja -t graph` and `ninja -t deps` print. Edges with several inputs are nodes of
    their own in the graph, and are left out again here; an order is no dependency."""
    names: dict[str, str] = {}
    into: dict[str, set[str]] = {}
    for line in graph.splitlines():
        if (edge := _EDGE.match(line)) and "dotted" not in (edge[3] or ""):
            into.setdefault(edge[2], set()).add(edge[1])
        elif (node := _NODE.match(line)) and "shape=ellipse" not in line:
            names[node[1]] = node[2]
    inputs = {
        name: frozenset(names[its] for its in _named(into, names, key))
        for key, name in names.items()
    }
    return Build(inputs, _read(deps))


def _named(into: Mapping[str, Iterable[str]], names: Mapping[str, str], key: str) -> set[str]:
    """The nodes that are files, next before a node."""
    found: set[str] = set()
    waiting = list(into.get(key, ()))
    seen = set(waiting)
    while waiting:
        its = waiting.pop()
        if its in names:
            found.add(its)
        else:
            new = set(into.get(its, ())) - seen
            seen |= new
            waiting += new
    return found


def _read(deps: str) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    files: set[str] = set()
    for line in deps.splitlines():
        if match := _OBJECT.match(line):
            files = found.setdefault(match[1], set())
        elif line.startswith("    "):
            files.add(line.strip())
    return {name: frozenset(its) for name, its in found.items()}


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
        """The absolute paths that the command and the properties may name."""
        parts = {part for text in (*self.command, *self.texts) for part in _parts(text)}
        joined = (posixpath.join(self.directory, part) for part in parts)
        return frozenset(map(posixpath.normpath, joined))


_SEPARATOR = re.compile(r"[\s=:;,\"']+")


def _parts(text: str) -> Iterator[str]:
    """What may be a path in a text such as `--input=/src/a.txt` or `-I/src`."""
    for part in (text, *_SEPARATOR.split(text)):
        if part:
            yield part
        if "/" in part:
            yield part[part.index("/") :]


# Properties whose values may name files.
_NAMING = ("REQUIRED_FILES", "ENVIRONMENT", "ENVIRONMENT_MODIFICATION")


def listed_tests(text: str) -> tuple[Test, ...]:
    """Return the tests that `ctest --show-only=json-v1` prints; EnvmatrixError where it is not
    that."""
    try:
        rows = [(row, _properties(row)) for row in json.loads(bounded(text))["tests"]]
        setups: dict[str, set[str]] = {}
        for row, properties in rows:
            for fixture in properties.get("FIXTURES_SETUP", ()):
                setups.setdefault(fixture, set()).add(row["name"])
        return tuple(_test(row["name"], row, properties, setups) for row, properties in rows)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise EnvmatrixError(
            f"the list of tests of `ctest` cannot be read: {error}", hint="run without `--since`"
        ) from error


def _test(
    name: str,
    row: Mapping[str, Any],
    properties: Mapping[str, Sequence[str]],
    setups: Mapping[str, Collection[str]],
) -> Test:
    """Make a test of its row; `setups` are the tests that set up each fixture."""
    _check_texts([name])
    (directory,) = properties.get("WORKING_DIRECTORY", [BUILD])
    required = (setups.get(its, ()) for its in properties.get("FIXTURES_REQUIRED", ()))
    return Test(
        name,
        _without_emulator(_check_texts(row.get("command", []))),
        directory,
        texts=[text for its in _NAMING for text in properties.get(its, ())],
        earlier=frozenset(properties.get("DEPENDS", ())).union(*required),
    )


def _properties(row: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return the properties of a test that are texts or lists of them."""
    values = {its["name"]: its["value"] for its in row.get("properties", ())}
    listed = {name: [value] if isinstance(value, str) else value for name, value in values.items()}
    return {name: _check_texts(its) for name, its in listed.items() if isinstance(its, list)}


def _check_texts(values: Sequence[object]) -> Sequence[str]:
    if not isinstance(values, list):
        raise TypeError(f"{type(values).__name__} where a list is expected")
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        raise TypeError("a value that is no text")
    return texts


def _without_emulator(words: Sequence[str]) -> Sequence[str]:
    """A command without what CMake puts before the programs that it crosses."""
    return words[1:] if words[:1] == ["/usr/bin/env"] else words


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What tests depend on: the `files` of the library, by their paths in it, without tests of
    which they are unknown; and the `earlier` tests of every test. `compiled` are the files that
    are a source or a header of what tests are made of."""

    files: Mapping[str, Collection[str]]
    earlier: Mapping[str, Collection[str]]
    compiled: Collection[str]


def dependencies(build: Build, tests: Iterable[Test], tree: str) -> Dependencies:
    """Read out of a build what tests depend on: the files that their programs, and what else of
    the build they name, are made of, and the files that they name. The files of a test whose
    program is none of the build's are unknown."""
    files: dict[str, set[str]] = {}
    earlier: dict[str, set[str]] = {}
    unknown: set[str] = set()
    objects: set[str] = set()
    for test in tests:
        earlier.setdefault(test.name, set()).update(test.earlier)
        if not test.command or not build.reaches(_output(test.command[0])):
            unknown.add(test.name)
            continue
        paths = test.paths()
        reached = {its for path in paths for its in (_output(path), *build.reaches(_output(path)))}
        objects |= reached & build.read.keys()
        files.setdefault(test.name, set()).update(_all_inside(reached | paths, tree))
    return Dependencies(
        {name: its for name, its in files.items() if name not in unknown},
        earlier,
        _all_inside((file for its in objects for file in build.reaches(its)), tree),
    )


def _output(path: str) -> str:
    """The name that ninja has for a path."""
    return path.removeprefix(f"{BUILD}/")


def _all_inside(paths: Iterable[str], tree: str) -> frozenset[str]:
    return frozenset(filter(None, (_inside(path, tree) for path in paths)))


def _inside(file: str, tree: str) -> str | None:
    try:
        return PurePosixPath(file).relative_to(tree).as_posix()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Selection:
    """The tests that a change reaches, each with why; all of them where `tests` is None, because
    of `reason`."""

    tests: Mapping[str, str] | None
    reason: str


def selection(
    known: Dependencies, changed: Sequence[str], ignored: Sequence[str] = ()
) -> Selection:
    """Select the tests that a change of files reaches: those that depend on a file, and those that
    depend on such a test. All of them where a changed file was not compiled, so that any test may
    read it, or where it is unknown what a test depends on. `ignored` are globs of files that no
    test depends on, as the library says."""
    relevant = [file for file in changed if not is_ignored(file, ignored)]
    if not relevant:
        return Selection({}, "nothing that a test depends on changed")
    every = known.earlier
    if unknown := [name for name in every if name not in known.files]:
        return Selection(None, f"it is not known what `{unknown[0]}` depends on")
    chosen: dict[str, str] = {}
    for file in relevant:
        if file not in known.compiled:
            return Selection(None, f"it is not known who depends on `{file}`")
        for name in every:
            if file in known.files[name]:
                chosen.setdefault(name, f"depends on `{file}`")
    _add_later(chosen, known.earlier)
    return Selection(chosen, f"{len(chosen)} of {len(every)} tests depend on what changed")


def _add_later(chosen: dict[str, str], earlier: Mapping[str, Collection[str]]) -> None:
    """Add the tests that depend on chosen ones, over any number of steps."""
    later: dict[str, list[str]] = {}
    for name, others in earlier.items():
        for other in others:
            later.setdefault(other, []).append(name)
    waiting = list(chosen)
    while waiting:
        test = waiting.pop(0)
        for name in later.get(test, ()):
            if name not in chosen:
                chosen[name] = f"depends on the test `{test}`"
                waiting.append(name)


def is_ignored(file: str, globs: Sequence[str]) -> bool:
    return any(PurePosixPath(file).match(glob) for glob in globs)


def of_library(changed: Sequence[str], path: str) -> tuple[str, ...]:
    """The changed files of a library at `path` of a tree, by their paths in it. All else does not
    reach it: it is not mounted."""
    return tuple(file for its in changed if (file := _inside(its, path)))
