"""test-db of NVIDIA/TensorRT-LLM: lists of tests with conditions of the machines that run them.

A block of a context has a `condition` of `terms`, `ranges` and `wildcards`, and `tests`, each the
arguments of pytest with markers after them. A block is a library with tests of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TypeAlias

from envmatrix.adoption.files import name_of
from envmatrix.adoption.imports.jobs import (
    Remainder,
    Source,
    alternatives_of,
    bounded,
    brief,
    rows_of,
    text_of,
)
from envmatrix.documents import Node
from envmatrix.errors import Position
from envmatrix.facts.gpus import GpuModel, model_of
from envmatrix.matrix.files import MATRIX
from envmatrix.matrix.library import Library
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.scalars import NAME
from envmatrix.records import dataclass

# Where tests are, by how their names begin.
_UNIT_TESTS, _TESTS = "unittest/", "tests/"
_DEFINITIONS = "tests/integration/defs/"
# Stages of that project, by the first tier that has them.
_TIERS = {"pre_merge": "pr", "post_merge": "nightly"}
_STAGES = {tier: stage for stage, tier in _TIERS.items()}
_MARKERS = re.compile(r"^(?P<test>.*?)(?P<markers>(?:,? (?:[A-Z]{4,})(?: ?\([^()]*\))?)*)$")
_MARKER = re.compile(r"(?P<name>[A-Z]{4,})(?: ?\((?P<value>[^()]*)\))?")
_SYSTEM = re.compile(r"[a-z]+\*?")
_CELLS = re.compile(r"\*(?:-(?P<system>[a-z]+\*?))?(?:-(?P<cpu>x86_64|aarch64))?")
_CPU = re.compile("x86_64|aarch64")
_AT_LEAST = ">="
_LONGEST_NAME = 60

Table: TypeAlias = dict[str, object]


@dataclass(frozen=True)
class Listing:
    """The libraries of lists of tests, and what they lack. `count` is the number of tests in
    lists, `converted` of those in libraries."""

    libraries: Mapping[str, Table]
    remainders: Sequence[Remainder]
    count: int
    converted: int


@dataclass(frozen=True)
class _Block:
    """What a condition says: `machine` is None where no GPU is needed."""

    backend: str = ""
    tier: str = "pr"
    machine: Table | None = None
    cells: str = ""
    remainders: list[Remainder] = field(default_factory=list)
    is_possible: bool = True


def suits(source: Source) -> bool:
    return any(
        "condition" in row.children_by_key and "tests" in row.children_by_key
        for block in source.root.children_by_key.values()
        for row in rows_of(block)
    )


def libraries_of(
    sources: Sequence[Source], needed: str | None, models: Mapping[str, GpuModel]
) -> Listing:
    """Convert lists of tests; the libraries need the one that is `needed`."""
    libraries: dict[str, Table] = {}
    remainders: list[Remainder] = []
    count = converted = 0
    for source in sources:
        for context, node in source.root.children_by_key.items():
            if context == "version":
                continue
            if not rows_of(node):
                remainders.append(_left(context, "is no list of blocks", node.position))
            for row in rows_of(node):
                lines = rows_of(row.child("tests"))
                count += len(lines)
                bounded(count, row.position)
                block = _block(row, models)
                remainders += block.remainders
                if not block.is_possible:
                    reason = "its machine is none that is known"
                    remainders.append(
                        Remainder(context, (), reason, row.position, None, len(lines))
                    )
                    continue
                for options, tests in _grouped(lines, remainders).items():
                    name = _free_name(context, block.backend, libraries)
                    libraries[name] = _library(block, options, tests, needed)
                    converted += len(tests)
    return Listing(libraries, remainders, count, converted)


def lists_of(libraries: Iterable[Library]) -> tuple[Mapping[str, object], Sequence[Remainder]]:
    """Return the tests of libraries as contexts of test-db, and what cannot be in them."""
    contexts: dict[str, list[Table]] = {}
    remainders: list[Remainder] = []
    for library in libraries:
        position = library.position or Position(MATRIX, 1, 1)
        if library.test is None or library.test.framework != "pytest" or not library.test.run:
            remainders.append(_left(library.name, "has no list of tests of pytest", position))
            continue
        context, _, backend = re.sub(r"\.\d+$", "", library.name).partition(".")
        options = [*_options_of(library.test.options)]
        tests = [" ".join((_test_of(path), *options)) for path in library.test.run]
        for requirement in library.test.runs_on or (None,):
            cells = (requirement.cells if requirement else ()) or library.cells
            remainders += _unlisted(library.name, requirement, cells, position)
            condition = _condition(requirement, cells, backend)
            contexts.setdefault(context, []).append({"condition": condition, "tests": tests})
    return contexts, remainders


def _left(key: str, reason: str, position: Position, *values: str) -> Remainder:
    return Remainder(key, values, reason, position)


def _block(row: Node, models: Mapping[str, GpuModel]) -> _Block:
    """Return what matrix.yaml can say of a condition."""
    condition = row.child("condition")
    tables = condition.children_by_key if condition else {}
    remainders = [
        _left(f"condition.{name}", "is neither terms, ranges nor wildcards", node.position)
        for name, node in tables.items()
        if name not in ("terms", "ranges", "wildcards")
    ]
    values: dict[str, Mapping[str, Node]] = {
        name: node.children_by_key for name, node in tables.items()
    }
    terms, wildcards = values.get("terms", {}), values.get("wildcards", {})
    machine, ranges = _ranges(values.get("ranges", {}), remainders)
    names, is_possible = _models(wildcards.get("gpu"), models, remainders)
    if names:
        machine["gpu"] = names[0] if len(names) == 1 else names
    tier = _TIERS.get(text_of(terms.get("stage")), "")
    if "stage" in terms and not tier:
        remainders.append(_unknown("stage", terms["stage"], "is no stage: the tier is `weekly`"))
        tier = "weekly"
    cells = _cells(wildcards, remainders)
    others = {
        **{key: node for key, node in terms.items() if key not in ("stage", "backend")},
        **{key: node for key, node in wildcards.items() if key not in _READ_WILDCARDS},
        **ranges,
    }
    for key, node in others.items():
        remainders.append(_unknown(key, node, "no machine of matrix.yaml has such a property"))
    needs_gpu = bool(names) or bool(machine)
    if not needs_gpu and tier not in ("", "pr"):
        reason = "only tests with a machine have a tier: say it in `runs`"
        remainders.append(_left("stage", reason, row.position, text_of(terms.get("stage"))))
    backend = text_of(terms.get("backend"))
    return _Block(
        backend, tier or "pr", machine if needs_gpu else None, cells, remainders, is_possible
    )


_READ_WILDCARDS = ("gpu", "linux_distribution_name", "cpu")


def _ranges(
    ranges: Mapping[str, Node], remainders: list[Remainder]
) -> tuple[Table, Mapping[str, Node]]:
    """Return the machine that ranges mean, and the ranges that mean none."""
    machine: Table = {}
    others = dict(ranges)
    if count := others.pop("system_gpu_count", None):
        least, most = (text_of(count.child(key)) for key in ("gte", "lte"))
        if least.isdecimal() and int(least) > 0:
            machine["gpus"] = str(int(least))
            if most and most != least:
                reason = "the number of GPUs is the least one"
                remainders.append(_left("system_gpu_count", reason, count.position, f"lte {most}"))
        elif most != "0":
            remainders.append(_unknown("system_gpu_count", count, "is no number of GPUs"))
    capability = others.get("compute_capability")
    least = text_of(capability.child("gte")) if capability else ""
    if (
        capability
        and re.fullmatch(r"[1-9]\d?\.\d", least, re.ASCII)
        and len(capability.children) == 1
    ):
        machine["sm"] = f">={least.replace('.', '')}"
        del others["compute_capability"]
    return machine, others


def _models(
    node: Node | None, models: Mapping[str, GpuModel], remainders: list[Remainder]
) -> tuple[list[str], bool]:
    """Return the models of GPUs that patterns mean, and whether there are any if there have to
    be."""
    names: list[str] = []
    patterns = alternatives_of(node)
    for pattern in patterns:
        model = model_of(text_of(pattern).strip("*"), models)
        if model is None:
            remainders.append(_unknown("gpu", pattern, "is no model of GPU that is known"))
        elif model.name not in names:
            names.append(model.name)
    return names, bool(names) or not patterns


def _cells(wildcards: Mapping[str, Node], remainders: list[Remainder]) -> str:
    """Return a glob of the cells that wildcards mean; "" of all."""
    parts = []
    for key, form in (("linux_distribution_name", _SYSTEM), ("cpu", _CPU)):
        node = wildcards.get(key)
        if node is None or text_of(node) == "*":
            continue
        if form.fullmatch(text_of(node)):
            parts.append(f"-{text_of(node)}")
        else:
            remainders.append(_unknown(key, node, "is no part of the ids of cells"))
    return f"*{''.join(parts)}" if parts else ""


def _grouped(
    lines: Sequence[Node], remainders: list[Remainder]
) -> Mapping[tuple[str, ...], list[str]]:
    """Return the paths of tests by the options that pytest needs for them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        match = _MARKERS.match(text_of(line))
        words: Sequence[str] = ()
        try:
            words = _arguments(match["test"]) if match else ()
        except ValueError:
            words = ()
        if match is None or not words or words[0].startswith("-"):
            reason = "is no test and its options"
            remainders.append(Remainder(brief(text_of(line)), (), reason, line.position, None, 1))
            continue
        for marker in _MARKER.finditer(match["markers"]):
            reason = _MARKER_REASONS.get(marker["name"], "is no marker that is known")
            remainders.append(_left(brief(match["test"]), reason, line.position, marker[0]))
        groups.setdefault((*words[1:],), []).append(_path_of(words[0]))
    return groups


