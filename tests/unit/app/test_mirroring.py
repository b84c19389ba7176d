"""Copies of all files of a lock, made from another mirror."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import with_set
from tests.unit.app.conftest import CELL, ONE, repository

from envmatrix.app.mirroring import mirror_files
from envmatrix.app.workspace import Workspace
from envmatrix.console import Console
from envmatrix.engine.bases import adopt, base_identity
from envmatrix.errors import ConfigurationError
from envmatrix.lock.model import Artifact, Excerpt, ImageRequest, Lock, PackageSet, Range
from envmatrix.store.artifacts import Content, Store
from envmatrix.store.mirrors import DirectoryMirror

LAYER = bytes(1024)  # a tar of nothing
CONSOLE = Console(-1)


def content_of(item: Artifact) -> bytes:
    return f"{item.name} {item.version} {item.path}".encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def with_content(package_set: PackageSet) -> PackageSet:
    """Return a set whose files have content, and whose layer is `LAYER` if it has one."""
    artifacts = tuple(
        replace(item, sha256=sha256(content_of(item)), size=len(content_of(item)))
        for item in package_set.artifacts
    )
    diff_id = package_set.diff_id and f"sha256:{sha256(LAYER)}"
    return replace(package_set, artifacts=artifacts, diff_id=diff_id)


class Layers:
    """A mirror with the layer of every base."""

    def read(self, _: str) -> Iterator[bytes]:
        yield LAYER


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A repository whose files are in the user's mirror, and whose bases are in the cache."""
    cache, source = tmp_path / "cache", tmp_path / "source"
    monkeypatch.setenv("ENVMATRIX_CACHE", str(cache))
    monkeypatch.setenv("ENVMATRIX_MIRROR", str(source))
    workspace = repository(tmp_path / "repository", tmp_path / "scratch", ONE)
    sets = {key: with_content(row) for key, row in workspace.lock.sets.items()}
    for item in {item for row in sets.values() for item in row.artifacts}:
        put(source, item, content_of(item))
    for row in sets.values():
        if row.diff_id:
            adopt(Layers(), row, 1, cache / "bases" / base_identity(row, 1))
    return with_lock(workspace, Lock(1, sets))


def with_lock(workspace: Workspace, lock: Lock) -> Workspace:
    changed = Workspace(workspace.root)
    vars(changed)["lock"] = lock  # in place of the file's
    return changed


def put(directory: Path, item: Content, content: bytes) -> None:
    mirror, file = DirectoryMirror(Store(directory)), directory / "incoming"
    directory.mkdir(exist_ok=True)
    file.write_bytes(content)
    mirror.put(item, file)
    file.unlink(missing_ok=True)


def headers_of(workspace: Workspace) -> tuple[str, Artifact]:
    """Return the set with headers, and a file that no other set has."""
    key = next(key for key in workspace.lock.sets if "-pypi-devel-amd64" in key)
    artifacts = workspace.lock.sets[key].artifacts
    return key, next(item for item in artifacts if item.name == "nvidia-cuda-crt")


def test_files_and_layers_are_copied_once(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "target"
    first = mirror_files(workspace, [CELL], str(target), CONSOLE, dry_run=False)
    assert first["lacking"] == first["files"] > 0
    assert first["lacking_bytes"] == first["bytes"] > 0
    copies = [file for file in (target / "sha256").rglob("*") if file.is_file()]
    assert len(copies) == first["files"] + 1
    assert {sha256(file.read_bytes()) for file in copies} == {file.name for file in copies}
    assert sha256(LAYER) in {file.name for file in copies}
    again = mirror_files(workspace, [CELL], str(target), CONSOLE, dry_run=False)
    assert again == {**first, "lacking": 0, "lacking_bytes": 0}


def test_only_files_of_selected_cells_are_copied(workspace: Workspace, tmp_path: Path) -> None:
    one = mirror_files(workspace, [CELL], str(tmp_path / "target"), CONSOLE, dry_run=True)
    both = mirror_files(workspace, [], str(tmp_path / "target"), CONSOLE, dry_run=True)
    assert one["files"] < both["files"]
    assert not (tmp_path / "target").exists()


def test_ranges_are_copied_in_place_of_their_file(workspace: Workspace, tmp_path: Path) -> None:
    key, item = headers_of(workspace)
    part = Range(2, 5, sha256(content_of(item)[2:7]))
    target = Store(copy_with(workspace, key, excerpt_of(item, part), tmp_path / "target"))
    assert target.has(part)
    assert not target.has(item)


def test_a_file_is_copied_whole_if_it_does_not_have_its_ranges(
    workspace: Workspace, tmp_path: Path
) -> None:
    key, item = headers_of(workspace)
    part = Range(2, 5, sha256(b"other"))
    target = Store(copy_with(workspace, key, excerpt_of(item, part), tmp_path / "target"))
    assert target.has(item)
    assert not target.has(part)


def excerpt_of(item: Artifact, part: Range) -> Excerpt:
    return Excerpt(item, ("bin/*",), 1, sha256(b"excerpt"), (part,), ())


def copy_with(workspace: Workspace, key: str, excerpt: Excerpt, target: Path) -> Path:
    """Copy the files of a lock with an excerpt; return where to."""
    changed = replace(workspace.lock.sets[key], excerpts=(excerpt,))
    changed_workspace = with_lock(workspace, with_set(workspace.lock, key, changed))
    mirror_files(changed_workspace, [CELL], str(target), CONSOLE, dry_run=False)
    return target


def test_a_base_that_is_an_image_is_not_made_of_files(workspace: Workspace, tmp_path: Path) -> None:
    key = next(key for key, row in workspace.lock.sets.items() if row.diff_id)
    request = ImageRequest("amd64", "bookworm", "debian@sha256:1")
    image = with_lock(workspace, with_set(workspace.lock, key, PackageSet(request, ())))
    with pytest.raises(ConfigurationError, match="is the image `debian@sha256:1`"):
        mirror_files(image, [CELL], str(tmp_path / "target"), CONSOLE, dry_run=False)
