"""Archives unpacked: tar, compressed or not, and zip. Both are input from strangers.

Python's own extraction is not used: what it confines depends on the release (CVE-2025-4517), and
it has no limits. Here names, links and types are decided before anything is written, each
directory is opened below the one before it without following links, and links are made last.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envmatrix.errors import ConfigurationError
from envmatrix.vcs.archive_entries import ArchiveEntry, BadArchive, read_entries

Name = tuple[str, ...]

_CHUNK = 1 << 18
_DEPTH = 128
_NAME_BYTES = 255
_PATH_BYTES = 2048
_LINK_BYTES = 1024
# The limit of files in an archive, which grows with the size of the archive.
_FILES, _BYTES_OF_A_FILE, _MOST_FILES = 50_000, 64, 1_000_000
# The kernel follows no more links than that; a longer chain is broken, mostly a cycle.
_MOST_LINKS_FOLLOWED = 40
_MOST_STEPS = 5_000_000
_LATEST = 1 << 33

# The parts of a wheel that are installed where modules are.
_MODULES = ("purelib", "platlib")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(file: Path, name: str, target: Path) -> None:
    """Unpack the archive `file` to `target`, without a single top-level directory."""
    inside = target.with_name(f".{target.name}.unpacked")
    try:
        shutil.rmtree(inside, ignore_errors=True)
        inside.mkdir(parents=True)
        with _translate_errors(name), _Tree(inside, file) as tree:
            root = tree.fill(strips=True)
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        inside.joinpath(*root).rename(target)
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def unpack_wheel(file: Path, target: Path) -> None:
    """Add the modules of a wheel to the directory `target`, for PYTHONPATH."""
    with _translate_errors(file.name), _Tree(target, file, _installed_name) as tree:
        tree.fill(strips=False)


def check_links(directory: Path, name: str) -> None:
    """Raise ConfigurationError where a link leads out of a directory made of several archives: a
    link of one may lead through a link of another."""
    links = _Links()
    for file in directory.rglob("*"):
        if file.is_symlink():
            links[file.relative_to(directory).parts] = os.readlink(file)  # noqa: PTH115 -- as written
    with _translate_errors(name):
        links.check()


def _installed_name(name: Name) -> Name:
    """Return the installed name of a file in a wheel.

    https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    is_module = len(name) > 1 and name[0].endswith(".data") and name[1] in _MODULES
    return name[2:] if is_module else name


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BadArchive as error:
        hint = "nothing of it was kept; is it an archive of sources, and complete?"
        raise ConfigurationError(f"`{name}` cannot be unpacked: {error}", hint=hint) from error


class _Links(dict[Name, str]):
    """The links of a tree: name -> target as written."""

    _steps = 0

    def check(self, top: Name = ()) -> None:
        """Raise BadArchive for a link that leads out of the directory `top`."""
        for name, target in self.items():
            if not self._is_inside(name, target, top):
                raise BadArchive(f"the link {_quote('/'.join(name))} leads out of it")

    def _is_inside(self, name: Name, target: str, top: Name) -> bool:
        """Return whether a link, followed like the kernel through the others, stays below `top`."""
        path, rest = list(name[:-1]), target.split("/")[::-1]
        followed = 0
        while rest:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise BadArchive("its links lead through each other too often")
            part = rest.pop()
            if part == "..":
                if len(path) <= len(top):
                    return False
                path.pop()
            elif part not in ("", "."):
                path.append(part)
                if (through := self.get(tuple(path))) is not None:
                    path.pop()
                    followed += 1
                    if followed > _MOST_LINKS_FOLLOWED:  # realpath takes the rest for what it says
                        return not rest
                    rest += through.split("/")[::-1]
        return True


