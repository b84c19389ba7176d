"""Repositories of others, with the git that is here, and servers on loopback."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from tests.loopback import Handler, serving
from tests.repositories import UNCONFIGURED, committed, files_of, git, head

from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import PackageSet, SourceRequest
from envmatrix.store.artifacts import Store
from envmatrix.vcs import remote_git as engine
from envmatrix.vcs import source_trees


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the configuration of git on this machine."""
    for name, value in {**UNCONFIGURED, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = committed(tmp_path / "repository", {"a": "1"})
    git(path, "tag", "--annotate", "--message=v1", "v1")
    return path


def test_a_repository_around_us_is_not_asked_instead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = tmp_path / "around"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(outer)], check=True)
    git(outer, "remote", "set-url", "origin", str(tmp_path / "another"))
    monkeypatch.chdir(outer)
    assert engine.commit(str(repository), "main") == head(repository)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_branches_and_tags_are_their_commits(repository: Path, form: str) -> None:
    url = form.format(repository)
    assert engine.commit(url, "main") == head(repository)
    assert engine.commit(url, "v1") == head(repository), "not the tag's own object"
    assert engine.commit("nowhere", "0" * 40) == "0" * 40
    with pytest.raises(LookupFailed, match="no branch or tag `v2`"):
        engine.commit(url, "v2")


@pytest.mark.parametrize("revision", ["a\0b", "a\nb", "a b", "-v", "v*", "a..b", "\x1b[31m", "v^"])
def test_what_is_no_revision_is_told(repository: Path, revision: str) -> None:
    with pytest.raises(LookupFailed, match="is no name of a branch or a tag"):
        engine.commit(str(repository), revision)


@pytest.mark.parametrize("url", ["a\0b", "https://h/a\nb", "--upload-pack=touch ran", "-u", ""])
def test_what_is_no_url_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(LookupFailed, match="is no URL of a git repository"):
        engine.commit(url, "main")
    with pytest.raises(LookupFailed, match="is no URL of a git repository"):
        engine.check_out(url, "0" * 40, tmp_path / "tree")


def test_a_program_as_a_transport_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LookupFailed, match="of a kind that git does not take") as caught:
        engine.commit(f"ext::touch {tmp_path}/ran", "main")
    assert "allow" not in str(caught.value.hint)
    assert not (tmp_path / "ran").exists()


