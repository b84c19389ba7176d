"""libabigail: changes of the ABI of shared libraries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from envmatrix.files import write_whole
from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.baselines import DIRECTORY
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.context import BUILD
from envmatrix.sessions.logs import read_lines
from envmatrix.sessions.products import Product

# Where ABIs are written, in the build directory.
_ABI = "abi"
# abidiff's bit for a usage or other error; the others say what changed.
_ABIDIFF_ERROR = 3


class AbiDiff(Analyser):
    has_own_baseline = True

    def examine(self, build: AnalysedBuild) -> Examination:
        with build.context.build.opened() as directory:
            directory.make_directory(_ABI)
        return Examination(
            [item for library in _shared_libraries(build) for item in _compare(build, library)]
        )

    def accept(self, build: AnalysedBuild) -> None:
        for library in _shared_libraries(build):
            file = f"{_ABI}/{library.name}"
            with build.context.build.opened() as directory:
                if directory.has(file):
                    write_whole(_baseline_file(build, library), directory.read(file))


def _shared_libraries(build: AnalysedBuild) -> list[Product]:
    return [item for item in build.products if item.machine and ".so" in item.name]


def _baseline_file(build: AnalysedBuild, library: Product) -> Path:
    """Return the file that describes the ABI of a shared library, which is to be committed."""
    context = build.context
    directory = context.root / DIRECTORY / context.library.name / context.cell.id
    return directory / f"{library.name}.abi"


def _compare(build: AnalysedBuild, library: Product) -> Iterator[Finding]:
    name, current = library.name, f"{BUILD}/{_ABI}/{library.name}"
    dump = ["abidw", "--out-file", current, f"{BUILD}/{library.path}"]
    build.run_program("abi", dump, f"abidw cannot read `{name}`")
    baseline_file = _baseline_file(build, library)
    if not baseline_file.exists():
        return
    with build.context.build.opened() as directory:
        directory.copy(baseline_file, f"{_ABI}/{name}.known")
    diff = ["abidiff", f"{current}.known", current]
    _, log = build.run_program("abi", diff, f"abidiff cannot compare `{name}`", _ABIDIFF_ERROR)
    yield from parse_abidiff(name, read_lines(log))


# Quoted with its declaration, or by its symbol alone where there is no debug information.
_CHANGE = re.compile(r"^\s*\[(?P<kind>[CDM])\] (?:'(?P<what>.*)'|(?P<symbol>\S+))")
_WORDS = {"C": "changed", "D": "removed", "M": "changed"}


def parse_abidiff(name: str, lines: Iterable[str]) -> Iterator[Finding]:
    """Parse the output of abidiff for a library, without added symbols, which break no user."""
    for line in lines:
        if match := _CHANGE.match(line):
            word, symbol = _WORDS[match["kind"]], match["what"] or match["symbol"]
            yield Finding("abidiff", word, f"{symbol} is {word}", name, level="error")