class _Tree:
    """A directory that is filled from an archive. Links are in it only at the end."""

    def __init__(
        self, directory: Path, archive: Path, installed: Callable[[Name], Name] = lambda name: name
    ) -> None:
        self._directory = directory
        self._archive = archive
        self._installed = installed
        self._links = _Links()

    def __enter__(self) -> _Tree:
        self._root = os.open(self._directory, _DIRECTORY)
        self._opened: Name = ()
        self._parent = os.dup(self._root)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._parent)
        os.close(self._root)

    def fill(self, *, strips: bool) -> Name:
        """Fill the tree; return its root: the top, or with `strips` its only directory."""
        size = self._archive.stat().st_size
        most = min(max(_FILES, size // _BYTES_OF_A_FILE), _MOST_FILES)
        count = 0
        for count, entry in enumerate(read_entries(self._archive), 1):
            if count > most:
                raise BadArchive(f"it has more than {most} files")
            self._add(entry)
        if not count:
            raise BadArchive("nothing is in it")
        top = self._only_directory() if strips else ()
        self._links.check(top)
        for name, target in self._links.items():  # nothing is written behind these
            os.symlink(target, name[-1], dir_fd=self._open(name[:-1]))
        return top

    def _only_directory(self) -> Name:
        names = {entry.name for entry in os.scandir(self._root)}
        names |= {name[0] for name in self._links}
        if len(names) != 1 or (*names,) in self._links:
            return ()
        (name,) = names
        return (name,) if stat.S_ISDIR(os.lstat(name, dir_fd=self._root).st_mode) else ()

    def _add(self, entry: ArchiveEntry) -> None:
        name = self._installed(_name(entry.name))
        if not name:
            if entry.kind != "directory":
                raise BadArchive(f"{_quote(entry.name)} is no name of a file")
            return
        match entry.kind:
            case "directory":
                self._open(name)
            case "file":
                self._write(name, entry)
            case "link":
                with self._free(name):
                    self._links[name] = _target(entry)
            case "hard link":
                self._link(name, _name(entry.link))

    def _write(self, name: Name, entry: ArchiveEntry) -> None:
        with self._free(name) as (parent, last):
            descriptor = os.open(last, _NEW_FILE, 0o600, dir_fd=parent)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            while chunk := entry.read(_CHUNK):
                file.write(chunk)
            os.fchmod(descriptor, 0o755 if entry.is_executable else 0o644)
            if 0 < entry.modified < _LATEST:
                os.utime(descriptor, (entry.modified, entry.modified))

    def _link(self, name: Name, other: Name) -> None:
        """Add a hard link to an earlier file."""
        if name == other:
            return
        if other in self._links:
            with self._free(name):
                self._links[name] = self._links[other]
            return
        if not other:
            raise BadArchive(f"the link {_quote('/'.join(name))} names no file")
        try:
            source = os.dup(self._open(other[:-1]))
            try:
                if not stat.S_ISREG(os.lstat(other[-1], dir_fd=source).st_mode):
                    raise FileNotFoundError
                with self._free(name) as (parent, last):
                    os.link(
                        other[-1], last, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False
                    )
            finally:
                os.close(source)
        except FileNotFoundError as error:
            path = _quote("/".join(name))
            raise BadArchive(f"the link {path} names a file that is not before it") from error

    @contextmanager
    def _free(self, name: Name) -> Iterator[tuple[int, str]]:
        """Yield the open directory of `name` and its last part; an earlier file is removed."""
        parent, last = self._open(name[:-1]), name[-1]
        self._links.pop(name, None)
        try:
            with suppress(FileNotFoundError):
                os.unlink(last, dir_fd=parent)
        except (IsADirectoryError, PermissionError) as error:
            raise BadArchive(f"{_quote('/'.join(name))} is a directory as well") from error
        yield parent, last

    def _open(self, name: Name) -> int:
        """Return the descriptor of the directory `name`, made if missing, until the next call."""
        if name != self._opened:
            self._enter((), os.dup(self._root))
            for depth in range(1, len(name) + 1):
                self._enter(name[:depth], self._open_child(name[:depth]))
        return self._parent

    def _enter(self, name: Name, descriptor: int) -> None:
        os.close(self._parent)
        self._opened, self._parent = name, descriptor

    def _open_child(self, name: Name) -> int:
        """Return the descriptor of the directory `name` of the entered one, made if missing."""
        try:
            if name in self._links:
                raise NotADirectoryError
            with suppress(FileExistsError):
                os.mkdir(name[-1], 0o755, dir_fd=self._parent)
            return os.open(name[-1], _DIRECTORY, dir_fd=self._parent)
        except NotADirectoryError as error:
            path = _quote("/".join(name))
            raise BadArchive(f"{path} is a directory, and a file or a link as well") from error


def _name(text: str) -> Name:
    """Return the parts of a name in an archive; BadArchive where it is not allowed."""
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/") or ".." in parts:
        raise BadArchive(f"{_quote(text)} leads out of it")
    if "\0" in text:
        raise BadArchive(f"{_quote(text)} is no name of a file")
    if len(parts) > _DEPTH:
        raise BadArchive(f"{_quote(text)} is more than {_DEPTH} directories deep")
    try:
        encoded = os.fsencode(text)
    except UnicodeError as error:
        raise BadArchive(f"{_quote(text)} is no name of a file") from error
    if len(encoded) > _PATH_BYTES or max(map(len, encoded.split(b"/"))) > _NAME_BYTES:
        raise BadArchive(f"the name {_quote(text)} is too long")
    return parts


def _target(entry: ArchiveEntry) -> str:
    target = entry.link
    try:
        is_wrong = not target or "\0" in target or len(os.fsencode(target)) > _LINK_BYTES
    except UnicodeError:
        is_wrong = True
    if is_wrong:
        raise BadArchive(f"the link {_quote(entry.name)} leads nowhere")
    if target.startswith("/"):
        raise BadArchive(f"the link {_quote(entry.name)} leads out of it")
    return target


def _quote(name: str) -> str:
    return f"`{name}`" if len(name) <= 100 else f"`{name[:99]}…`"