def test_what_is_around_does_not_matter(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(repository, {"text": "a\n", ".gitattributes": "* text=auto\n"})
    commit = head(repository)
    for name, value in {
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.autocrlf",
        "GIT_CONFIG_VALUE_0": "true",
    }.items():
        monkeypatch.setenv(name, value)
    engine.check_out(str(repository), commit, tmp_path / "tree")
    assert (tmp_path / "tree/text").read_bytes() == b"a\n"


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A repository with submodules in submodules, by all kinds of URLs of this machine."""
    committed(tmp_path / "inner", {"inner": "i"})
    committed(tmp_path / "middle", {"middle": "m"})
    git(tmp_path / "middle", "submodule", "--quiet", "add", "../inner", "deps/inner")
    committed(tmp_path / "middle")
    committed(tmp_path / "outer", {"outer": "o"})
    git(
        tmp_path / "outer",
        "submodule",
        "--quiet",
        "add",
        f"file://{tmp_path}/middle",
        "third party/m",
    )
    git(tmp_path / "outer", "submodule", "--quiet", "add", "../inner", "relative")
    git(tmp_path / "outer", "submodule", "--quiet", "add", "../inner", "unwanted")
    git(tmp_path / "outer", "config", "-f", ".gitmodules", "submodule.unwanted.update", "none")
    return committed(tmp_path / "outer")


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://{}/"])
def test_submodules_come_along_and_are_in_the_lock(nested: Path, tmp_path: Path, form: str) -> None:
    versions = source_trees.commits(tmp_path / "cache", form.format(nested), "main")
    assert versions == {
        "commit": head(nested),
        "submodule relative": head(tmp_path / "inner"),
        "submodule third party/m": head(tmp_path / "middle"),
        "submodule third party/m/deps/inner": head(tmp_path / "inner"),
    }
    locked = PackageSet(SourceRequest("git", str(nested), "main"), (), versions=versions)
    tree = source_trees.tree(tmp_path / "cache", Store(tmp_path / "store"), locked)
    assert {name: text for name, text in files_of(tree).items() if name != ".gitmodules"} == {
        "outer": "o",
        "relative/inner": "i",
        "third party/m/middle": "m",
        "third party/m/.gitmodules": (tmp_path / "middle/.gitmodules").read_text(),
        "third party/m/deps/inner/inner": "i",
    }
    changed = PackageSet(locked.request, (), versions={**versions, "submodule relative": "0" * 40})
    with pytest.raises(LookupFailed, match="is not what was locked: submodule relative"):
        source_trees.tree(tmp_path / "cache", Store(tmp_path / "store"), changed)


def test_a_submodule_that_is_a_link_as_well_is_not_checked_out(tmp_path: Path) -> None:
    victim = committed(tmp_path / "victim", {"file": "untouched"})
    outer = committed(tmp_path / "outer", {"outer": "o"})
    git(outer, "submodule", "--quiet", "add", "../victim", "s")
    committed(outer)
    target = git(outer, "hash-object", "-w", "--stdin", stdin=str(victim))
    entries = git(outer, "ls-tree", "HEAD")
    tree = git(outer, "mktree", stdin=f"{entries}\n120000 blob {target}\ts\n")  # git takes it
    git(outer, "update-ref", "HEAD", git(outer, "commit-tree", "-m", "hostile", tree))
    with pytest.raises(LookupFailed, match=r"submodule `s`.* is a link"):
        source_trees.commits(tmp_path / "cache", str(outer), "main")
    assert git(victim, "status", "--short") == ""
    assert (victim / "file").read_text() == "untouched"


def test_a_submodule_whose_commit_is_gone_is_named(nested: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "inner")
    committed(tmp_path / "inner", {"another": ""})
    with pytest.raises(LookupFailed, match=r"submodule `relative`, `.*inner`, has no commit"):
        source_trees.commits(tmp_path / "cache", str(nested), "main")
    assert not [*(tmp_path / "cache/sources").glob("checkout-*[!k]")]


def test_a_submodule_whose_server_is_gone_is_named(nested: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "inner")
    with pytest.raises(LookupFailed, match=r"submodule `relative`, `.*inner`, is not there"):
        source_trees.commits(tmp_path / "cache", str(nested), "main")


def test_a_submodule_without_a_url_is_named(nested: Path, tmp_path: Path) -> None:
    git(nested, "config", "-f", ".gitmodules", "--unset", "submodule.relative.url")
    committed(nested)
    with pytest.raises(LookupFailed, match="no URL of the submodule `relative`"):
        source_trees.commits(tmp_path / "cache", str(nested), "main")


@pytest.mark.parametrize(
    ("url", "base", "resolved"),
    [
        ("https://h/b", "https://h/a", "https://h/b"),
        ("../b.git", "https://h/x/a.git", "https://h/x/b.git"),
        ("../../y/b", "https://h/x/a/", "https://h/y/b"),
        ("./b", "ssh://git@h/a", "ssh://git@h/a/b"),
        ("../b", "git@h:a", "git@h:b"),
        ("../b", "git@h:x/a", "git@h:x/b"),
    ],
)
def test_a_relative_url_is_resolved_as_git_does(url: str, base: str, resolved: str) -> None:
    assert engine._resolve_url(url, base) == resolved


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "needs a login"),
        (403, "needs a login"),
        (404, "is not there"),
        (503, "server that fails"),
    ],
)
def test_what_a_server_refuses_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, message: str
) -> None:
    prompt = tmp_path / "prompt"
    prompt.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked; sleep 100\n")
    prompt.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(prompt))
    monkeypatch.setenv("DISPLAY", ":0")

    class RefusingHandler(Handler):
        def do_GET(self) -> None:
            self.answer(status, headers={"WWW-Authenticate": 'Basic realm="x"'})

    with serving(RefusingHandler) as url, pytest.raises(LookupFailed, match=message) as caught:
        engine.commit(f"{url}/a.git", "main")
    assert isinstance(caught.value, Absent) == (status == 404)
    assert caught.value.hint
    assert not (tmp_path / "asked").exists()


def test_an_unreachable_server_is_told_as_that(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.git"
        with pytest.raises(LookupFailed, match="is not reachable"):
            engine.commit(url, "main")
        with pytest.raises(LookupFailed, match="is not reachable"):
            engine.check_out(url, "0" * 40, tmp_path / "tree")


def test_a_submodule_of_this_machine_is_taken_of_this_machine_only(
    tmp_path: Path, repository: Path
) -> None:
    foreign = engine._Repository(f"file://{repository}", is_among_local=False, path="sub")
    with pytest.raises(
        LookupFailed, match="of a kind that git does not take from others"
    ) as caught:
        [*engine._check_out(foreign, head(repository), tmp_path / "tree")]
    assert "protocol.file.allow" in str(caught.value.hint)


def test_a_password_in_the_url_of_a_submodule_is_not_used() -> None:
    assert engine._without_login("https://u:secret@h:1/x") == "https://h:1/x"
    assert engine._without_login("ssh://git@h/x") == "ssh://git@h/x"


CONTENT = "large" * 1000
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{hashlib.sha256(CONTENT.encode()).hexdigest()}\nsize {len(CONTENT)}\n"
)


@pytest.fixture
def large(repository: Path) -> Path:
    """A repository that keeps a file with git LFS."""
    return committed(
        repository,
        {".gitattributes": "*.bin filter=lfs\n", "d/é.bin": POINTER, "small.bin": "small"},
    )


def stored(repository: Path, content: str) -> None:
    digest = hashlib.sha256(CONTENT.encode()).hexdigest()
    place = repository / ".git/lfs/objects" / digest[:2] / digest[2:4]
    place.mkdir(parents=True)
    (place / digest).write_text(content)


def test_without_git_lfs_its_files_are_named(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(str(shutil.which("git")))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(LookupFailed, match=r"keeps 1 file with git LFS: `d/é.bin`") as caught:
        engine.check_out(str(large), engine.commit(str(large), "main"), tmp_path / "tree")
    assert "install git-lfs" in str(caught.value.hint)


LFS = shutil.which("git-lfs")
needs_lfs = pytest.mark.skipif(LFS is None, reason="there is no git-lfs here")


@needs_lfs
def test_what_git_lfs_keeps_comes_along(large: Path, tmp_path: Path) -> None:
    stored(large, CONTENT)
    engine.check_out(f"file://{large}", head(large), tmp_path / "tree")
    assert (tmp_path / "tree/d/é.bin").read_text() == CONTENT
    assert (tmp_path / "tree/small.bin").read_text() == "small"


@needs_lfs
@pytest.mark.parametrize("content", [None, "damaged"])
def test_what_git_lfs_does_not_have_is_told(
    large: Path, tmp_path: Path, content: str | None
) -> None:
    if content:
        stored(large, content)
    with pytest.raises(LookupFailed, match=r"does not give what git LFS keeps of it: `d/é.bin`"):
        engine.check_out(f"file://{large}", head(large), tmp_path / "tree")


@needs_lfs
def test_a_file_of_git_lfs_keeps_its_permissions(large: Path, tmp_path: Path) -> None:
    stored(large, CONTENT)
    git(large, "update-index", "--chmod=+x", "d/é.bin")
    git(large, "commit", "--quiet", "--message=executable")
    engine.check_out(f"file://{large}", head(large), tmp_path / "tree")
    assert (tmp_path / "tree/d/é.bin").stat().st_mode & 0o111


@needs_lfs
def test_git_lfs_fetches_and_writes_nothing_into_the_tree(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 3.7.1 it writes through links (CVE-2025-26625)."""
    stored(large, CONTENT)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/git-lfs"
    program.write_text(f'#!/bin/sh\necho "$1" >>{tmp_path}/verbs\nexec {LFS} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    engine.check_out(f"file://{large}", head(large), tmp_path / "tree")
    assert (tmp_path / "tree/d/é.bin").read_text() == CONTENT
    verbs = (tmp_path / "verbs").read_text().split()
    assert set(verbs) <= {"fetch", "env", "standalone-file"}


@needs_lfs
def test_nothing_is_written_behind_a_link_where_git_lfs_has_a_file(
    large: Path, tmp_path: Path
) -> None:
    """A tree may have a link of the name of a directory, which is what git then checks out."""
    committed(large, {"a.bin": POINTER})
    stored(large, CONTENT)
    victim = tmp_path / "victim"
    victim.mkdir()
    link = git(large, "hash-object", "-w", "--stdin", stdin=str(victim))
    raw = ("git", "-C", str(large), "cat-file", "tree", "HEAD^{tree}")
    entries = subprocess.run(raw, check=True, capture_output=True).stdout
    write = ("git", "-C", str(large), "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
    twice = entries + b"120000 d\0" + bytes.fromhex(link)
    tree = subprocess.run(write, check=True, capture_output=True, input=twice).stdout.decode()
    hostile = git(large, "commit-tree", "-m", "hostile", tree.strip())
    git(large, "update-ref", "HEAD", hostile)
    engine.check_out(f"file://{large}", hostile, tmp_path / "tree")
    assert (tmp_path / "tree/d").is_symlink()
    assert (tmp_path / "tree/a.bin").read_text() == CONTENT
    assert not [*victim.iterdir()]
