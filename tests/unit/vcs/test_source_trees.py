from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from tests.archives import entry, link, tar, zipped
from tests.repositories import committed, files_of, git, head

from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.lock.model import Artifact, PackageSet, SourceRequest
from envmatrix.lock.resolvers.sources import archive
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import measure_download
from envmatrix.vcs import git as own_repository
from envmatrix.vcs import source_trees


def packed(files: Mapping[str, str], mode: str = "w:gz") -> bytes:
    entries = (entry(name, content=text.encode(), mode=0o755) for name, text in files.items())
    return tar(*entries, mode=mode)


def zip_of(files: Mapping[str, str]) -> bytes:
    return zipped(*((name, text.encode(), 0o755) for name, text in files.items()))


def stored(store: Store, name: str, content: bytes) -> Artifact:
    """Put a file into the store."""
    digest = hashlib.sha256(content).hexdigest()
    item = Artifact("debian", f"pool/{name}", "lib", "1.0", len(content), digest)
    file = store.path(item)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return item


def source(*artifacts: Artifact, kind: str = "debian-source") -> PackageSet:
    return PackageSet(SourceRequest(kind, "lib", "1"), artifacts)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lib-1.0.tar.gz", packed({"lib-1.0/a.c": "a", "lib-1.0/d/b": "b"})),
        ("lib-1.0.tar.xz", packed({"lib-1.0/a.c": "a", "lib-1.0/d/b": "b"}, "w:xz")),
        ("lib-1.0.zip", zip_of({"lib-1.0/a.c": "a", "lib-1.0/d/b": "b"})),
        ("flat.tar.gz", packed({"a.c": "a", "d/b": "b"})),
    ],
)
def test_an_archive_is_unpacked_without_the_directory_around_it(
    tmp_path: Path, store: Store, name: str, content: bytes
) -> None:
    tree = source_trees.tree(tmp_path, store, source(stored(store, name, content)))
    assert files_of(tree) == {"a.c": "a", "d/b": "b"}
    assert (tree / "a.c").stat().st_mode & 0o111


def test_a_source_package_is_its_archives_as_one_tree(tmp_path: Path, store: Store) -> None:
    artifacts = (
        stored(store, "lib_1.0-2.dsc", b"Format: 3.0 (quilt)"),
        stored(store, "lib_1.0-2.debian.tar.xz", packed({"debian/rules": ""}, "w:xz")),
        stored(store, "lib_1.0.orig.tar.gz", packed({"lib-1.0/a.c": "a"})),
        stored(store, "lib_1.0.orig-data.tar.gz", packed({"data-3/x": "x"})),
    )
    assert files_of(source_trees.tree(tmp_path, store, source(*artifacts))) == {
        "a.c": "a",
        "data/x": "x",
    }


def linked(links: Mapping[str, str]) -> bytes:
    """Return a tar of a directory with a file and these links."""
    entries = (link(f"top/{name}", target) for name, target in links.items())
    return tar(entry("top/file"), *entries, mode="w:gz")


def test_what_an_additional_archive_is_named_for_is_replaced(tmp_path: Path, store: Store) -> None:
    parts = packed({"top/a.in": "a", "top/b": "b"}), linked({"c": "file", "d": "b"})
    for number, part in enumerate(parts):
        artifacts = [stored(store, f"{number}.orig.tar.gz", part)]
        artifacts += [
            stored(store, f"{number}.orig-{name}.tar.gz", packed({"t/x": name})) for name in "abcd"
        ]
        files = files_of(source_trees.tree(tmp_path, store, source(*artifacts)))
        assert {f"{name}/x": name for name in "abcd"}.items() <= files.items()


def test_no_link_leads_out_through_a_link_of_an_additional_archive(
    tmp_path: Path, store: Store
) -> None:
    artifacts = (
        stored(store, "lib.orig.tar.gz", linked({"out": "data/here/../.."})),
        stored(store, "lib.orig-data.tar.gz", linked({"here": "."})),
    )
    with pytest.raises(ConfigurationError, match="the link `out` leads out of it"):
        source_trees.tree(tmp_path, store, source(*artifacts))
    assert not list(tmp_path.rglob("out"))


def test_no_link_of_a_wheel_leads_out_through_one_of_another(tmp_path: Path, store: Store) -> None:
    artifacts = (
        stored(store, "a.whl", linked({"back": ".."})),
        stored(store, "b.whl", linked({"out": "back/.."})),
    )
    with pytest.raises(ConfigurationError, match="the link `top/out` leads out of it"):
        source_trees.wheel_directory(tmp_path, store, artifacts)
    assert not list(tmp_path.rglob("out"))


def test_a_link_of_a_wheel_is_judged_as_it_is_written(tmp_path: Path, store: Store) -> None:
    artifacts = (
        stored(store, "a.whl", linked({"one": "out"})),
        stored(store, "b.whl", linked({"out": "one//."})),  # realpath says / of this circle
    )
    with pytest.raises(ConfigurationError, match="leads out of it"):
        source_trees.wheel_directory(tmp_path, store, artifacts)


