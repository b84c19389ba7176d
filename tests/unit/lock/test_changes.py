"""What differs between two locks."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes import artifact

from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.changes import LockChanges, lock_changes
from envmatrix.lock.model import Artifact, Lock, PackageSet, SourceRequest, SystemRequest

REQUEST = SystemRequest("apt", "amd64", "bookworm", (PackageSpec("a"),))
SOURCE = SourceRequest("git", "https://git.example/x", "main")


def lock(epoch: int = 1, **sets: tuple[Artifact, ...]) -> Lock:
    return Lock(epoch, {key: PackageSet(REQUEST, files) for key, files in sets.items()})


def lines(changes: LockChanges) -> list[str]:
    return [f"{change}: {', '.join(change.sets)}" for change in changes.packages]


def test_a_new_version_is_told_once_with_all_sets() -> None:
    before = lock(x=(artifact("a"), artifact("b")), y=(artifact("a"),), z=(artifact("a", "2.0"),))
    after = lock(x=(artifact("a", "2.0"), artifact("b")), y=(artifact("a", "2.0"),), z=())
    assert lines(lock_changes(before, after)) == ["a 1.0 -> 2.0: x, y", "-a 2.0: z"]


def test_new_packages_other_files_and_revisions_are_changes() -> None:
    other = replace(artifact("b"), sha256="f" * 64)
    before, after = lock(x=(artifact("b"),)), lock(x=(artifact("b"), artifact("c")))
    assert lines(lock_changes(before, after)) == ["+c 1.0: x"]
    assert lines(lock_changes(before, lock(x=(other,)))) == ["b 1.0: other files: x"]
    commits = [
        Lock(1, {"s": PackageSet(SOURCE, (), versions={"commit": commit})}) for commit in ("1", "2")
    ]
    assert lines(lock_changes(*commits)) == ["commit 1 -> 2: s"]


def test_sets_and_epochs_that_differ_are_told() -> None:
    changes = lock_changes(lock(x=(), y=()), lock(2, y=(), z=()))
    assert (changes.new_sets, changes.gone_sets, changes.epochs) == (("z",), ("x",), (1, 2))
    assert changes.packages == ()
    assert not lock_changes(lock(x=()), lock(x=()))