_MARKER_REASONS = {
    "TIMEOUT": "a library has one time for all of its tests: `test.timeout`",
    "ISOLATION": "tests of a library share a process",
    **dict.fromkeys(("SKIP", "XFAIL", "UNSTABLE"), "is a waiver: write it into waivers.yaml"),
}


def _arguments(test: str) -> Sequence[str]:
    """Return the words of a test: a name may have quotes and blanks in its brackets."""
    name = re.match(r"[^\s\[\"']+(\[.*\](?=\s|$))?", test.strip())
    if name is None:
        return ()
    return [name[0], *shlex.split(test.strip()[name.end() :])]


def _library(
    block: _Block, options: Sequence[str], tests: Sequence[str], needed: str | None
) -> Table:
    test: Table = {"framework": "pytest", "run": [*dict.fromkeys(tests)]}
    if options:
        test["options"] = [*options]
    if block.machine is not None:
        machine = {key: value for key, value in block.machine.items() if (key, value) != _ONE_GPU}
        machine |= {"cells": block.cells} if block.cells else {}
        machine |= {"tier": block.tier} if block.tier != "pr" else {}
        test["runs_on"] = machine or {"gpus": "1"}
    library: Table = {"path": ".", "build": {"system": "script", "commands": ["true"]}}
    library |= {"needs": [needed]} if needed else {}
    library |= {"cells": block.cells} if block.cells and block.machine is None else {}
    return {**library, "test": test}


