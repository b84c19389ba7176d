from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.fakes import Silent
from tests.servers import Server

from envmatrix.errors import Absent, ConfigurationError
from envmatrix.lock.model import Artifact
from envmatrix.machine.origins import Origins
from envmatrix.store import outages as outages_module
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher
from envmatrix.store.mirrors import (
    DirectoryMirror,
    OptionalMirror,
    RegistryMirror,
    mirror_of_user,
    open_mirror,
)
from envmatrix.store.outages import NoConnection, Outages

TEXT = b"the bytes of a package"
ITEM = Artifact("debian", "pool/a_1.deb", "a", "1", len(TEXT), hashlib.sha256(TEXT).hexdigest())

EMPTY = Artifact("debian", "pool/b_1.deb", "b", "1", 0, hashlib.sha256(b"").hexdigest())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a_1.deb"
    path.write_bytes(TEXT)
    return path


def test_a_directory_has_what_was_put_into_it(file: Path, tmp_path: Path) -> None:
    mirror = DirectoryMirror(Store(tmp_path / "mirror"))
    assert not mirror.has(ITEM)
    mirror.put(ITEM, file)
    assert mirror.has(ITEM)
    assert b"".join(mirror.read(ITEM.sha256)) == TEXT
    assert file.read_bytes() == TEXT


def test_a_copy_goes_on_where_the_last_one_was_killed(file: Path, tmp_path: Path) -> None:
    mirror = DirectoryMirror(Store(tmp_path / "mirror"))
    partial = tmp_path / "mirror/partial" / ITEM.sha256
    partial.parent.mkdir(parents=True)
    partial.write_bytes(TEXT[:3])
    mirror.put(ITEM, file)
    assert mirror.has(ITEM)


def test_a_directory_does_not_offer_a_damaged_file(file: Path, tmp_path: Path) -> None:
    mirror = DirectoryMirror(Store(tmp_path / "mirror"))
    mirror.put(ITEM, file)
    (path,) = (tmp_path / "mirror/sha256").glob("*/*")
    path.chmod(0o644)
    path.write_bytes(TEXT.swapcase())
    assert not mirror.has(ITEM)


def test_what_a_directory_lacks_is_absent(tmp_path: Path) -> None:
    with pytest.raises(Absent, match="does not have it"):
        next(DirectoryMirror(Store(tmp_path)).read(ITEM.sha256))


def no_prefix_directory(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"")


OTHER_KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "link-to-itself": lambda path: path.symlink_to(path.name),
    "link-to-nothing": lambda path: path.symlink_to("nothing"),
    "link-to-a-device": lambda path: path.symlink_to("/dev/zero"),
    "no-prefix-directory": no_prefix_directory,
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("item", [ITEM, EMPTY], ids=["file", "empty-file"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_directory_does_not_have_what_is_no_file(
    kind: str, item: Artifact, tmp_path: Path
) -> None:
    mirror = DirectoryMirror(Store(tmp_path))
    path = mirror.store.path(item)
    path.parent.mkdir(parents=True)
    OTHER_KINDS[kind](path)
    assert not mirror.has(item)
    with pytest.raises(Absent, match=r"does not have it|has no readable file"):
        next(mirror.read(item.sha256))
    assert os.path.lexists(path) or kind == "no-prefix-directory"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_server_is_asked_if_a_directory_has_no_file(kind: str, tmp_path: Path) -> None:
    mirror = DirectoryMirror(Store(tmp_path / "mirror"))
    path = mirror.store.path(ITEM)
    path.parent.mkdir(parents=True)
    OTHER_KINDS[kind](path)
    (tmp_path / "config.toml").write_text('[mirrors]\ndebian = ["http://mirror.example"]\n')
    origins = Origins(tmp_path / "config.toml", {}, tmp_path, ("", ""))
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=TEXT))
    store = Store(tmp_path / "store")
    with httpx.Client(transport=answer) as client:
        Fetcher(store, origins, client, mirror=mirror).fetch([ITEM], Silent())
    assert store.verified(ITEM)


def test_a_directory_does_not_have_what_it_may_not_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    mirror = DirectoryMirror(Store(tmp_path / "mirror"))
    mirror.put(ITEM, file)
    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    assert not mirror.has(ITEM)
    with pytest.raises(Absent, match="permission denied"):
        next(mirror.read(ITEM.sha256))


