"""Catch2. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from envmatrix.sessions.context import BUILD
from envmatrix.sessions.frameworks.base import Batch, Framework, Invocation, program_batches
from envmatrix.sessions.junit import Case

# Version 2 ends with the number of tests, version 3 has another option for it. What can do neither,
# such as a program that cannot be loaded, ends with its own status, and says why.
_CATCH2_LIST = """
names=$("$1" --list-test-names-only 2>/dev/null) || [ -n "$names" ] \\
    || names=$("$1" --list-tests --verbosity quiet) || exit
printf '%s\\n' "$names"
"""


class Catch2(Framework):
    tells_why = True
    narrowing = "[^-]|-[aex]$|--abort"

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        return [
            replace(batch, argv=["sh", "-c", _CATCH2_LIST, "sh", *batch.argv], report=None)
            for batch in program_batches(invocation.run)
        ]

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        lines = (line.strip() for line in text.splitlines())
        return (batch.qualified_name(line) for line in lines if line)

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        batches = []
        for batch in program_batches(invocation.run, invocation.selected):
            report = ["--reporter", "junit", "--out", f"{BUILD}/{batch.report}"]
            names = ",".join(_in_catch2(batch.bare_name(name)) for name in batch.tests)
            filters = [names] if batch.tests else []
            batches.append(batch.with_arguments(*report, *filters, *invocation.arguments))
        return batches

    def name_of(self, batch: Batch, case: Case, file: str) -> str:
        """Return the name of a test, without those of its sections."""
        name = case.classname if case.name == "root" else case.name.partition("/")[0]
        return batch.qualified_name(name)

    def missing(self, expected: Sequence[str], reported: Collection[str]) -> Sequence[str]:
        """Return nothing where any test was reported: a report leaves out tests without
        assertions, and cuts names."""
        return () if reported else expected


def _in_catch2(name: str) -> str:
    return re.sub(r"([\\,\[\]\"*])", r"\\\1", name)
