"""Packages with what compilations of libraries did not find, by an archive's list of files."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path

from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.facts.systems import Archive
from envmatrix.facts.targets import MACHINES
from envmatrix.files import readable_text
from envmatrix.lock.file_lists import find_packages
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.sessions.compilation import MISSING
from envmatrix.sessions.context import build_parent
from envmatrix.sessions.failure_causes import flow_list
from envmatrix.store.downloads import Fetcher
from envmatrix.store.unlocked_files import UnlockedFiles

# The most bytes of a list that are read; that of Debian has 150 MB.
_LONGEST_LIST = 1 << 30
_MOST_NAMES = 20


# Returns the lines of the list of the files in a suite's packages.
FileList = Callable[[str], Iterable[str]]


def suggest_packages(root: Path, matrix: Matrix, file_list: FileList, console: Console) -> None:
    """Say which packages have what the last compilations of libraries did not find. Lists of files
    are read only if something was not found."""
    for suite, rows in _missing(root, matrix).items():
        names = dict.fromkeys(name for names in rows.values() for name in names)
        try:
            packages = find_packages(names, file_list(suite))
        except (EnvmatrixError, OSError, EOFError, zlib.error) as error:
            console.warn(f"the list of files of `{suite}` cannot be read: {error}")
            continue
        os = matrix.facts.of_suite(suite)
        for name, missing in rows.items():
            declared = matrix.declared[name].packages.packages_of(os)
            new = {each: packages[each] for each in missing if each in packages}
            new = {each: package for each, package in new.items() if package not in declared}
            if new:
                console.say(_line(name, new))


def _line(library: str, packages: Mapping[str, str]) -> str:
    names = ", ".join(f"`{name}`" for name in packages)
    listed = flow_list(dict.fromkeys(packages.values()))
    return f"suggest  `{library}` did not find {names}: `packages: {{deb: {listed}}}`"


def _missing(root: Path, matrix: Matrix) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Return the names of what libraries did not find, by suite and library."""
    suites: dict[str, dict[str, dict[str, None]]] = {}
    for library, cell in product(matrix.variants, matrix.cells):
        os = matrix.facts.os[cell.os]
        if os.family.name == "deb" and (names := _names(root, library, cell)):
            rows = suites.setdefault(os.suite, {}).setdefault(library.declared_name, {})
            rows |= dict.fromkeys(names)
    return {
        suite: {library: tuple(names)[:_MOST_NAMES] for library, names in rows.items()}
        for suite, rows in suites.items()
    }


def _names(root: Path, library: Library, cell: Cell) -> tuple[str, ...]:
    directory = build_parent(root, cell.id, library.name)
    files = sorted(directory.glob(f"*{MISSING}"))
    return tuple(name for file in files for name in readable_text(file).split())


def read_file_list(files: UnlockedFiles, archive: Archive) -> Iterator[str]:
    """Yield the lines of the list of the files in an archive's packages for its architecture."""
    name = f"Contents-{MACHINES[archive.arch].debian}.gz"
    section = archive.distribution.sections[0]
    content = files.read(f"dists/{archive.suite}/{section}/{name}")
    with gzip.open(io.BytesIO(content)) as lines:
        size = 0
        for line in lines:
            size += len(line)
            if size > _LONGEST_LIST:
                return
            yield line.decode("utf-8", "replace")


def file_list_of(fetcher: Fetcher, matrix: Matrix, arch: str) -> FileList:
    """Return the lists of suites for an architecture (Docker's name), on the mirrors of this
    machine."""

    def file_list(suite: str) -> Iterator[str]:
        archive = matrix.facts.archive(suite, arch)
        mirrors = fetcher.origins.archive(archive.origin)
        return read_file_list(UnlockedFiles(fetcher.client, mirrors, fetcher.outages), archive)

    return file_list
