"""clang-tidy: static analysis of C++."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.analysis.analysers.base import STATIC, AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.findings import Finding, Level
from envmatrix.sessions.context import BUILD, BuildContext, source_path
from envmatrix.sessions.logs import plain, read_lines


class ClangTidy(Analyser):
    instrumentation = STATIC

    def examine(self, build: AnalysedBuild) -> Examination:
        build.require_compile_commands("clang-tidy")
        status, log = build.run_program("clang-tidy", _command(build.context), "", errors=0)
        findings = list(parse_clang_tidy(read_lines(log)))
        if status and not any(finding.level == "error" for finding in findings):
            raise EnvmatrixError("clang-tidy failed", hint=f"the log is {log}")
        return Examination(findings)


def _command(context: BuildContext) -> Sequence[str]:
    """Return its command, with checks of our own where the library configures none."""
    has_checks = (context.library_source / ".clang-tidy").is_file()
    checks = [] if has_checks else ["-checks=-*,clang-analyzer-*,bugprone-*"]
    sources = r".*\.(c|cc|cpp|cxx)$"
    header = [f"-header-filter={re.escape(context.tree)}/.*"]
    command = ["run-clang-tidy", "-quiet", "-p", BUILD, f"-j{context.jobs}"]
    return [*command, *checks, *header, sources]


_TIDY = re.compile(
    r"(?P<file>/[^:]+):(?P<line>\d+):\d+: (?P<level>warning|error): (?P<message>.*) "
    r"\[(?P<rule>[\w.,-]+)\]$"
)


def parse_clang_tidy(lines: Iterable[str]) -> Iterator[Finding]:
    """Parse lines such as `/src/a.cpp:12:5: warning: message [check]`, for the library's own
    files."""
    for line in lines:
        if match := _TIDY.match(plain(line)):
            file = source_path(match["file"])
            if file is not None:
                level: Level = "error" if match["level"] == "error" else "warning"
                rule = match["rule"].partition(",")[0]
                yield Finding("clang-tidy", rule, match["message"], file, int(match["line"]), level)
