"""Sanitizers of the host compiler: they report while tests run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from envmatrix.sessions.analysis.analysers.base import (
    AnalysedBuild,
    Analyser,
    Examination,
    compiler_flags,
    source_path,
)
from envmatrix.sessions.analysis.findings import Finding, without_numbers
from envmatrix.sessions.context import Variant
from envmatrix.sessions.logs import lines_of, plain


@dataclass(frozen=True)
class Sanitizer(Analyser):
    tool: str
    variant: Variant
    is_default: bool = True

    def examine(self, build: AnalysedBuild) -> Examination:
        outputs = [outcome.output.splitlines() for outcome in build.run_tests()]
        lines = [*outputs, lines_of(build.context.log("test"))]
        return Examination([item for text in lines for item in parse_sanitizer(self.tool, text)])


def _variant(name: str, flags: str, **options: str) -> Variant:
    return Variant(name, {**compiler_flags(f"{flags} -O1 -g"), **options})


ASAN = Sanitizer(
    "AddressSanitizer",
    _variant(
        "asan",
        "-fsanitize=address -fno-omit-frame-pointer",
        # CUDA maps memory where AddressSanitizer would not have it.
        ASAN_OPTIONS="protect_shadow_gap=0:detect_leaks=1",
    ),
)
UBSAN = Sanitizer(
    "UndefinedBehaviorSanitizer",
    _variant(
        "ubsan",
        "-fsanitize=undefined -fno-sanitize-recover=undefined",
        UBSAN_OPTIONS="print_stacktrace=1",
    ),
)
TSAN = Sanitizer("ThreadSanitizer", _variant("tsan", "-fsanitize=thread"), is_default=False)

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
