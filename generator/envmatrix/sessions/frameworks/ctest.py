"""CTest. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from envmatrix.sessions.context import BUILD
from envmatrix.sessions.frameworks.base import REPORTS, Batch, Framework, Invocation, split
from envmatrix.sessions.outcomes import State
from envmatrix.sessions.test_dependencies import listed_tests

# Limit of the names in an expression, in bytes. CMake has 64 KB for what it compiles one to, which
# is up to four times as long.
_EXPRESSION = 16 << 10
# The list at the end, `2 - name (SEGFAULT)`; its JUnit file has nothing of it.
_CTEST_ENDING = re.compile(r"^\s*\d+ - (.+) \(([^()]+)\)(?: +[\w ]+)?$")

# `2/5 Test #2: name .....***Failed  0.02 sec`; before the asterisks may be more of the ending.
_BAD_TEST = re.compile(r"^ *\d+/\d+ Test +#\d+: (.+?) \.{3,}([^*.]*)\*\*\*([^*]+?) +[\d.]+ sec")
# Endings of tests that did not run because they were not meant to.
_GOOD_ENDINGS = ("Skipped", "Not Run (Disabled)")


class Ctest(Framework):
    narrowing = (
        "-(?:[RELIUN]|LE)$|--(?:tests-|exclude-|label-|union|rerun-failed|stop-|show-only|preset)"
    )
    tracing_command = ("ctest", "--test-dir", BUILD)
    parse_tests = staticmethod(listed_tests)

    def listing(self, invocation: Invocation) -> Sequence[Batch]:
        return (Batch([*self.tracing_command, "--show-only=json-v1"], None),)

    def names(self, batch: Batch, text: str) -> Iterable[str]:
        return (test["name"] for test in json.loads(text)["tests"])

    def running(self, invocation: Invocation) -> Sequence[Batch]:
        report = f"{REPORTS}/ctest.xml"
        argv = [*self.tracing_command, "--output-on-failure", "--output-junit", f"{BUILD}/{report}"]
        batches = []
        for batch in split(Batch(argv, report), invocation.selected, _EXPRESSION, _escape):
            names = "|".join(map(_escape, batch.tests))
            filters = ["-R", f"^({names})$"] if batch.tests else []
            batches.append(batch.with_arguments(*filters, *invocation.arguments))
        return batches

    def bad_test(self, line: str) -> tuple[State, str] | None:
        match = _BAD_TEST.match(line)
        if match is None or match[3] in _GOOD_ENDINGS:
            return None
        is_verdict = match[3] == "Failed" or match[2] == "Subprocess aborted"  # of an assertion
        return "failed" if is_verdict else "errored", match[1]

    def endings(self, lines: Iterable[str]) -> Mapping[str, str]:
        rows = (match for line in lines if (match := _CTEST_ENDING.match(line)))
        return {match[1]: match[2] for match in rows if match[2] not in ("Failed", "Disabled")}


def _escape(name: str) -> str:
    """Escape a name for a regular expression of CMake, which has few special characters."""
    return re.sub(r"([][\\.*+?^$()|])", r"\\\1", name)
