"""What programs say of servers, in the words that they have for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.engine import image_store, resolver_backend
from envmatrix.errors import EngineError, LookupFailed
from envmatrix.machine.error_texts import refusal, refuses_user
from envmatrix.machine.remedies import JOIN_GROUP

SOCKET = (
    "permission denied while trying to connect to the Docker daemon socket at "
    "unix:///var/run/docker.sock: connect: permission denied"
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("E: Failed to fetch http://mirror.example/dists/x/InRelease  404  Not Found [IP: ::1]",
         "absent"),
        ("E: Failed to fetch http://mirror.example/dists/x/InRelease  410  Gone [IP: ::1]",
         "absent"),
        ("E: The repository 'http://mirror.example x Release' does not have a Release file.",
         "absent"),
        ("Status code: 404 for http://mirror.example/repodata/repomd.xml", "absent"),
        ("Error response from daemon: manifest for a/b:c not found: manifest unknown", "absent"),
        ('failed to resolve reference "docker.io/a/b:c": docker.io/a/b:c: not found', "absent"),
        ("a/b:c: failed to resolve source metadata for a/b:c: a/b:c: not found", "absent"),
        ("pull access denied for a/b, repository does not exist or may require 'docker login'",
         "login"),
        ("E: Failed to fetch http://127.0.0.1:1/x  Could not connect to 127.0.0.1:1",
         "unreachable"),
        ("Temporary failure resolving 'mirror.example'", "unreachable"),
        ("dial tcp: lookup registry.example: no such host", "unreachable"),
        ("dial tcp 192.0.2.1:443: i/o timeout", "unreachable"),
        ("E: Unable to locate package nothing", None),
        ("sh: 1: zypper: not found", None),
        ("Get:1 http://mirror.example x/main amd64 Packages [410 kB]", None),
        (SOCKET, None),
        ("500 Internal Server Error", None),
    ],
)  # fmt: skip
def test_what_a_program_says_of_a_server(text: str, kind: str | None) -> None:
    assert refusal(text) == kind


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        (SOCKET, True),
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", True),
        ("/var/run/docker.sock: [Errno 13] Permission denied", True),
        ("user@engine.example: Permission denied (publickey).", False),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", False),
    ],
)
def test_who_may_not_open_the_socket_is_known(text: str, is_refused: bool) -> None:
    assert refuses_user(text) == is_refused


def docker_that_says(message: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = directory / "docker"
    program.write_text(f'#!/bin/sh\necho "{message}" >&2; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")


def test_who_may_not_open_the_socket_is_told_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_that_says(SOCKET, tmp_path, monkeypatch)
    with pytest.raises(EngineError, match="no container engine answers") as caught:
        image_store.local_images(["a:b"])
    assert caught.value.hint == JOIN_GROUP
    with pytest.raises(LookupFailed) as caught_at_lock:
        resolver_backend.run_in_image("a:b", "amd64", "sh")
    assert caught_at_lock.value.hint == JOIN_GROUP


def test_an_engine_that_is_not_there_is_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_that_says("Cannot connect to the Docker daemon", tmp_path, monkeypatch)
    with pytest.raises(EngineError, match="no container engine answers") as caught:
        image_store.local_images(["a:b"])
    assert caught.value.hint == "set one up: `envmatrix doctor --fix`"
