"""Commands and build variants of analyses, and parsers of what the tools report. Pure."""

from __future__ import annotations

import json
import posixpath
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.analysis.findings import Finding, Level, without_numbers
from envmatrix.sessions.logs import plain
from envmatrix.sessions.steps import BUILD, SOURCE, Variant

COVERAGE = "line coverage"


def _flags(host: str, *, linked: str = "") -> Mapping[str, str]:
    """Return the variables that CMake, Meson, Make and setuptools read: flags of the host compiler,
    also below nvcc, and of the linker."""
    below = ",".join(host.split())
    return {
        "CFLAGS": host,
        "CXXFLAGS": host,
        "CUDAFLAGS": f"-Xcompiler={below}",
        "LDFLAGS": linked or host,
    }


# Kind -> how the library is built for it; what examines the sources shares one build.
VARIANTS: Mapping[str, Variant] = {
    "coverage": Variant("coverage", _flags("--coverage -O0 -g")),
    "clang-tidy": Variant("static", {}),
    "cppcheck": Variant("static", {}),
    "asan": Variant(
        "asan",
        {
            **_flags("-fsanitize=address -fno-omit-frame-pointer -O1 -g"),
            # CUDA maps memory where AddressSanitizer would not have it.
            "ASAN_OPTIONS": "protect_shadow_gap=0:detect_leaks=1",
        },
    ),
    "ubsan": Variant(
        "ubsan",
        {
            **_flags("-fsanitize=undefined -fno-sanitize-recover=undefined -O1 -g"),
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
    ),
    "tsan": Variant("tsan", _flags("-fsanitize=thread -O1 -g")),
    "compute-sanitizer": Variant(),
    "abi": Variant(),
    "size": Variant(),
    "licences": Variant(),
}
# Analyses that run the tests.
SANITIZERS = ("asan", "ubsan", "tsan")


def analysis_command(
    kind: str, *, gcc: str, jobs: int, tree: str, has_checks: bool
) -> Sequence[str]:
    """Return the program that analyses a built library; `has_checks` if the library itself
    configures the checks of clang-tidy."""
    database = f"{BUILD}/compile_commands.json"
    match kind:
        case "coverage":
            # Each file of notes is read with the counts beside it, if the program ever ran.
            gcov_command = f"xargs -0 -r -n 50 gcov-{gcc} --json-format --stdout"
            return ["sh", "-c", f"find {BUILD} -name '*.gcno' -print0 | {gcov_command}"]
        case "clang-tidy":
            checks = [] if has_checks else ["-checks=-*,clang-analyzer-*,bugprone-*"]
            sources = r".*\.(c|cc|cpp|cxx)$"
            header = [f"-header-filter={re.escape(tree)}/.*"]
            return ["run-clang-tidy", "-quiet", "-p", BUILD, f"-j{jobs}", *checks, *header, sources]
        case "cppcheck":
            enabled = ["--enable=warning,performance,portability", "--inline-suppr", "--quiet"]
            out = ["--xml", f"--output-file={BUILD}/cppcheck.xml"]
            # It parses no CUDA.
            only = [f"--file-filter={tree}/*.c*", "--suppress=*:*.cu", "--suppress=*:*.cuh"]
            return ["cppcheck", f"--project={database}", f"-j{jobs}", *enabled, *out, *only]
    raise AssertionError(kind)


def of_clang_tidy(lines: Iterable[str]) -> Iterator[Finding]:
    """Parse lines such as `/src/a.cpp:12:5: warning: message [check]`, for the library's own
    files."""
    for line in lines:
        if match := _TIDY.match(plain(line)):
            file = _inside(match["file"])
            if file is not None:
                level: Level = "error" if match["level"] == "error" else "warning"
                rule = match["rule"].partition(",")[0]
                yield Finding("clang-tidy", rule, match["message"], file, int(match["line"]), level)


_TIDY = re.compile(
    r"(?P<file>/[^:]+):(?P<line>\d+):\d+: (?P<level>warning|error): (?P<message>.*) "
    r"\[(?P<rule>[\w.,-]+)\]$"
)


def of_cppcheck(text: str) -> Iterator[Finding]:
    """Parse version 2 of Cppcheck's XML; EnvmatrixError where it is not XML."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 -- written by Cppcheck in our container
    except (ElementTree.ParseError, LookupError) as error:
        raise EnvmatrixError(f"Cppcheck's report is no XML: {error}") from error
    for element in root.iter("error"):
        place = element.find("location")
        file = _inside(place.get("file", "")) if place is not None else None
        if place is None or file is None:
            continue
        level: Level = "error" if element.get("severity") == "error" else "warning"
        yield Finding(
            "cppcheck",
            element.get("id", ""),
            element.get("msg", ""),
            file,
            _line_number(place.get("line")),
            level,
        )


def _line_number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else 0


_SUMMARY = re.compile(
    r"SUMMARY: (?P<tool>Address|Thread|Leak|UndefinedBehavior)Sanitizer: "
    r"(?P<rule>[\w -]+?)(?: (?P<file>(?:\.\.)?/\S+?):(?P<line>\d+)(?::\d+)?)?"
    r"(?: in (?P<function>.*))?$"
)
_RUNTIME = re.compile(
    r"(?P<file>(?:\.\.)?/\S+?):(?P<line>\d+):\d+: runtime error: (?P<message>.*)$"
)
_LEAKED = re.compile(r"SUMMARY: AddressSanitizer: \d+ byte\(s\) leaked")
_TOOLS = {
    "asan": "AddressSanitizer",
    "ubsan": "UndefinedBehaviorSanitizer",
    "tsan": "ThreadSanitizer",
}


def of_sanitizer(kind: str, lines: Iterable[str]) -> Iterator[Finding]:
    """Parse the reports that a sanitizer printed while tests ran."""
    tool = _TOOLS[kind]
    for line in map(plain, lines):
        if _LEAKED.search(line):
            yield Finding(tool, "leak", "memory is not freed at the end", level="error")
        elif match := _RUNTIME.search(line):
            file = _inside(match["file"]) or match["file"]
            rule = without_numbers(match["message"].partition(":")[0])[:60]
            yield Finding(tool, rule, match["message"], file, int(match["line"]), "error")
        elif (match := _SUMMARY.search(line)) and match["tool"] != "UndefinedBehavior":
            named = match["file"] or ""
            file = _inside(named) or named
            where = f" in {match['function']}" if match["function"] else ""
            rule = match["rule"].strip()
            yield Finding(tool, rule, f"{rule}{where}", file, int(match["line"] or 0), "error")


# Quoted with its declaration, or by its symbol alone where there is no debug information.
_ABI = re.compile(r"^\s*\[(?P<kind>[ACDM])\] (?:'(?P<what>.*)'|(?P<symbol>\S+))")
_ABI_WORDS = {"A": "added", "C": "changed", "D": "removed", "M": "changed"}


def of_abidiff(name: str, lines: Iterable[str]) -> Iterator[Finding]:
    """Parse the output of abidiff for a library; an added symbol is a note, as it breaks no
    user."""
    for line in lines:
        if match := _ABI.match(line):
            word = _ABI_WORDS[match["kind"]]
            level: Level = "note" if word == "added" else "error"
            symbol = match["what"] or match["symbol"]
            yield Finding("abidiff", word, f"{symbol} is {word}", name, 0, level)


# By how much a file may grow, as a ratio and in bytes.
_GROWTH, _GROWTH_BYTES = 1.05, 4096


def of_sizes(baseline: Mapping[str, int], current: Mapping[str, int]) -> Iterator[Finding]:
    """Return a finding for each file that grew by more than 5 % and 4 kB since the baseline."""
    for name, size in sorted(current.items()):
        previous = baseline.get(name)
        if previous and size > previous * _GROWTH and size > previous + _GROWTH_BYTES:
            message = f"{name} has {size} bytes, {size - previous} more than in the baseline"
            yield Finding("size", "growth", message, name)


def of_licences(
    baseline: Iterable[str] | None, current: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Return the licences of linked packages that the baseline does not have; nothing without a
    baseline."""
    if baseline is None:
        return
    accepted = set(baseline)
    for package, licences in sorted(current.items()):
        for licence in licences:
            if licence not in accepted:
                message = f"`{package}`, which is linked, has the licence `{licence}`"
                yield Finding("licences", licence, message, package)


# Prints `library<TAB>package<TAB>licence` of each shared library that files need: what the dynamic
# linker would take, the package that has it, and what its copyright file says.
LICENCES = r"""
for file; do readelf -d "$file" 2>/dev/null; done |
  sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p' | sort -u |
while read -r name; do
  path=$(ldconfig -p | sed -n "s,^[[:space:]]*$name .* => ,,p" | head -n1)
  [ -n "$path" ] || { printf '%s\t?\t?\n' "$name"; continue; }
  package=$(dpkg-query -S "$path" "$(readlink -f "$path")" 2>/dev/null | head -n1 | cut -d: -f1)
  copyright=/usr/share/doc/$package/copyright
  if [ -n "$package" ] && [ -f "$copyright" ]; then
    sed -n 's/^License: *//p' "$copyright" | sort -u | sed "s,^,$name\t$package\t,"
    grep -q '^License:' "$copyright" || printf '%s\t%s\tsee its copyright file\n' "$name" "$package"
  else
    printf '%s\t%s\t?\n' "$name" "${package:-?}"
  fi
done
"""


def licences_by_package(text: str) -> Mapping[str, tuple[str, ...]]:
    """Parse the output of `LICENCES`; a library that no package owns goes by its own name."""
    by_package: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, package, licence = (*line.split("\t"), "", "")[:3]
        by_package.setdefault(name if package == "?" else package, []).append(licence)
    return {package: tuple(dict.fromkeys(licences)) for package, licences in by_package.items()}


# Placeholder for the format version, replaced by that of the gcovr that reads the file.
TRACE_VERSION = "of the reader"

# Gives the traces `*.json` in a directory the version that gcovr here reads, and merges them.
MERGE = f"""
cd "$1"
version=$(cd /tmp && gcovr --json 2>/dev/null | sed -n 's/.*format_version": "\\([^"]*\\)".*/\\1/p')
sed -i "s/{TRACE_VERSION}/$version/" ./*.json
set -- "$2" ./*.json
root=$1; shift
for file; do set -- "$@" --add-tracefile "$file"; shift; done
gcovr --root "$root" "$@" --xml coverage.xml --html-details index.html
"""


def tracefile(documents: Iterable[str], is_in_library: Callable[[str], bool]) -> dict[str, Any]:
    """Convert gcov's output, one JSON document a line, to gcovr's format: execution counts of
    lines, for files of the library alone, which `is_in_library` tells by their paths in its
    source."""
    counts: dict[str, dict[int, int]] = {}
    for text in documents:
        try:
            _count(json.loads(text)["files"], counts, is_in_library)
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise EnvmatrixError(f"gcov's report cannot be read: {error}") from error
    return {
        "gcovr/format_version": TRACE_VERSION,
        "files": [
            {
                "file": name,
                "functions": [],
                "lines": [
                    {
                        "line_number": number,
                        "count": count,
                        "branches": [],
                        "gcovr/noncode": False,
                        "gcovr/excluded": False,
                    }
                    for number, count in sorted(lines.items())
                ],
            }
            for name, lines in sorted(counts.items())
        ],
    }


def _count(
    files: Sequence[Any], counts: dict[str, dict[int, int]], is_in_library: Callable[[str], bool]
) -> None:
    for file in files:
        name = _inside(file["file"]) or file["file"]
        if not is_in_library(name):
            continue
        lines = counts.setdefault(name, {})
        for line in file["lines"]:
            number = int(line["line_number"])
            lines[number] = lines.get(number, 0) + int(line["count"])


def line_rate(text: str) -> float:
    """Return the line coverage of a Cobertura file, in percent."""
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 -- written by gcovr in our container
        rate = float(root.attrib["line-rate"])
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate is {rate}")
        return 100 * rate
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise EnvmatrixError(f"gcovr's report is no Cobertura file: {error}") from error


def sarif(findings: Sequence[Finding], path: str) -> dict[str, Any]:
    """Return findings as SARIF 2.1.0, with one run for each tool; `path` is the library's directory
    in the repository."""
    tools = sorted({finding.tool for finding in findings})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            _sarif_run(tool, [finding for finding in findings if finding.tool == tool], path)
            for tool in tools
        ],
    }


def _sarif_run(tool: str, findings: Sequence[Finding], path: str) -> dict[str, Any]:
    rules = sorted({finding.rule for finding in findings})
    return {
        "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in rules]}},
        "results": [
            {
                "ruleId": finding.rule,
                "level": finding.level,
                "message": {"text": finding.message},
                "baselineState": "new" if finding.is_new else "unchanged",
                "partialFingerprints": {"envmatrix/v1": finding.identity},
                "locations": [_sarif_place(finding, path)] if finding.file else [],
            }
            for finding in findings
        ],
    }


def _sarif_place(finding: Finding, path: str) -> dict[str, Any]:
    uri = finding.file if path in ("", ".") else f"{path}/{finding.file}"
    place: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    return {"physicalLocation": place}


def _inside(file: str) -> str | None:
    """Return the path of a library's file in its source; None for any other file. Meson has
    compilers name files relative to the build directory."""
    file = posixpath.normpath(posixpath.join(BUILD, file))
    for root in (f"{BUILD}/source", SOURCE):
        try:
            return PurePosixPath(file).relative_to(root).as_posix()
        except ValueError:
            continue
    return None
