"""Git repositories of others: revisions looked up, and commits checked out with their submodules
and large files. The result depends on the commit alone, not on the user's configuration."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from envmatrix.confined import Area, Directory, Refused
from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import COMMIT, SUBMODULE
from envmatrix.machine.error_texts import UNREACHABLE
from envmatrix.machine.processes import run
from envmatrix.records import dataclass
from envmatrix.store.artifacts import sha256_of
from envmatrix.text import number_of

_WHOLE = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_GITLINK = re.compile(r"160000 commit (?P<commit>[0-9a-f]+)\t(?P<path>.+)", re.DOTALL)
_POINTER = re.compile(
    rb"(?s)version https://git-lfs\.github\.com/spec/v1\n.*oid sha256:([0-9a-f]{64})"
)
_POINTER_BYTES = 1024

_ANSWER_SECONDS = 120
_TRANSFER_SECONDS = 6 * 3600
_DEEPEST = 16
_SHOWN = 5

# Variables of an enclosing repository, as in a git hook, and a program that opens a window are not
# passed on.
_NOT_INHERITED = re.compile(
    r"SSH_ASKPASS|GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES"
    r"|COMMON_DIR|NAMESPACE|PREFIX|CEILING_DIRECTORIES|QUARANTINE_PATH|SSH_VARIANT)"
)

# Files are as they were committed, and no program of the user's configuration is run on them.
_AS_COMMITTED: Mapping[str, str] = {
    "advice.detachedHead": "false",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.hooksPath": os.devnull,
    "core.symlinks": "true",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "filter.lfs.smudge": "",
    # Time out where a server stops sending.
    "http.lowSpeedLimit": "100",
    "http.lowSpeedTime": "60",
}
# Where git LFS keeps what it fetches: beside the repository, unless the user says otherwise.
_LFS_DIRECTORY = re.compile(r"^LocalMediaDir=(.+)$", re.MULTILINE)

_LOGIN = (
    "git asks nobody here: give it the login by a credential helper or ~/.netrc, or the key by "
    "`ssh-add`; `git ls-remote` of the same URL has to work without a question"
)
_REFUSED = (
    r"could not read (username|password)|terminal prompts disabled|authentication failed"
    r"|permission denied \(|access denied|error: 40[13]\b"
)
_UNREACHABLE = (
    rf"{UNREACHABLE}|proxy|too slow"
    r"|(failed|could not) to? ?connect|connection (was )?(reset|closed)"
)
_ABSENT = "is not there, or you may not read it"
_OF_OTHER_KIND = "is of a kind that git does not take from others"
_REASONS: Sequence[tuple[str, str, str]] = (
    (_REFUSED, "needs a login, or refuses the one that git has", _LOGIN),
    (
        r"host key verification failed",
        "is on a server whose key ssh does not know",
        "compare the key and accept it: `ssh` to the server once by hand",
    ),
    (
        _UNREACHABLE,
        "is not reachable",
        "is the network there, and the proxy right? see `git config http.proxy`, $https_proxy",
    ),
    (r"error: 5\d\d\b", "is on a server that fails", "try again later"),
    (
        r"certificate|ssl[_ ](connect|error)|gnutls",
        "is on a server that this machine does not trust",
        "name the certificate of its authority: `git config --global http.sslCAInfo`",
    ),
    (
        r"not found|does not appear to be a git repository|does not exist|error: 404",
        _ABSENT,
        "is the URL right? try `git ls-remote` with it",
    ),
    (
        r"transport 'file' not allowed",
        _OF_OTHER_KIND,
        "if you trust it, allow its kind: `git config --global protocol.file.allow always`",
    ),
    (
        r"transport '[^']*' not allowed",
        _OF_OTHER_KIND,
        "git runs a program for it: name it by a URL of https, ssh or git",
    ),
)
_NOT_OFFERED = re.compile(
    r"not our ref|unadvertised object|find remote ref|dumb http|shallow", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Repository:
    """The repository of a commit; `path` is that of a submodule in the outermost tree, else empty.
    `is_among_local`: the outermost is on this machine, so its submodules may be."""

    url: str
    is_among_local: bool
    path: str = ""
    depth: int = 0

    def __str__(self) -> str:
        return f"submodule `{self.path}`, `{self.url}`," if self.path else f"`{self.url}`"


def commit(url: str, revision: str) -> str:
    """Return the commit of a branch, a tag or a commit hash in the repository at `url`."""
    if _WHOLE.fullmatch(revision):
        return revision
    repository = _parse_repository(url)
    names = (f"refs/heads/{revision}", f"refs/tags/{revision}", f"refs/tags/{revision}^{{}}")
    if re.search(r"[\0-\x20\x7f*?\[\\^~:]|\.\.|^-", revision):
        raise LookupFailed(
            f"`{revision}` is no name of a branch or a tag", hint="see `git check-ref-format`"
        )
    with TemporaryDirectory() as nowhere:  # a repository around us has an `origin` of its own
        output = _git(
            repository, "ls-remote", "origin", *names, at=Path(nowhere), seconds=_ANSWER_SECONDS
        )
    rows = (line.partition("\t") for line in output.splitlines())
    commits = {name: digest for digest, _, name in rows}
    for name in reversed(names):  # the commit below an annotated tag, not the tag
        if name in commits:
            return commits[name]
    hint = "a commit is named by all its digits"
    raise Absent(f"{repository} has no branch or tag `{revision}`", hint=hint)


def check_out(url: str, commit: str, target: Path) -> Mapping[str, str]:
    """Write the files of a commit with those of its submodules to `target`, and nothing of git's
    own. Return the commits, as the lock has them."""
    return {COMMIT: commit, **dict(_check_out(_parse_repository(url), commit, target))}


def _parse_repository(url: str) -> _Repository:
    if not url or url.startswith("-") or re.search(r"[\0-\x1f\x7f]", url):
        raise LookupFailed(f"`{url}` is no URL of a git repository")
    is_path = "://" not in url and Path(url).exists()
    is_local = is_path or url.startswith("file://")
    return _Repository(str(Path(url).resolve()) if is_path else url, is_local)


def _check_out(repository: _Repository, commit: str, target: Path) -> Iterator[tuple[str, str]]:
    if repository.depth > _DEEPEST:
        raise LookupFailed(f"{repository} is more than {_DEEPEST} submodules deep")
    _git(repository, "init", "--quiet", str(target))
    _fetch(repository, commit, target)
    _git(repository, "checkout", "--quiet", "--detach", commit, at=target)
    _fetch_large_files(repository, commit, target)
    submodules = [*_submodules(repository, commit, target)]
    shutil.rmtree(target / ".git")
    for submodule, pinned in submodules:
        yield f"{SUBMODULE}{submodule.path}", pinned
        directory = target / submodule.path.removeprefix(f"{repository.path}/")
        if directory.resolve() != target.resolve() / directory.relative_to(target):
            raise LookupFailed(f"{submodule} is a link or lies behind one")
        yield from _check_out(submodule, pinned, directory)


def _fetch(repository: _Repository, commit: str, target: Path) -> None:
    only = ("fetch", "--quiet", "--depth=1", "--no-tags", "origin", commit)
    all_branches = ("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/heads/fetched/*")
    try:
        _git(repository, *only, at=target)
    except LookupFailed as error:
        if not any(map(_NOT_OFFERED.search, error.details)):
            raise
        # A server that gives no single commit gives its branches and tags.
        _git(repository, *all_branches, at=target)
    try:
        _git(repository, "cat-file", "-e", f"{commit}^{{commit}}", at=target)
    except LookupFailed as error:
        hint = "it was never pushed there, or removed; lock another revision: `envmatrix lock`"
        raise Absent(f"{repository} has no commit {commit}", hint=hint) from error


def _submodules(
    repository: _Repository, commit: str, target: Path
) -> Iterator[tuple[_Repository, str]]:
    """Yield the submodules of a commit, each with its own commit."""
    tree = _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit, at=target)
    links = [match for row in tree.split("\0") if (match := _GITLINK.fullmatch(row))]
    if not links or ".gitmodules" not in (row.partition("\t")[2] for row in tree.split("\0")):
        return
    settings = _parse_settings(
        _git(repository, "config", "--blob", f"{commit}:.gitmodules", "--list", "-z", at=target)
    )
    by_path = {rows.get("path", "").rstrip("/"): rows for rows in settings.values()}
    for link in links:
        rows = by_path.get(link["path"], {})
        if rows.get("update") == "none":
            continue
        path = f"{repository.path}/{link['path']}".removeprefix("/")
        if not rows.get("url"):
            raise LookupFailed(
                f"`.gitmodules` of {repository} has no URL of the submodule `{path}`",
                hint="`git submodule add` writes it",
            )
        url = _without_login(_resolve_url(rows["url"], repository.url))
        _parse_repository(url)
        yield replace(repository, url=url, path=path, depth=repository.depth + 1), link["commit"]


def _parse_settings(text: str) -> Mapping[str, Mapping[str, str]]:
    """Return the settings of each submodule by its name, from `git config --list -z`."""
    submodules: dict[str, dict[str, str]] = {}
    for row in filter(None, text.split("\0")):
        key, _, value = row.partition("\n")
        section, _, rest = key.partition(".")
        name, _, setting = rest.rpartition(".")
        if section == "submodule" and name:
            submodules.setdefault(name, {})[setting] = value
    return submodules


def _resolve_url(url: str, base: str) -> str:
    """Return the absolute URL of a submodule, relative to its repository's URL `base` as in git."""
    if not url.startswith(("./", "../")):
        return url
    base, separator = base.rstrip("/"), "/"
    while url.startswith(("./", "../")):
        step, _, url = url.partition("/")
        if step == "..":
            separator = "/" if "/" in base else ":"  # host:path
            if separator not in base:
                raise LookupFailed(f"the URL of a submodule climbs above `{base}`")
            base = base.rpartition(separator)[0]
    return f"{base}{separator}{url}"


