"""waives.txt of NVIDIA/TensorRT-LLM: lists of tests that are known to fail. Pure.

A line has the name of a test, its marker and the reason, such as
`full:GH200/a.py::test[x] SKIP (https://bugs.example/1)`. The reader of such lists is
tests/integration/defs/test_list_parser.py of that project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import date
from typing import TypeAlias

from envmatrix.errors import Position
from envmatrix.facts.gpus import GpuModel, model_of
from envmatrix.records import dataclass
from envmatrix.results.waivers import Waiver
from envmatrix.text import one_line

# The bug of a waiver without one.
NO_BUG = "none"
# What lists of tests say of a test. Only the first of these is a waiver.
_SKIP = "SKIP"
_MARKER = re.compile(r" (?P<marker>SKIP|XFAIL|UNSTABLE|TIMEOUT|ISOLATION)\b(?P<rest>.*)$")
_REASON = re.compile(r" \((?P<reason>[^()]*)\)")
_PREFIX = re.compile(r"full:(?P<gpu>[A-Za-z0-9_.-]+)/(?P<test>.+)")
# How a waiver has the GPU of a line: a word of the name of a machine.
_MACHINE = re.compile(r"(?P<gpu>[A-Za-z0-9_.-]+)")
_GLOB = re.compile(r"\[([*?[])\]")


@dataclass(frozen=True, slots=True)
class Terms:
    """What waivers have that no line of waives.txt has; and the models of GPUs, after which
    machines are called."""

    owner: str
    expires: date
    library: str = "*"
    models: Mapping[str, GpuModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """What a line has that no waiver can have. `is_whole`: there is no waiver for the line."""

    text: str
    reason: str
    position: Position
    is_whole: bool = True


Item: TypeAlias = Waiver | Lost


def is_list(text: str) -> bool:
    """Return whether a text is such a list: most of its lines have a marker."""
    lines = [*filter(str.strip, (line.partition("#")[0] for line in _lines(text)))]
    return sum(bool(_MARKER.search(line.rstrip())) for line in lines) > len(lines) / 2


def waivers_of(text: str, file: str, terms: Terms) -> Iterator[Item]:
    """Yield the waivers of a list, and what is lost of it."""
    numbers: dict[str, int] = {}
    for number, line in enumerate(_lines(text), 1):
        position = Position(file, number, 1)
        if not line.strip():
            continue
        if line in numbers:
            yield Lost(line, f"line {numbers[line]} is the same", position)
            continue
        numbers[line] = number
        yield from _items(line, position, terms)


def _items(line: str, position: Position, terms: Terms) -> Iterator[Item]:
    content, hash_sign, comment = line.partition("#")
    if not line.isprintable():
        yield Lost(line, "has characters that cannot be printed", position)
        return
    if not content.strip():
        yield Lost(line, "a comment has no place in waivers.yaml", position)
        return
    match = _MARKER.search(content.rstrip())
    if match is None:
        yield Lost(line, "the test has no marker, so nothing is waived", position)
        return
    if match["marker"] != _SKIP:
        yield Lost(line, f"a waiver cannot say `{match['marker']}`", position)
        return
    reason = _REASON.fullmatch(match["rest"].rstrip())
    if match["rest"].strip() and reason is None:
        yield Lost(line, "the reason is not one text in parentheses", position)
        return
    waiver = _waiver(content[: match.start()], reason["reason"] if reason else "", terms, position)
    if not waiver.test:
        yield Lost(line, "names no test", position)
        return
    if hash_sign and comment.strip():
        waiver = replace(waiver, note=comment.strip())
    yield waiver
    if reason_of_machine := _misnamed(waiver.machine or "*", terms):
        yield Lost(line, reason_of_machine, position, is_whole=False)
    if waiver.bug == NO_BUG:
        yield Lost(line, f"has no bug: it is `{NO_BUG}`", position, is_whole=False)
    if line_of(waiver) != line:
        yield Lost(line, f"is written as `{one_line(line_of(waiver))}`", position, is_whole=False)


def _misnamed(machine: str, terms: Terms) -> str | None:
    """Return why no machine is called as a line calls its GPU, None where some may be."""
    if machine == "*" or not terms.models:
        return None
    model = model_of(machine, terms.models)
    if model is None:
        return f"`{machine}` is no model of GPU: write its name after `machine`"
    if model.name != machine.lower():
        return f"machines with a `{machine}` are called `{model.name}`: write that after `machine`"
    return None


def _waiver(test: str, reason: str, terms: Terms, position: Position) -> Waiver:
    prefix = _PREFIX.fullmatch(test.strip())
    name = prefix["test"] if prefix else test.strip()
    return Waiver(
        test=_literal(name),
        library=terms.library,
        machine=prefix["gpu"] if prefix else "*",
        owner=terms.owner,
        bug=reason.strip() or NO_BUG,
        expires=terms.expires,
        position=position,
    )


def list_text(waivers: Iterable[Waiver]) -> tuple[str, Sequence[Lost]]:
    """Return waivers as a list, sorted, and those that it cannot have."""
    lines, lost = set[str](), list[Lost]()
    for waiver in waivers:
        if reason := _unwritable(waiver):
            lost.append(Lost(waiver.test, reason, waiver.position))
        else:
            lines.add(f"{line_of(waiver)}\n")
    return "".join(sorted(lines)), lost


def line_of(waiver: Waiver) -> str:
    """Return the line of a waiver."""
    name = _GLOB.sub(r"\1", waiver.test)
    machine = _MACHINE.fullmatch(waiver.machine or "")
    prefix = f"full:{machine['gpu']}/" if machine else ""
    reason = f" ({waiver.bug})" if waiver.bug != NO_BUG else ""
    note = f" # {waiver.note}" if waiver.note else ""
    return f"{prefix}{name} {_SKIP}{reason}{note}"


def _unwritable(waiver: Waiver) -> str | None:
    """Return why no line can say the same as a waiver."""
    if re.search(r"[*?[]", _GLOB.sub("", waiver.test)):
        return "a list has names of tests, not globs"
    if waiver.cell != "*":
        return "a list has no cells"
    if waiver.machine not in (None, "*") and not _MACHINE.fullmatch(waiver.machine):
        return "a list has a GPU, not a glob of machines"
    line = line_of(waiver)
    terms = Terms(waiver.owner, waiver.expires)
    again = next(iter(_items(line, waiver.position, terms)))
    is_read = isinstance(again, Waiver) and _texts(again) == _texts(waiver)
    return None if is_read else "a list cannot have its texts"


def _texts(waiver: Waiver) -> tuple[str | None, ...]:
    return (waiver.test, waiver.machine or "*", waiver.bug, waiver.note)


def _lines(text: str) -> list[str]:
    """Return lines as files have them: other characters that break lines are part of names."""
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _literal(name: str) -> str:
    """Return a glob of one name."""
    return re.sub(r"[*?[]", r"[\g<0>]", name)
