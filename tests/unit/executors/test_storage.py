"""What jobs have stored in shared places, and its removal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from tests.servers import Server

from envmatrix.confined import Area
from envmatrix.errors import Absent, LookupFailed
from envmatrix.executors.outputs import (
    OUTPUTS,
    DirectoryOutputs,
    RegistryOutputs,
    keep_outputs,
)
from envmatrix.executors.storage import DirectoryStorage, RegistryStorage, StoredThing
from envmatrix.registry.manifests import MANIFEST, Manifest, canonical


@pytest.fixture
def build(tmp_path: Path) -> Area:
    (tmp_path / "build").mkdir()
    (tmp_path / "build/file").write_text("text")
    return Area(tmp_path / "build")


def test_outputs_in_a_directory_are_found_with_their_age_and_removed(
    tmp_path: Path, build: Area
) -> None:
    directory = tmp_path / "outputs"
    digest = keep_outputs(DirectoryOutputs(directory), build).removeprefix("sha256:")
    (directory / "notes").write_text("of somebody")
    file = directory / f"{digest}.outputs"
    os.utime(file, (1_700_000_000, 1_700_000_000))
    storage = DirectoryStorage(directory)
    assert storage.things() == [StoredThing(digest, file.stat().st_size, 1_700_000_000)]
    for _ in range(2):
        storage.remove(digest)
    assert [file.name for file in directory.iterdir()] == ["notes"]


def make_link(file: Path) -> None:
    (file.parent / "of somebody").write_text("text")
    file.symlink_to("of somebody")


def make_hard_link(file: Path) -> None:
    (file.parent / "of somebody").write_text("text")
    file.hardlink_to(file.parent / "of somebody")


# What others may have put where outputs would be.
OTHERS: Mapping[str, Callable[[Path], None]] = {
    "a link": make_link,
    "a hard link": make_hard_link,
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_regular_file_of_one_name_is_neither_outputs_nor_removed(
    tmp_path: Path, other: str
) -> None:
    file = tmp_path / f"{'0' * 64}.outputs"
    OTHERS[other](file)
    storage = DirectoryStorage(tmp_path)
    assert storage.things() == []
    storage.remove("0" * 64)
    assert os.path.lexists(file)
    outputs = DirectoryOutputs(tmp_path)
    with pytest.raises(Absent), outputs.read(f"sha256:{'0' * 64}"):
        pass


def test_files_that_others_name_by_their_sha256_are_no_outputs(tmp_path: Path) -> None:
    blob = tmp_path / ("0" * 64)
    blob.write_text("of an image")
    storage = DirectoryStorage(tmp_path)
    assert storage.things() == []
    storage.remove(blob.name)
    assert blob.exists()


def test_a_directory_that_does_not_exist_has_nothing(tmp_path: Path) -> None:
    assert DirectoryStorage(tmp_path / "none").things() == ()


def test_outputs_in_a_registry_are_found_with_their_age_and_removed(build: Area) -> None:
    other = Manifest(MANIFEST, canonical({"layers": []}))
    server = Server(manifests={"result-1": other})
    with server.client() as client:
        digest = keep_outputs(RegistryOutputs(client), build).removeprefix("sha256:")
        storage = RegistryStorage(client, OUTPUTS)
        (thing,) = storage.things()
        assert (thing.name, thing.size > 0) == (digest, True)
        assert abs(time.time() - thing.stored) < 60
        for _ in range(2):
            storage.remove(digest)
    assert [*server.manifests] == ["result-1"]


def test_a_registry_that_deletes_nothing_is_told_from_one_that_fails() -> None:
    status = 405

    def refuse(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(status) if request.method == "DELETE" else None

    manifest = Manifest(MANIFEST, canonical({"layers": []}))
    server = Server(refuse, manifests={"result-1": manifest})
    with server.client() as client:
        storage = RegistryStorage(client, "result-")
        with pytest.raises(LookupFailed, match="does not delete manifests"):
            storage.remove("1")
        status = 400
        with pytest.raises(LookupFailed, match="answers 400"):
            storage.remove("1")


def test_a_thing_without_its_time_is_an_error() -> None:
    manifest = Manifest(MANIFEST, canonical({"layers": []}))
    with (
        Server(manifests={"result-1": manifest}).client() as client,
        pytest.raises(LookupFailed, match="malformed"),
    ):
        RegistryStorage(client, "result-").things()
