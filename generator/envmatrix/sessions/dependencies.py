"""Which files each test depends on, by the last build, and which tests a change reaches. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from envmatrix.sessions.steps import BUILD

_NODE = re.compile(r'^"(0x\w+)" \[label="(.*?)"')
_EDGE = re.compile(r'^"(0x\w+)" -> "(0x\w+)"(?: \[label="[^"]*"\]| \[(arrowhead[^\]]*)\])?')
_OBJECT = re.compile(r"^(\S.*): #deps \d+")
_TEST = re.compile(
    r'^add_test\((?:\[=*\[(?P<long>.*?)\]=*\]|"?(?P<short>[^"\s]+)"?)\s+(?P<command>".*)\)$'
)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


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


def commands_of(files: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Test -> the words of its command, by the texts of CTest's own files."""
    return {
        match["long"] or match["short"]: _without_emulator(_WORD.findall(match["command"]))
        for text in files
        for line in text.splitlines()
        if (match := _TEST.match(line))
    }


def _without_emulator(words: Sequence[str]) -> tuple[str, ...]:
    """A command without what CMake puts before the programs that it crosses."""
    return tuple(words[1:] if words[:1] == ["/usr/bin/env"] else words)


def dependencies(
    build: Build, tests: Mapping[str, Sequence[str]], tree: str
) -> Mapping[str, tuple[str, ...]]:
    """Test -> the files of the library that its program, and what else of the build its command
    names, are made of, by their paths in it. A test whose program is none of the build's is left
    out: nothing is known of it."""
    found = {}
    for name, words in tests.items():
        made = [word.removeprefix(f"{BUILD}/") for word in words if word.startswith(f"{BUILD}/")]
        if not words or not build.reaches(words[0].removeprefix(f"{BUILD}/")):
            continue
        reached = {its for output in made for its in build.reaches(output)}
        given = {word for word in words if _inside(word, tree)}
        inside = filter(None, (_inside(its, tree) for its in reached | given))
        found[name] = tuple(sorted(set(inside)))
    return found


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
    known: Mapping[str, Sequence[str]],
    every: Sequence[str],
    changed: Sequence[str],
    ignored: Sequence[str] = (),
) -> Selection:
    """What of `every` test a change of files reaches, by what is `known` of tests. Where a changed
    file is of no test that is known, or a test is not known, there is no telling: all of them.
    `ignored` are globs of files that no test depends on, as the library says."""
    relevant = [file for file in changed if not is_ignored(file, ignored)]
    if not relevant:
        return Selection({}, "nothing that a test depends on changed")
    if unknown := [name for name in every if name not in known]:
        return Selection(None, f"it is not known what `{unknown[0]}` depends on")
    users: dict[str, list[str]] = {}
    for name in every:
        for file in known[name]:
            users.setdefault(file, []).append(name)
    chosen: dict[str, str] = {}
    for file in relevant:
        if file not in users:
            return Selection(None, f"it is not known who depends on `{file}`")
        for name in users[file]:
            chosen.setdefault(name, f"depends on `{file}`")
    return Selection(chosen, f"{len(chosen)} of {len(every)} tests depend on what changed")


def is_ignored(file: str, globs: Sequence[str]) -> bool:
    return any(PurePosixPath(file).match(glob) for glob in globs)


def of_library(changed: Sequence[str], path: str) -> tuple[str, ...]:
    """The changed files of a library at `path` of a tree, by their paths in it. All else does not
    reach it: it is not mounted."""
    return tuple(file for its in changed if (file := _inside(its, path)))
