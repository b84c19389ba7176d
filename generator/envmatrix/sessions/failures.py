"""Whose failure it is, told from how a program ended and what it said last. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

# Who has to look: those who wrote the library, those who keep the matrix and the machines it
# wants, or those who keep the engine and the network. Only the last is worth a second attempt.
Cause: TypeAlias = Literal["product", "environment", "infrastructure"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A cause, what it is in a few words, and what to do, where that is known."""

    cause: Cause
    message: str = ""
    hint: str = ""


_Rule = tuple[re.Pattern[str], Cause, str, str]


def _rule(pattern: str, cause: Cause, message: str, hint: str = "") -> _Rule:
    return re.compile(pattern), cause, message, hint


# The first that a line matches, from the last line up. `{0}`, `{1}` are its groups.
_RULES: Sequence[_Rule] = (
    _rule(
        r"(?i)exec format error",
        "environment",
        "a program of another architecture was started, and nothing here emulates it",
        "set up emulation: `envmatrix doctor --fix`",
    ),
    _rule(
        r"(?i)(/[^\s:'\"]+)[:'\"]+.*read-only file system",
        "product",
        "it writes to `{0}`: only its build directory and /tmp are its own",
        "write below the build directory",
    ),
    _rule(
        r"(?i)read-only file system",
        "product",
        "it writes outside its build directory and /tmp",
        "write below the build directory",
    ),
    _rule(
        r"(?i)no space left on device",
        "environment",
        "the disk is full, or /tmp is: that is in memory",
        "see `df`; `envmatrix gc --dry-run` says what could be removed",
    ),
    _rule(
        r"fatal error: [\w-]+/python[\d.]+/pyconfig\.h: No such file",
        "environment",
        "it includes `Python.h`, and the image has that of its own architecture only",
        "compile it under emulation: `--emulate`",
    ),
    _rule(
        r"(?i)(could not resolve host|temporary failure in name resolution|network is unreachable)",
        "product",
        "it asks for a network, and containers have none",
        "list what it downloads as its `source` or its `requires`",
    ),
    _rule(
        r"(?i)(?:^|[\s:])(?:sh|bash|env|make|/bin/sh)?[:\s\d]*\s*'?([\w+.-]+)'?: "
        r"(?:command )?not found$",
        "environment",
        "the image has no program `{0}`",
        "add its package to a flavour in envs/",
    ),
)


def judge(lines: Sequence[str]) -> Judgement:
    """What the last lines of a program that failed tell; of the product where nothing else."""
    for line in reversed(lines):
        for pattern, cause, message, hint in _RULES:
            if match := pattern.search(line):
                return Judgement(cause, message.format(*match.groups()), hint)
    return Judgement("product")


# What a compiler, a linker and CMake say of something that is not there.
_LACKING = (
    re.compile(r"fatal error: ([\w./+-]+\.(?:h|hpp|cuh)): No such file"),
    re.compile(r"fatal error: '?([\w./+-]+\.(?:h|hpp|cuh))'? file not found"),
    re.compile(r"cannot find -l:?([\w.+-]+)"),
    re.compile(r"\bCUDA::(\w+)\b.*(?:not found|no target)", re.IGNORECASE),
    re.compile(r"(?:not find|missing:).*\bCUDA_(\w+)_LIBRARY"),
    re.compile(r"Could NOT find (\w+) \(missing"),
    re.compile(r"(lib[\w+-]+\.so[.\d]*): cannot open shared object file"),
)


def lacking(lines: Iterable[str]) -> tuple[str, ...]:
    """Headers and libraries that were looked for and not found, each once, as they were named."""
    found = (match[1] for line in lines for rule in _LACKING if (match := rule.search(line)))
    return tuple(dict.fromkeys(found))