@pytest.mark.parametrize(
    "content",
    [packed({"lib/a": "a", "../escaped": "b"}), packed({"/etc/escaped": "b"})[:40], b"no archive"],
    ids=["climbs", "cut off", "none"],
)
def test_what_is_no_archive_of_sources_leaves_nothing(
    tmp_path: Path, store: Store, content: bytes
) -> None:
    package_set = source(stored(store, "lib-1.0.tar.gz", content))
    with pytest.raises(ConfigurationError, match=r"`lib-1.0.tar.gz` cannot be unpacked"):
        source_trees.tree(tmp_path / "cache", store, package_set)
    assert not list(tmp_path.rglob("escaped"))
    names = [path.name for path in (tmp_path / "cache/sources").iterdir()]
    assert all(name.endswith(".lock") for name in names)


def test_a_tree_is_made_once(tmp_path: Path, store: Store) -> None:
    item = stored(store, "lib-1.0.tar.gz", packed({"lib-1.0/a.c": "a"}))
    first = source_trees.tree(tmp_path, store, source(item))
    store.path(item).unlink()
    assert source_trees.tree(tmp_path, store, source(item)) == first


def test_wheels_are_what_python_finds(tmp_path: Path, store: Store) -> None:
    wheel = zip_of({"mod.py": "", "x-1.data/purelib/pure.py": "", "x-1.data/platlib/c.so": ""})
    tree = source_trees.wheel_directory(tmp_path, store, [stored(store, "x.whl", wheel)])
    assert {"mod.py", "pure.py", "c.so"} <= set(files_of(tree))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return committed(tmp_path / "repository", {"a": "1"})


def test_changed_files_are_those_since_a_branch_left(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "topic")
    (repository / "a").write_text("2")
    (repository / "new").write_text("")
    git(repository, "checkout", "--quiet", "-b", "other", "main")
    (repository / "elsewhere").write_text("")
    git(repository, "add", "elsewhere")
    git(repository, "commit", "--quiet", "--message=two", "elsewhere")
    git(repository, "checkout", "--quiet", "topic")
    assert own_repository.changed_files(repository, "other") == ("a", "new")


def test_what_is_checked_out_tells_whether_it_changed(repository: Path) -> None:
    checkout = own_repository.checkout_of(repository)
    assert checkout is not None
    assert (checkout.commit, checkout.branch) == (head(repository), "main")
    (repository / "a").write_text("2")
    changed = own_repository.checkout_of(repository)
    assert changed is not None
    assert changed.commit == f"{checkout.commit}-changed"
    assert own_repository.checkout_of(Path("/")) is None


def test_directories_differ_in_the_files_that_are_not_the_same(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/same").write_text("a")
        (tmp_path / name / "to-nowhere").symlink_to("nowhere")
        (tmp_path / name / "sub/changed").write_text(name[:3])
        (tmp_path / name / "link").symlink_to(name)
        (tmp_path / name / f"only-{name}").touch()
    assert source_trees.differing_files(tmp_path / "one", tmp_path / "other") == (
        "link",
        "only-one",
        "only-other",
        "sub/changed",
    )


def locked(content: bytes, cache: Path) -> PackageSet:
    """Return the source of a library whose archive has this content, as `lock` looks it up."""
    store, digest = Store(cache / "store"), hashlib.sha256(content).hexdigest()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    with httpx.Client(transport=transport) as client:
        measure = partial(measure_download, client, store)
        unpack = partial(source_trees.tree, cache, store)
        return archive(
            measure, unpack, SourceRequest("archive", "https://h.example/lib.tgz", digest), None
        )


def nothing(*_: object) -> NoReturn:
    raise AssertionError


WHOLE = packed({"lib-1.0/a.c": "a" * 9000})


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[:-20],
        tar(entry("lib/a.c", content=b"a" * 9000))[:5000],
        b"",
        tar(),
        zipped(),
        b"<!DOCTYPE html><title>not found</title>" * 50,
        b"<html>",
        tar(link("lib/a", "../../etc/passwd")),
        tar(entry("../a")),
    ],
    ids=[
        "truncated",
        "truncated tar",
        "empty",
        "empty tar",
        "empty zip",
        "page",
        "short page",
        "link out",
        "path out",
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_not_locked(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(LookupFailed, match="cannot be unpacked") as caught:
        locked(content, tmp_path)
    assert "`https://h.example/lib.tgz`" in str(caught.value.hint)
    assert not [path for path in (tmp_path / "sources").iterdir() if path.is_dir()]


def test_the_files_of_an_archive_that_is_locked_are_there(tmp_path: Path) -> None:
    tree = source_trees.tree(tmp_path, Store(tmp_path / "gone"), locked(WHOLE, tmp_path))
    assert files_of(tree) == {"a.c": "a" * 9000}
