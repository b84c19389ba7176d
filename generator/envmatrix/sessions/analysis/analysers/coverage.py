"""Coverage of lines by tests, of one cell and of all."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

from envmatrix.confined import Directory
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Analyser, Examination
from envmatrix.sessions.context import BUILD, BuildContext, Instrumentation, source_path
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import COVERAGE, Measurement, parse_errors

_FILE = "coverage.json"
# Largest coverage report, in bytes.
_LARGEST_REPORT = 1 << 30

# Placeholder for the format version, replaced by that of the gcovr that reads the file.
TRACE_VERSION = "of the reader"

# Gives the traces `*.json` in a directory the version that gcovr here reads, and merges them.
_MERGE = f"""
cd "$1"
version=$(cd /tmp && gcovr --json 2>/dev/null | sed -n 's/.*format_version": "\\([^"]*\\)".*/\\1/p')
sed -i "s/{TRACE_VERSION}/$version/" ./*.json
set -- "$2" ./*.json
root=$1; shift
for file; do set -- "$@" --add-tracefile "$file"; shift; done
gcovr --root "$root" "$@" --xml coverage.xml --html-details index.html
"""


class LineCoverage(Analyser):
    instrumentation = Instrumentation.with_flags("coverage", "--coverage -O0 -g")

    def check(self, context: BuildContext, gpus: Gpus | None) -> None:
        del gpus
        if context.cell.host_compiler.kind == "clang":
            raise Skipped("gcov reads what GCC counts, and Clang compiles the cell")

    def examine(self, build: AnalysedBuild) -> Examination:
        context = build.context
        with context.build.opened() as directory:
            for counts in directory.files(["**/*.gcda"]):
                directory.remove(counts.name)  # of an earlier run
        build.run_tests()
        (context.directory / _FILE).write_text(json.dumps(_trace(build)), encoding="utf-8")
        target = context.directory / "coverage"
        _merge(build, [context.directory / _FILE], target)
        cells = sorted(context.root.glob(f"build/*/{context.library.name}/{_FILE}"))
        _merge(build, cells, context.root / "build/coverage" / context.library.name)
        rate = line_rate((target / "coverage.xml").read_text(encoding="utf-8"))
        return Examination(measurements=[Measurement(COVERAGE, rate, "%", "higher")])


def _trace(build: AnalysedBuild) -> dict[str, Any]:
    """Return the execution counts that the tests left."""
    context = build.context
    # Each file of notes is read with the counts beside it, if the program ever ran.
    gcov = f"xargs -0 -r -n 50 gcov-{context.cell.host_compiler.major} --json-format --stdout"
    command = ["sh", "-c", f"find {BUILD} -name '*.gcno' -print0 | {gcov}"]
    root = context.library_source
    documents = filter(None, build.output_of("coverage", command).splitlines())
    return tracefile(documents, lambda name: (root / name).is_file())


def _merge(build: AnalysedBuild, traces: Sequence[Path], target: Path) -> None:
    """Merge the coverage of one or several cells into `target`, as Cobertura and HTML."""
    context = build.context
    with context.build.opened() as directory:
        directory.remove("merged")
        for number, file in enumerate(traces):
            directory.copy(file, f"merged/{number}.json")
    argv = ["sh", "-euc", _MERGE, "sh", f"{BUILD}/merged", context.tree]
    build.run_program("merge-coverage", argv, "gcovr cannot merge coverage")
    shutil.rmtree(target, ignore_errors=True)
    with context.build.opened() as directory:
        _copy_reports(directory, target)


def _copy_reports(directory: Directory, target: Path) -> None:
    reports = [file for file in directory.files(["merged/**"]) if not file.name.endswith(".json")]
    if sum(report.size for report in reports) > _LARGEST_REPORT:
        raise EnvmatrixError(f"gcovr's report has more than {_LARGEST_REPORT >> 20} MB")
    for report in reports:
        copy = target / report.name.removeprefix("merged/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(directory.read(report.name))


def tracefile(documents: Iterable[str], is_in_library: Callable[[str], bool]) -> dict[str, Any]:
    """Convert gcov's output, one JSON document a line, to gcovr's format: execution counts of
    lines, for files of the library alone, which `is_in_library` tells by their paths in its
    source."""
    counts: dict[str, dict[int, int]] = {}
    for text in documents:
        with parse_errors("gcov's report cannot be read"):
            _count(json.loads(text)["files"], counts, is_in_library)
    files = [
        {"file": name, "functions": [], "lines": list(starmap(_line, sorted(lines.items())))}
        for name, lines in sorted(counts.items())
    ]
    return {"gcovr/format_version": TRACE_VERSION, "files": files}


def _line(number: int, count: int) -> dict[str, Any]:
    flags = {"branches": [], "gcovr/noncode": False, "gcovr/excluded": False}
    return {"line_number": number, "count": count, **flags}


def _count(
    files: Sequence[Any], counts: dict[str, dict[int, int]], is_in_library: Callable[[str], bool]
) -> None:
    for file in files:
        name = source_path(file["file"]) or file["file"]
        if not is_in_library(name):
            continue
        lines = counts.setdefault(name, {})
        for line in file["lines"]:
            number = int(line["line_number"])
            lines[number] = lines.get(number, 0) + int(line["count"])


def line_rate(text: str) -> float:
    """Return the line coverage of a Cobertura file, in percent."""
    with parse_errors("gcovr's report is no Cobertura file"):
        root = ElementTree.fromstring(text)  # noqa: S314 -- written by gcovr in our container
        rate = float(root.attrib["line-rate"])
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate is {rate}")
        return 100 * rate
