"""Cppcheck: static analysis of C and C++."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence

from envmatrix.sessions.analysis.analysers.base import STATIC, AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.findings import Finding, Level
from envmatrix.sessions.context import BUILD, BuildContext, source_path
from envmatrix.sessions.outcomes import parse_errors


class Cppcheck(Analyser):
    instrumentation = STATIC

    def examine(self, build: AnalysedBuild) -> Examination:
        build.require_compile_commands("cppcheck")
        build.run_program("cppcheck", _command(build.context), "Cppcheck failed")
        with build.context.build.opened() as directory:
            report = directory.text("cppcheck.xml")
        return Examination(tuple(parse_cppcheck(report)))


def _command(context: BuildContext) -> Sequence[str]:
    database = f"--project={BUILD}/compile_commands.json"
    enabled = ["--enable=warning,performance,portability", "--inline-suppr", "--quiet"]
    out = ["--xml", f"--output-file={BUILD}/cppcheck.xml"]
    # It parses no CUDA.
    only = [f"--file-filter={context.tree}/*.c*", "--suppress=*:*.cu", "--suppress=*:*.cuh"]
    return ["cppcheck", database, f"-j{context.jobs}", *enabled, *out, *only]


def parse_cppcheck(text: str) -> Iterator[Finding]:
    """Parse version 2 of Cppcheck's XML; EnvmatrixError where it is not XML."""
    with parse_errors("Cppcheck's report is no XML"):
        root = ElementTree.fromstring(text)  # noqa: S314 -- written by Cppcheck in our container
    for element in root.iter("error"):
        place = element.find("location")
        file = source_path(place.get("file", "")) if place is not None else None
        if place is None or file is None:
            continue
        level: Level = "error" if element.get("severity") == "error" else "warning"
        number = place.get("line", "")
        line = int(number) if re.fullmatch(r"[0-9]{1,9}", number) else 0
        rule, message = element.get("id", ""), element.get("msg", "")
        yield Finding("cppcheck", rule, message, file, line, level)
