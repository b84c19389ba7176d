"""Sanitizers of the host compiler: they report while tests run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from envmatrix.records import dataclass
from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.findings import Finding, without_numbers
from envmatrix.sessions.context import Instrumentation, source_path
from envmatrix.sessions.flags import SANITIZERS
from envmatrix.sessions.logs import plain, read_lines


@dataclass(frozen=True)
class Sanitizer(Analyser):
    tool: str
    instrumentation: Instrumentation
    is_default: bool = True

    def examine(self, build: AnalysedBuild) -> Examination:
        outputs = [outcome.output.splitlines() for outcome in build.run_tests()]
        lines = [*outputs, read_lines(build.context.log("test"))]
        return Examination([item for text in lines for item in parse_sanitizer(self.tool, text)])


ASAN = Sanitizer(
    "AddressSanitizer",
    Instrumentation.with_flags(
        "asan",
        f"{SANITIZERS['asan'].flags} -O1 -g",
        **SANITIZERS["asan"].environment,
    ),
)
UBSAN = Sanitizer(
    "UndefinedBehaviorSanitizer",
    Instrumentation.with_flags(
        "ubsan",
        f"{SANITIZERS['ubsan'].flags} -O1 -g",
        **SANITIZERS["ubsan"].environment,
    ),
)
TSAN = Sanitizer(
    "ThreadSanitizer",
    Instrumentation.with_flags("tsan", f"{SANITIZERS['tsan'].flags} -O1 -g"),
    is_default=False,
)

_SUMMARY = re.compile(
    r"SUMMARY: (?P<tool>Address|Thread|Leak|UndefinedBehavior)Sanitizer: "
    r"(?P<rule>[\w -]+?)(?: (?P<file>(?:\.\.)?/\S+?):(?P<line>\d+)(?::\d+)?)?"
    r"(?: in (?P<function>.*))?$"
)
_RUNTIME = re.compile(
    r"(?P<file>(?:\.\.)?/\S+?):(?P<line>\d+):\d+: runtime error: (?P<message>.*)$"
)
_LEAKED = re.compile(r"SUMMARY: AddressSanitizer: \d+ byte\(s\) leaked")


def parse_sanitizer(tool: str, lines: Iterable[str]) -> Iterator[Finding]:
    """Parse the reports that a sanitizer printed while tests ran."""
    for line in map(plain, lines):
        if _LEAKED.search(line):
            yield Finding(tool, "leak", "memory is not freed at the end", level="error")
        elif match := _RUNTIME.search(line):
            file = source_path(match["file"]) or match["file"]
            rule = without_numbers(match["message"].partition(":")[0])[:60]
            yield Finding(tool, rule, match["message"], file, int(match["line"]), "error")
        elif (match := _SUMMARY.search(line)) and match["tool"] != "UndefinedBehavior":
            named = match["file"] or ""
            file = source_path(named) or named
            where = f" in {match['function']}" if match["function"] else ""
            rule = match["rule"].strip()
            yield Finding(tool, rule, f"{rule}{where}", file, int(match["line"] or 0), "error")