def test_a_registry_has_files_as_blobs_and_a_manifest_that_names_them(file: Path) -> None:
    server = Server()
    with server.client() as registry:
        mirror = RegistryMirror(registry)
        assert not mirror.has(ITEM)
        mirror.put(ITEM, file)
        assert mirror.has(ITEM)
        assert b"".join(mirror.read(ITEM.sha256)) == TEXT
        mirror.name([ITEM])
    (tag,) = (name for name in server.manifests if name.startswith("files-"))
    (layer,) = json.loads(server.manifests[tag].content)["layers"]
    assert layer["digest"] == f"sha256:{ITEM.sha256}"
    assert layer["annotations"] == {"org.opencontainers.image.title": "a_1.deb"}


def test_the_manifest_of_files_does_not_depend_on_their_order() -> None:
    other = Artifact("debian", "pool/b_1.deb", "b", "1", 1, "0" * 64)
    server = Server()
    with server.client() as registry:
        RegistryMirror(registry).name([ITEM, other])
        RegistryMirror(registry).name([other, ITEM])
    assert len([name for name in server.manifests if name.startswith("files-")]) == 1


def test_a_registry_without_a_repository_is_no_mirror() -> None:
    with (
        pytest.raises(ConfigurationError, match="names no repository"),
        open_mirror("oci://registry.example"),
    ):
        pass


@pytest.mark.parametrize("location", ["", "s3://bucket/x", "http://x", "OCI://h/x"])
def test_what_is_neither_a_directory_nor_a_registry_is_no_mirror(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(ConfigurationError, match="neither a directory nor `oci://`"),
        open_mirror(location),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", ""), ("link", ""), ("file/below/it", ": `{}/file` is none")],
)
def test_a_mirror_has_to_be_a_directory(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(ConfigurationError) as caught, open_mirror(f"{tmp_path}/{name}"):
        pass
    message = f"the mirror `{tmp_path}/{name}` is no directory{reason.format(tmp_path)}"
    assert str(caught.value.problems[0]) == message


def test_a_directory_that_does_not_exist_becomes_a_mirror(file: Path, tmp_path: Path) -> None:
    with open_mirror(str(tmp_path / "a/b")) as mirror:
        mirror.put(ITEM, file)
        assert mirror.has(ITEM)


def test_the_environment_names_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVMATRIX_MIRROR", str(tmp_path))
    outages = Outages()
    with mirror_of_user(outages) as mirror:
        assert mirror == OptionalMirror(DirectoryMirror(Store(tmp_path)), str(tmp_path), outages)


def test_a_registry_that_cannot_be_reached_is_told_once_and_not_tried_again() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    server, warnings = Server(refuse), list[str]()
    with server.client(is_optional=True) as registry:
        location = "oci://user:secret@registry.example/team/images"
        mirror = OptionalMirror(RegistryMirror(registry), location, Outages(warnings.append))
        for _ in range(2):
            with pytest.raises(NoConnection, match="refused"):
                next(mirror.read(ITEM.sha256))
    assert len(server.requests) == 1
    assert server.pauses == []
    (warning,) = warnings
    assert "registry.example/team/images` cannot be reached (refused)" in warning
    assert "secret" not in warning


def test_an_outage_lasts_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages_module, "_OF_PROCESS", {})
    Outages.of_process(print).errors["oci://registry.example/x"] = httpx.ConnectError("refused")
    with (
        pytest.raises(NoConnection),
        Outages.of_process(print).reaching("oci://registry.example/x"),
    ):
        pytest.fail("it is tried again")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("absent", "is no directory"),
        ("file", "is no directory"),
        ("s3://bucket/x", "is neither a directory nor `oci://`"),
        ("oci://registry.example", "names no repository"),
    ],
)
def test_the_error_of_a_mirror_of_the_environment_says_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENVMATRIX_MIRROR", location)
    with (
        pytest.raises(ConfigurationError, match=message) as caught,
        mirror_of_user(Outages()),
    ):
        pass
    hint = str(caught.value.problems[0].hint)
    assert hint.startswith("write a directory, or `oci://registry.example/team/files`, in $ENV")


def test_without_a_mirror_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENVMATRIX_MIRROR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with mirror_of_user(Outages()) as mirror:
        assert mirror is None
