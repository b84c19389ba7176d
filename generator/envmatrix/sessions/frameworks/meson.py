"""Tests of Meson. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from envmatrix.sessions.context import BUILD
from envmatrix.sessions.frameworks.base import Batch, Framework, Invocation, split
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import State

# `2/5 suite / name  FAIL  0.01s  killed by signal 11 SIGSEGV`; its JUnit file has nothing of it.
_MESON_ENDING = re.compile(
    r"^\s*\d+/\d+ (?:.* / )?(\S.*?) +(?:ERROR|FAIL|TIMEOUT) +[\d.]+s +"
    r"(killed by signal .*|exit status 12[67])"
)

_BAD_TEST = re.compile(r"^\s*\d+/\d+ (?:.* / )?(\S.*?) +(ERROR|FAIL|TIMEOUT) +[\d.]+s")


class MesonTest(Framework):
    narrowing = "--(?:suite|no-suite|maxfail|slice|setup|list)"

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        return (Batch(["meson", "introspect", "--tests", BUILD], None),)

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        return (test["name"] for test in json.loads(text))

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        argv = ["meson", "test", "-C", BUILD, "--no-rebuild", "--print-errorlogs"]
        batch = Batch([*argv, *invocation.arguments], "meson-logs/testlog.junit.xml")
        return [part.with_arguments(*part.tests) for part in split(batch, invocation.selected)]

    def endings(self, lines: Iterable[str]) -> Mapping[str, str]:
        rows = (match for line in lines if (match := _MESON_ENDING.match(line)))
        return {match[1]: match[2].strip() for match in rows}

    def bad_test(self, line: str) -> tuple[State, str] | None:
        match = _BAD_TEST.match(line)
        return ("failed" if match[2] == "FAIL" else "errored", match[1]) if match else None

    def status_of(self, case: Case, ending: str) -> int | None:
        status = ending.removeprefix("exit status ")
        return int(status) if status.isdigit() else None

    def missing(self, expected: Sequence[str], reported: Collection[str]) -> Sequence[str]:
        """Return nothing where reports have subtests, which have names of their own."""
        return super().missing(expected, reported) if set(reported) <= set(expected) else ()
