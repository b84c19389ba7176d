"""GoogleTest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from envmatrix.sessions.context import BUILD
from envmatrix.sessions.frameworks.base import Batch, Framework, Invocation, program_batches
from envmatrix.sessions.junit import Case


class GoogleTest(Framework):
    tells_why = True
    narrowing = "--?gtest_(?:filter|fail_fast|flagfile|list_tests)"

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        return [
            replace(batch, argv=[*batch.argv, "--gtest_list_tests"], report=None)
            for batch, _ in program_batches(invocation.run, None)
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
        for batch, names in program_batches(invocation.run, invocation.selected):
            report = f"--gtest_output=xml:{BUILD}/{batch.report}"
            filters = [] if names is None else [f"--gtest_filter={':'.join(names)}"]
            batches.append(
                replace(batch, argv=[*batch.argv, report, *filters, *invocation.arguments])
            )
        return batches

    def name_of(self, batch: Batch, case: Case, file: str) -> str:
        return batch.qualified_name(f"{case.classname}.{case.name}")
