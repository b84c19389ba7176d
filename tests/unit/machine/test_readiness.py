from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from envmatrix.machine.readiness import is_ready, note_ready


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[list[bytes]]:
    """A fake of an engine that gives these answers to pings."""
    answers = [b"HTTP/1.0 200 OK\r\n\r\nOK"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "engine"))
        server.listen()

        def answer() -> None:
            with suppress(OSError):  # the test is over
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):  # the client does not wait
                        connection.recv(1024)
                        connection.sendall(answers[0])

        thread = threading.Thread(target=answer)
        thread.start()
        yield answers
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine")


@pytest.mark.usefixtures("engine")
def test_a_machine_is_ready_after_nothing_was_missing() -> None:
    assert not is_ready()
    note_ready()
    assert is_ready()


@pytest.mark.usefixtures("engine")
def test_a_change_of_the_environment_or_of_a_file_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_ready()
    monkeypatch.setenv("PATH", "/nowhere")
    assert not is_ready()
    note_ready()
    (tmp_path / "config.json").write_text("{}")
    assert not is_ready()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 500 Internal Server Error\r\n\r\n"])
def test_an_engine_that_does_not_answer_is_looked_at(engine: list[bytes], answer: bytes) -> None:
    note_ready()
    engine[0] = answer
    assert not is_ready()


def test_a_missing_engine_is_looked_at() -> None:
    note_ready()
    assert not is_ready()


def test_an_engine_elsewhere_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://far.example")
    note_ready()
    assert is_ready()