def _without_login(url: str) -> str:
    """Return a URL without user and password: they are not ours, and process lists show them."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise LookupFailed(f"`{url}` is no URL of a git repository") from error
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _fetch_large_files(repository: _Repository, commit: str, target: Path) -> None:
    """Replace the pointers of git LFS by their files.

    git-lfs only fetches them. What it would write into the tree goes through links before 3.7.1
    (CVE-2025-26625), so that is done here, by the rules for what containers wrote.
    """
    with Area(target).opened() as tree:
        pointers = sorted(_pointers(repository, target, tree))
        if not pointers:
            return
        names = [f"`{name}`" for name, *_ in pointers]
        listing = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        if shutil.which("git-lfs") is None:
            raise LookupFailed(
                f"{repository} keeps {number_of(len(names), 'file')} with git LFS: {listing}",
                hint="install git-lfs, here and wherever this is locked or built",
            )
        try:
            _git(repository, "lfs", "fetch", "origin", commit, at=target, settings={})
            environment = _git(repository, "lfs", "env", at=target, settings={})
        except LookupFailed as error:
            raise LookupFailed(
                f"{repository} does not give what git LFS keeps of it: {listing}",
                details=error.details,
                hint=error.hint,
            ) from error
        lfs = _LFS_DIRECTORY.search(environment)
        for name, sha256, mode in pointers:
            file = Path(lfs[1] if lfs else "", sha256[:2], sha256[2:4], sha256)
            if not file.is_file() or sha256_of(file) != sha256:
                raise LookupFailed(f"`{name}` of {repository} is not what its git LFS pointer says")
            tree.copy(file, name, mode=mode)


def _pointers(
    repository: _Repository, target: Path, tree: Directory
) -> Iterator[tuple[str, str, int]]:
    """Yield the files of a tree that are pointers of git LFS: name, sha256 and permissions."""
    names = _git(repository, "ls-files", "-z", at=target)
    if not names:
        return
    output = _git(repository, "check-attr", "-z", "--stdin", "filter", at=target, stdin=names)
    rows = output.split("\0")
    for name, _, value in zip(rows[::3], rows[1::3], rows[2::3], strict=False):
        if value != "lfs":
            continue
        try:
            with tree.open(name) as file:
                mode, text = os.fstat(file.fileno()).st_mode, file.read(_POINTER_BYTES + 1)
        except Refused:  # a link, or behind one
            continue
        if len(text) <= _POINTER_BYTES and (match := _POINTER.match(text)):
            yield name, match[1].decode(), stat.S_IMODE(mode)


def _git(
    repository: _Repository,
    *arguments: str,
    at: Path | None = None,
    seconds: float = _TRANSFER_SECONDS,
    stdin: str = "",
    settings: Mapping[str, str] = _AS_COMMITTED,
) -> str:
    """Return stdout of git, where the repository is `origin`: its URL is no argument, so it cannot
    be taken for an option, and other users do not see it."""
    settings = {"remote.origin.url": repository.url, "core.askPass": "", **settings}
    environment = {
        name: value for name, value in os.environ.items() if not _NOT_INHERITED.fullmatch(name)
    }
    # No question and no window for a person who is not there: a missing password is an error.
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never"}
    environment |= {"SSH_ASKPASS_REQUIRE": "never", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    if at:
        environment["GIT_CEILING_DIRECTORIES"] = str(at.resolve().parent)
    if repository.path:
        environment["GIT_PROTOCOL_FROM_USER"] = "0"
        settings |= {"protocol.file.allow": "always"} if repository.is_among_local else {}
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    for index, (name, value) in enumerate(settings.items(), count):
        environment |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
    environment["GIT_CONFIG_COUNT"] = str(count + len(settings))
    try:
        return run(
            ("git", *(("-C", str(at)) if at else ()), *arguments),
            failing=LookupFailed,
            environment=environment,
            stdin=stdin,
            seconds=seconds,
        )
    except LookupFailed as error:
        raise _explain(repository, error) from error


def _explain(repository: _Repository, error: LookupFailed) -> LookupFailed:
    output = "\n".join(error.details)
    for pattern, message, hint in _REASONS:
        if re.search(pattern, output, re.IGNORECASE):
            kind = Absent if message == _ABSENT else LookupFailed
            return kind(f"{repository} {message}", details=error.details, hint=hint)
    return LookupFailed(
        f"{repository} cannot be read: {error.message}", details=error.details, hint=error.hint
    )
