"""The first matrix of a repository."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.adoption.build_systems import propose
from envmatrix.adoption.components import used_components
from envmatrix.adoption.files import (
    NOXFILE,
    Axes,
    flavour_text,
    ignore_text,
    library_name,
    matrix_text,
)
from envmatrix.adoption.proposal import Proposal
from envmatrix.adoption.source_tree import TEXTS, SourceTree
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import TARGETS
from envmatrix.files import readable_text, text_of, write_whole
from envmatrix.machine.origins import running
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.files import FLAVOURS, MATRIX
from envmatrix.matrix.loading import DEFAULTS, load_matrix
from envmatrix.records import dataclass

# More files than these are not looked at; nor are larger ones.
_MOST_FILES = 50_000
_MOST_TEXTS = 2_000
_LARGEST = 1 << 18
_DEEPEST = 5
# Directories without sources.
_SKIPPED = ("build", "node_modules", "third_party", "external", "vendor")

# The distribution of cells where that of this machine has no packages; and GPU architectures.
_DISTRIBUTION = "debian"
_SM = ("80", "90")

NOX = "noxfile.py"
IGNORE = ".gitignore"


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is proposed for the repository at `root`."""

    root: Path
    name: str
    proposal: Proposal
    components: tuple[str, ...]

    def files(self, axes: Axes) -> Mapping[str, str]:
        """Return the texts of the files to write by name. Raise ConfigurationError if the matrix
        would be wrong."""
        texts = {MATRIX: matrix_text(self.name, self.proposal, self.components, axes)}
        for flavour, packages in self.proposal.packages.items():
            name = f"{FLAVOURS}/{flavour}.yaml"
            if not (self.root / name).exists():
                text = (DEFAULTS / f"{flavour}.yaml").read_text("utf-8")
                texts[name] = flavour_text(text, packages)
        with TemporaryDirectory(prefix="envmatrix-init-") as scratch:
            _write(Path(scratch), texts)
            load_matrix(Path(scratch))
        if not (self.root / NOX).exists():
            texts[NOX] = NOXFILE
        file = self.root / IGNORE
        ignored = ignore_text(text_of(file, IGNORE) if file.exists() else "")
        return {**texts, **({IGNORE: ignored} if ignored else {})}

    def write(self, axes: Axes) -> tuple[str, ...]:
        """Write the files, and return their names."""
        texts = self.files(axes)
        _write(self.root, texts)
        return tuple(texts)


def default_axes() -> Axes:
    """Return the newest CUDA, on the newest system of this machine's distribution, for this
    machine."""
    facts, host = load_facts(), host_arch()
    distribution, _ = running()
    newest = {system.distribution: name for name, system in facts.os.items()}
    arches = (
        name for name, target in TARGETS.items() if target.is_native and target.machine == host
    )
    return Axes(
        cuda=([*facts.cuda][-1],),
        os=(newest.get(distribution, newest[_DISTRIBUTION]),),
        arch=(next(arches),),
        sm=_SM,
    )


def adopt(root: Path) -> Adoption:
    """Return what is proposed for a repository; raise ConfigurationError if it has a matrix."""
    if os.path.lexists(root / MATRIX):
        hint = "change it, or remove it first; `envmatrix` alone tells what to do next"
        raise ConfigurationError(f"there is a `{MATRIX}` here", hint=hint)
    tree = _read(root)
    proposal = propose(tree)
    part = tree if proposal.path == "." else tree.below(proposal.path)
    return Adoption(root, library_name(tree.name), proposal, tuple(used_components(part)))


def _read(root: Path) -> SourceTree:
    paths = [*islice(_walk(root), _MOST_FILES)]
    readable = islice(filter(TEXTS.fullmatch, paths), _MOST_TEXTS)
    texts = {path: readable_text(root / path) for path in readable if _is_small(root / path)}
    return SourceTree(root.resolve().name, paths, texts)


def _walk(root: Path) -> Iterator[str]:
    """Yield the names of files, the directories at the top first."""
    waiting = [root]
    while waiting:
        directory = waiting.pop(0)
        depth = len(directory.relative_to(root).parts)
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink():
                continue
            path = Path(entry.path)
            if entry.is_file():
                yield path.relative_to(root).as_posix()
            elif entry.is_dir() and depth < _DEEPEST and not _is_skipped(entry.name):
                waiting.append(path)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED


def _is_small(file: Path) -> bool:
    try:
        return file.stat().st_size <= _LARGEST
    except OSError:
        return False


def _write(root: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write_whole(root / name, text.encode())
