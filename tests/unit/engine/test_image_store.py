from __future__ import annotations

import json
import threading
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from tests.docker_api import DockerApi, Failure, at_socket

from envmatrix.console import Console
from envmatrix.engine import image_store
from envmatrix.engine.image_store import architecture, digest, local_images, locked
from envmatrix.errors import EngineError
from envmatrix.plan.actions import Local

ELSEWHERE = "tcp://engine.example:2376"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a program `docker` whose output is in the file `stdout`, and its errors in
    `stderr`; with errors it fails."""
    program = tmp_path / "docker"
    program.write_text(
        '#!/bin/sh\ncd "${0%/*}"; echo "$@" >> calls; cat stdout; cat stderr >&2; [ ! -s stderr ]\n'
    )
    program.chmod(0o755)
    (tmp_path / "stdout").touch()
    (tmp_path / "stderr").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DOCKER_HOST", ELSEWHERE)
    return tmp_path


def test_images_are_known_by_all_their_names(docker: Path) -> None:
    row = [["a:1", "a:2"], "sha256:1", {"label": "x"}]
    (docker / "stdout").write_text(json.dumps(row) + "\n")
    image = Local("sha256:1", {"label": "x"})
    assert local_images(["a:1"]) == {"a:1": image, "a:2": image}


def test_images_of_an_engine_on_this_machine_are_known_without_a_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = {"Id": "sha256:1", "RepoTags": ["a:1", "a:2"], "Config": {"Labels": {"label": "x"}}}
    answers = {"GET /images/a:1/json": image, "GET /images/b:1/json": Failure(404)}
    monkeypatch.setenv("PATH", "/nowhere")
    with at_socket(DockerApi(answers)) as path:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        local = Local("sha256:1", {"label": "x"})
        assert local_images(["a:1", "b:1"]) == {"a:1": local, "a:2": local}


def test_an_image_without_names_and_labels_is_no_error(docker: Path) -> None:
    (docker / "stdout").write_text('[null, "sha256:1", null]\n')
    assert local_images(["a:1"]) == {}


def test_what_the_engine_lacks_is_left_out(docker: Path) -> None:
    (docker / "stderr").write_text("Error response from daemon: No such image: a:1\n")
    assert local_images(["a:1"]) == {}


def test_any_other_error_is_one(docker: Path) -> None:
    (docker / "stderr").write_text("No such image: a:1\nCannot connect to the Docker daemon\n")
    with pytest.raises(EngineError, match="Cannot connect"):
        local_images(["a:1"])


def test_a_program_that_waits_for_an_engine_is_ended(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docker / "docker").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(image_store, "ANSWER_SECONDS", 0.1)
    with pytest.raises(EngineError, match=f"no container engine answers: {ELSEWHERE}: .*no answer"):
        local_images(["a:1"])


def test_no_program_is_started_for_no_images(docker: Path) -> None:
    assert local_images([]) == {}
    assert not (docker / "calls").exists()


def test_many_images_are_inspected_by_few_programs(docker: Path) -> None:
    local_images([f"a:{number}" for number in range(100)])
    calls = (docker / "calls").read_text().splitlines()
    assert len(calls) == 4
    assert sum(len(call.split("a:")) - 1 for call in calls) == 100


def test_thousands_of_images_are_few_requests(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"Id": "sha256:1", "RepoTags": ["a:1", "a:2"], "Labels": {"label": "x"}},
        {"Id": "sha256:2", "RepoTags": None, "Labels": None},
    ]
    api = DockerApi({"GET /images/json": rows})
    client = api.client()
    monkeypatch.setattr("docker.DockerClient", lambda **_: client)
    by_digest = "b@sha256:3"
    image = Local("sha256:1", {"label": "x"})
    names = [f"a:{number}" for number in range(2500)]
    assert local_images([*names, by_digest]) == {"a:1": image, "a:2": image}
    filters = [json.loads(parse_qs(request.query)["filters"][0]) for request in api.requests]
    assert [len(row["reference"]) for row in filters] == [1000, 1000, 500]
    assert (docker / "calls").read_text().count(by_digest) == 1
    assert "a:" not in (docker / "calls").read_text()


def test_a_missing_program_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", ELSEWHERE)
    with pytest.raises(EngineError, match="`docker` is missing"):
        local_images(["a:1"])


def test_the_digest_is_the_id_of_an_image_that_exists() -> None:
    missing = Failure(404, "No such image: a:2")
    api = DockerApi({"GET /images/a:1/json": {"Id": "sha256:1"}, "GET /images/a:2/json": missing})
    client = api.client()
    assert digest(client, "a:1") == "sha256:1"
    assert digest(client, "a:2") is None


def test_the_architecture_is_that_of_the_engine() -> None:
    assert architecture(DockerApi({"GET /version": {"Arch": "arm64"}}).client()) == "arm64"


def test_an_image_gets_an_additional_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tag = "POST /images/a:1/tag"
    api = DockerApi({"GET /images/a:1/json": {"Id": "a:1"}, tag: {}})
    client = api.client()
    monkeypatch.setattr("docker.DockerClient", lambda **_: client)
    image_store.name({"a:1": "registry.example:5000/a:2"})
    (request,) = (request for request in api.requests if request.action == tag)
    assert request.query == "tag=2&repo=registry.example%3A5000%2Fa&force=0"


def test_whoever_waits_for_an_image_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, waiting = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path, "a:1", "a", Console()):
            first.set()
            assert waiting.wait(10)

    class SignallingConsole(Console):
        def say(self, message: str) -> None:
            super().say(message)
            waiting.set()

    holder = threading.Thread(target=hold)
    holder.start()
    assert first.wait(10)
    with locked(tmp_path, "a:1", "a", SignallingConsole()):
        pass
    holder.join()
    assert capsys.readouterr().err == "waiting  a: another process is at it\n"
