"""GoogleTest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from envmatrix.sessions.context import BUILD
from envmatrix.sessions.frameworks.base import Batch, Framework, Invocation, program_batches
from envmatrix.sessions.junit import Case
from envmatrix.sessions.outcomes import State

# With its time: the list of failures at the end has none.
_BAD_TEST = re.compile(r"^\[  FAILED  \] (\S+?)(?:, where .*)? \(\d+ ms\)$")


class GoogleTest(Framework):
    tells_why = True
    narrowing = "--?gtest_(?:filter|fail_fast|flagfile|list_tests)"

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        return [
            replace(batch.with_arguments("--gtest_list_tests"), report=None)
            for batch in program_batches(invocation.run)
        ]

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        suite = ""
        for line in text.splitlines():
            word = line.partition("#")[0].rstrip()
            if word.endswith(".") and not line.startswith(" "):
                suite = word
            elif suite and line.startswith("  ") and word:
                yield batch.qualified_name(f"{suite}{word.strip()}")

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        batches = []
        for batch in program_batches(invocation.run, invocation.selected):
            report = f"--gtest_output=xml:{BUILD}/{batch.report}"
            names = ":".join(map(batch.bare_name, batch.tests))
            filters = [f"--gtest_filter={names}"] if batch.tests else []
            batches.append(batch.with_arguments(report, *filters, *invocation.arguments))
        return batches

    def bad_test(self, line: str) -> tuple[State, str] | None:
        match = _BAD_TEST.match(line)
        return ("failed", match[1]) if match else None

    def name_of(self, batch: Batch, case: Case, file: str) -> str:
        return batch.qualified_name(f"{case.classname}.{case.name}")