_ONE_GPU = ("gpus", "1")


def _free_name(context: str, backend: str, others: Mapping[str, object]) -> str:
    """Return a name that tells the context and the backend of a block."""
    words = [context, backend] if backend else [context]
    parts = (
        word if re.fullmatch(NAME, word) and "." not in word else name_of(word) for word in words
    )
    name = base = ".".join(filter(None, parts))[:_LONGEST_NAME].rstrip("._-") or "tests"
    number = 1
    while name in others:
        number += 1
        name = f"{base}.{number}"
    return name


def _path_of(test: str) -> str:
    return f"{_TESTS if test.startswith(_UNIT_TESTS) else _DEFINITIONS}{test}"


def _test_of(path: str) -> str:
    if path.startswith(f"{_TESTS}{_UNIT_TESTS}"):
        return path.removeprefix(_TESTS)
    return path.removeprefix(_DEFINITIONS)


def _options_of(words: Sequence[str]) -> Iterator[str]:
    """Yield options as lists have them: expressions and words with blanks in double quotes."""
    for before, word in zip(("", *words), words, strict=False):
        is_plain = re.fullmatch(r"[\w@%+=:,./\[\]-]+", word, re.ASCII)
        if is_plain and before not in ("-m", "-k"):
            yield word
        else:
            yield shlex.quote(word) if re.search(r'["\\$`]', word) else f'"{word}"'


def _condition(requirement: Requirement | None, cells: Sequence[str], backend: str) -> Table:
    """Return the condition of tests for a machine, or for any, in some cells."""
    stage = _STAGES.get(requirement.tier if requirement else "pr", "post_merge")
    terms = {"stage": stage, **({"backend": backend} if backend else {})}
    ranges: Table = {}
    wildcards: Table = {}
    if requirement:
        ranges["system_gpu_count"] = {"gte": requirement.gpus, "lte": requirement.gpus}
        wildcards |= {"gpu": [f"*{name}*" for name in requirement.gpu]} if requirement.gpu else {}
        if requirement.sm and requirement.sm.startswith(_AT_LEAST):
            major, minor = requirement.sm[len(_AT_LEAST) : -1], requirement.sm[-1]
            ranges["compute_capability"] = {"gte": f"{major}.{minor}"}
    match = _CELLS.fullmatch(cells[0]) if len(cells) == 1 else None
    for key, group in (("linux_distribution_name", "system"), ("cpu", "cpu")):
        if match and match[group]:
            wildcards[key] = match[group]
    tables: Table = {"ranges": ranges, "wildcards": wildcards, "terms": terms}
    return {key: table for key, table in tables.items() if table}


def _unlisted(
    name: str, requirement: Requirement | None, cells: Sequence[str], position: Position
) -> Iterator[Remainder]:
    """Yield what a condition cannot say of a machine and cells."""
    reason = "no condition of test-db says it"
    if cells and not (len(cells) == 1 and _CELLS.fullmatch(cells[0])):
        yield _left(name, reason, position, *cells)
    if requirement is None:
        return
    has_least = requirement.sm is None or requirement.sm.startswith(_AT_LEAST)
    texts = {
        "sm": "" if has_least else requirement.sm,
        "memory": requirement.memory,
        "driver": requirement.driver,
        "compat": requirement.compat,
    }
    for key, text in texts.items():
        if text:
            yield _left(name, reason, position, f"{key} {text}")
    if requirement.tier not in _STAGES:
        yield _left(name, f"{reason}: the stage is `post_merge`", position, requirement.tier)


def _unknown(key: str, node: Node, reason: str) -> Remainder:
    texts = [text_of(each) or ", ".join(map(str, each.children)) for each in alternatives_of(node)]
    return _left(key, reason, node.position, *(brief(text) for text in texts if text))
