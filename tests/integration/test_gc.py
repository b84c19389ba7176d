"""Housekeeping, in an engine and a cache of its own."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from tests.engines import Engine
from tests.integration.conftest import ENVIRONMENT, Checkout
from tests.repositories import committed

from envmatrix.lock import lock_file
from envmatrix.lock.model import Artifact
from envmatrix.plan.actions import FINGERPRINT_LABEL
from envmatrix.plan.garbage import GRACE_SECONDS
from envmatrix.store.image_records import ImageRecords

LONG_AGO = time.time() - 2 * GRACE_SECONDS


def age(directory: Path) -> None:
    for path in directory.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def package_of(root: Path) -> Artifact:
    """Return a package that is of no base: those cannot be changed by hand."""
    return lock_file.load(root).sets["debian12-amd64-runtime"].artifacts[0]


def own_cache(checkout: Checkout, other: Engine, cache: Path) -> None:
    """Have another engine, and a cache without a file."""
    checkout.variables |= {"DOCKER_HOST": other.address, "ENVMATRIX_CACHE": str(cache)}


def add_old_files(checkout: Checkout) -> None:
    """Have a file of the lock and one of no lock in the cache, in which all is old."""
    cache = Path(checkout.variables["ENVMATRIX_CACHE"])
    for sha256 in (package_of(checkout.root).sha256, "f" * 64):
        file = cache / "artifacts/sha256" / sha256[:2] / sha256
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 1000)
    age(cache)


@pytest.fixture
def used(checkout: Checkout, other: Engine, registry: str, tmp_path: Path) -> Checkout:
    """A checkout that has pulled its images, with an old image and old files beside them."""
    checkout.use(f"{registry}/collected")
    checkout.run("push")
    own_cache(checkout, other, tmp_path / "cache")
    with other.reaching(int(registry.rpartition(":")[2])):
        checkout.run("pull")
    add_old_files(checkout)
    return checkout


@pytest.fixture
def recorded(checkout: Checkout, other: Engine, tmp_path: Path) -> Checkout:
    """A checkout that the cache has on record, with old files, and without images."""
    own_cache(checkout, other, tmp_path / "cache")
    checkout.run("lock")
    add_old_files(checkout)
    return checkout


def make(other: Engine, name: str, *labels: str) -> None:
    arguments = [word for label in labels for word in ("--label", label)]
    other.run("build", "--tag", name, *arguments, str(_context(other)))


def _context(other: Engine) -> Path:
    directory = other.home / "context"
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    return directory


def test_only_what_no_lock_needs_goes(used: Checkout, other: Engine) -> None:
    cache = Path(used.variables["ENVMATRIX_CACHE"])
    old, of_others = (f"envmatrix/{ENVIRONMENT}:runtime-amd64-{digit * 12}" for digit in "01")
    make(other, old, f"{FINGERPRINT_LABEL}={'0' * 64}")
    image_id = other.run("image", "inspect", "--format={{.Id}}", old).stdout.strip()
    ImageRecords(cache).note("0" * 64, image_id, is_ours=True)
    make(other, of_others, f"{FINGERPRINT_LABEL}={'1' * 64}")
    make(other, "somebody/else:1", f"{FINGERPRINT_LABEL}={'0' * 64}", "other=1")
    before = set(other.run("image", "ls", "--format={{.Repository}}:{{.Tag}}").stdout.split())

    assert "add `--yes`" in used.run("gc", expect=2).stderr
    rows = json.loads(used.run("gc", "--dry-run", "--json").stdout)
    assert [row["kind"] for row in rows] == ["artifact", "image"]
    used.run("gc", "--yes")

    assert not (cache / "artifacts/sha256/ff" / ("f" * 64)).exists()
    assert len([path for path in (cache / "artifacts/sha256").rglob("*") if path.is_file()]) == 1
    after = set(other.run("image", "ls", "--format={{.Repository}}:{{.Tag}}").stdout.split())
    assert after == before - {old}
    assert set(used.actions().values()) == {"reuse"}


def test_a_cache_that_is_new_or_deleted_says_nothing_of_what_others_need(
    used: Checkout, other: Engine, tmp_path: Path
) -> None:
    """Keep images that were made with another cache, and all where no user is known."""
    images = other.run("image", "ls", "--quiet").stdout
    for cache in (tmp_path / "new", tmp_path / "cache"):
        used.variables["ENVMATRIX_CACHE"] = str(cache)
        shutil.rmtree(cache, ignore_errors=True)
        done = used.run("gc", "--dry-run", "--json")
        assert json.loads(done.stdout) == []
        assert "does not know which repositories" in done.stderr
        used.run("gc", "--yes")
    assert other.run("image", "ls", "--quiet").stdout == images


def test_an_image_that_is_derived_from_one_is_replaced_and_never_reused(
    used: Checkout, other: Engine, registry: str
) -> None:
    """A derived image inherits the labels that say what it was made of."""
    (name, *_) = (row["image"] for row in json.loads(used.run("plan", "--json").stdout))
    before = other.run("image", "inspect", "--format={{.Id}}", name).stdout
    directory = other.home / "derived"
    directory.mkdir()
    (directory / "Dockerfile").write_text(f"FROM {name}\nENV LD_PRELOAD=/tmp/other.so\n")
    for tag in (name, name.rpartition("-")[0]):
        other.run("build", "--tag", tag, str(directory))
    assert other.run("image", "inspect", "--format={{.Id}}", name).stdout != before

    with other.reaching(int(registry.rpartition(":")[2])):
        (row, *_) = json.loads(used.run("plan", "--json").stdout)
        assert row["action"] == "pull"
        assert "the engine has one that was not made from here" in row["reason"]
        used.run("build")

    assert other.run("image", "inspect", "--format={{.Id}}", name).stdout == before
    assert set(used.actions().values()) == {"reuse"}


def test_what_a_revision_or_another_checkout_needs_is_kept(recorded: Checkout) -> None:
    committed(recorded.root)
    lock = recorded.root / "matrix.lock.json"
    item = package_of(recorded.root)
    lock.write_text(lock.read_text().replace(item.sha256, item.sha256[:12] + "0" * 52))

    def goes(*arguments: str) -> list[str]:
        rows = json.loads(recorded.run("gc", "--dry-run", "--json", *arguments).stdout)
        return sorted(Path(row["names"][0]).name for row in rows if row["kind"] == "artifact")

    assert goes() == sorted([item.sha256, "f" * 64])
    assert goes("--keep", "HEAD") == ["f" * 64]
    assert "cannot be read" in recorded.run("gc", "--keep", "nothing", expect=2).stderr
    lock.write_text("{")
    assert "nothing is removed" in recorded.run("gc", "--yes", expect=1).stderr


def test_what_noxw_installed_for_repositories_that_are_gone_goes(
    recorded: Checkout, tmp_path: Path
) -> None:
    cache = Path(recorded.variables["ENVMATRIX_CACHE"])
    for name, root in (("gone", tmp_path / "gone"), ("here", recorded.root)):
        (cache / f"venv-{name}").mkdir()
        (cache / f"venv-{name}/.ready").write_text(f"{root}\n")
    age(cache)
    recorded.run("gc", "--yes")
    assert [path.name for path in cache.glob("venv-*")] == ["venv-here"]
