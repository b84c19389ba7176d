"""The first matrix of a repository."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.adoption.build_systems import propose
from envmatrix.adoption.cmake_presets import PRESETS, preset_texts
from envmatrix.adoption.components import used_components
from envmatrix.adoption.files import (
    NOXFILE,
    Axes,
    flavour_text,
    ignored_lines,
    library_name,
    matrix_text,
)
from envmatrix.adoption.proposal import Proposal
from envmatrix.adoption.source_tree import TEXTS, SourceTree
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import TARGETS
from envmatrix.files import content_of, read_regular, write_whole
from envmatrix.machine.origins import running
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.files import FLAVOURS, MATRIX, require_directories
from envmatrix.matrix.loading import DEFAULTS, load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.records import dataclass
from envmatrix.text import one_line

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
    """What is proposed for the repository at `root`; `notes` are what was not decided."""

    root: Path
    name: str
    proposal: Proposal
    components: tuple[str, ...]
    notes: tuple[str, ...]

    def files(self, axes: Axes) -> Mapping[str, str]:
        """Return the texts of new files by name. Raise ConfigurationError if the matrix would be
        wrong; the problems have no position, as there is no file yet."""
        texts = {MATRIX: matrix_text(self.name, self.proposal, self.components, axes)}
        for flavour, packages in self.proposal.packages.items():
            name = f"{FLAVOURS}/{flavour}.yaml"
            if not os.path.lexists(self.root / name):
                text = (DEFAULTS / f"{flavour}.yaml").read_text("utf-8")
                texts[name] = flavour_text(text, packages)
        try:
            matrix_of(texts)
        except ConfigurationError as error:
            problems = (replace(problem, position=None) for problem in error.problems)
            raise ConfigurationError(*problems) from error
        return texts if os.path.lexists(self.root / NOX) else {**texts, NOX: NOXFILE}

    def write(self, axes: Axes) -> Iterator[str]:
        """Write the files, and yield their names; if one cannot be written, none is left."""
        texts, written = self.files(axes), []
        added = ignored_lines(self._ignored())
        try:
            for name, text in texts.items():
                write_whole(self.root / name, text.encode())
                written.append(self.root / name)
            if added:
                with (self.root / IGNORE).open("a", encoding="utf-8", newline="") as handle:
                    handle.write(added)
        except OSError:
            for file in written:
                file.unlink()
            raise
        yield from (*texts, *([IGNORE] if added else ()))

    def _ignored(self) -> str:
        """Return the text of .gitignore."""
        try:
            content = content_of(self.root / IGNORE, IGNORE)
        except FileNotFoundError:
            return ""
        return content.decode("utf-8", "surrogateescape")


def matrix_of(texts: Mapping[str, str]) -> Matrix:
    """Return the matrix that files would be, by name. Raise ConfigurationError if it is wrong."""
    with TemporaryDirectory(prefix="envmatrix-init-") as scratch:
        for name, text in texts.items():
            write_whole(Path(scratch, name), text.encode())
        return load_matrix(Path(scratch))


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
        hint = "change it, or remove it first"
        raise ConfigurationError(f"there is a `{MATRIX}` here", hint=hint)
    require_directories(root)
    tree, unread = read_tree(root)
    proposal = propose(tree)
    part = tree if proposal.path == "." else tree.below(proposal.path)
    notes = (*unread, *proposal.notes, *_notes(root, proposal))
    components = tuple(used_components(part))
    return Adoption(root, library_name(tree.name, proposal.project), proposal, components, notes)


def _notes(root: Path, proposal: Proposal) -> Iterator[str]:
    """Yield what existing files leave to be done."""
    for flavour, packages in proposal.packages.items():
        name = f"{FLAVOURS}/{flavour}.yaml"
        if os.path.lexists(root / name):
            yield f"`{name}` exists, and is not changed: it may need {', '.join(packages)}"


def read_tree(root: Path) -> tuple[SourceTree, Sequence[str]]:
    """Return the tree, and a note for each file that cannot be read."""
    paths = [*islice(_walk(root), _MOST_FILES)]
    texts = _Texts(root)
    for path in islice(filter(TEXTS.fullmatch, paths), _MOST_TEXTS):
        texts.read(path)
        directory, name = posixpath.split(path)
        if name == PRESETS:
            for _ in preset_texts(directory, texts.read):
                pass
    return SourceTree(Path(os.path.realpath(root)).name, paths, texts.by_path), texts.unread


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of files below `root` by path, each read once, and a note for each that cannot be
    read, whose text is empty."""

    root: Path
    by_path: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def read(self, path: str) -> str:
        if path not in self.by_path:
            self.by_path[path] = self._text(path)
        return self.by_path[path]

    def _text(self, path: str) -> str:
        try:
            if (self.root / path).stat().st_size <= _LARGEST:
                return read_regular(self.root / path).decode("utf-8", "replace")
            self.unread.append(f"`{one_line(path)}` is too large to be looked at")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self.unread.append(f"`{one_line(path)}` cannot be read: {reason}")
        return ""


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
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST and not _is_skipped(entry.name):
                    waiting.append(path)
            elif _is_file(entry) or TEXTS.fullmatch(entry.name):  # which may be a pipe
                yield path.relative_to(root).as_posix()


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a file or a link to one; not so a link that cannot be followed."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED
