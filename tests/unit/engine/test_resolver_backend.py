from __future__ import annotations

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.loopback import Files, serving

from envmatrix.console import Console
from envmatrix.engine.resolver_backend import LocalBackend, check_architecture
from envmatrix.errors import Absent, LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.systems import SignedArchive
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher

STATUS = """\
Package: adduser
Architecture: all

Package: libc6
Status: install ok installed
Maintainer: Somebody
Architecture: {arch}
Multi-Arch: same
Description: C library
 of every program

Package: zlib1g
Architecture: {arch}
"""


def test_an_image_for_the_architecture_that_was_asked_for_is_taken() -> None:
    check_architecture("name@sha256:0", "arm64", STATUS.format(arch="arm64"))


def test_an_image_for_another_architecture_is_refused() -> None:
    with pytest.raises(LookupFailed) as caught:
        check_architecture("name@sha256:0", "arm64", STATUS.format(arch="amd64"))
    assert str(caught.value) == "the base `name@sha256:0` is for amd64, not for arm64"
    assert caught.value.hint is not None


def backend_with(directory: Path, keyring: Path) -> LocalBackend:
    """Return a backend on a machine that has that keyring of Ubuntu's archive, and no mirror."""
    facts = load_facts()
    ubuntu = replace(facts.distributions["ubuntu"], keyring=str(keyring))
    facts = replace(facts, distributions={**facts.distributions, "ubuntu": ubuntu})
    store, origins = Store(directory), Origins(directory / "config.toml", {}, directory, ("", ""))
    fetcher = Fetcher(store, origins, httpx.Client())
    return LocalBackend(directory, directory, fetcher, Console(), facts, "amd64")


def test_a_keyring_that_is_missing_is_told_with_the_package_that_has_it(tmp_path: Path) -> None:
    backend = backend_with(tmp_path, tmp_path / "none.gpg")
    with pytest.raises(LookupFailed, match=r"none\.gpg` is missing") as caught:
        backend.apt_of_host("noble", "arm64")
    assert caught.value.hint == "install the package `ubuntu-keyring`"


def test_a_mirror_is_needed_for_the_archive_that_is_read(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    backend = backend_with(tmp_path, keyring)
    with pytest.raises(LookupFailed, match="where the origin `ubuntu-ports` lives"):
        backend.apt_of_host("noble", "arm64")
    with pytest.raises(LookupFailed, match="where the origin `ubuntu` lives"):
        backend.apt_of_host("resolute", "arm64")


def test_a_key_that_a_repository_of_compilers_does_not_have_is_told(tmp_path: Path) -> None:
    with serving(Files.below(tmp_path)) as address:
        (tmp_path / "config.toml").write_text(f'[mirrors]\ncompilers-ours = "{address}"\n')
        backend = backend_with(tmp_path, tmp_path / "none.gpg")
        image, archive = "image", SignedArchive("compilers-ours", "ours", "ours.asc", "0" * 40)
        backend._images["base"] = image
        with pytest.raises(Absent, match=r"no server has `ours\.asc`") as caught:
            backend.manager_in_base("base", "noble", "amd64", archives=(archive,))
    assert "below the URL of [mirrors] compilers-ours" in str(caught.value.hint)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="there is no apt here")
def test_every_mirror_of_an_archive_is_tried_until_one_serves_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "apt.conf").write_text('Acquire::Retries "0";\n')  # between which apt waits
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    with socket.socket() as first, socket.socket() as second:
        for server in (first, second):
            server.bind(("127.0.0.1", 0))  # and nothing answers
        urls = [f"http://127.0.0.1:{server.getsockname()[1]}/ubuntu" for server in (first, second)]
        (tmp_path / "config.toml").write_text(f"[mirrors]\nubuntu = {json.dumps(urls)}\n")
        with pytest.raises(LookupFailed) as caught:
            backend_with(tmp_path, keyring).apt_of_host("noble", "amd64")
    assert f"`{urls[0]}` does not serve noble" in capsys.readouterr().err
    assert urls[1] in "".join(caught.value.details), "the last one's error is told"
