"""Requests to a container engine, at its socket and by the connection of docker-py's client."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.docker_api import DockerApi, Failure, at_socket
from tests.loopback import Handler, listening

from envmatrix.engine.docker_client import engine_of, open_engine
from envmatrix.engine.engine_api import (
    Engine,
    NameConflict,
    Request,
    RequestFailed,
    StoredImage,
    _frames,
    engine_at,
    local_socket,
)
from envmatrix.errors import EngineError


@pytest.fixture(params=["socket", "client"])
def engine_with(request: pytest.FixtureRequest) -> Iterator[Callable[[DockerApi], Engine]]:
    """A function that returns an engine that answers as an API does, in each way to reach it."""
    with ExitStack() as engines:

        def reach(api: DockerApi) -> Engine:
            if request.param == "client":
                return engine_of(api.client())
            return engine_at(engines.enter_context(at_socket(api)))

        yield reach


Reach = Callable[[DockerApi], Engine]


def test_what_the_engine_says_of_an_image_is_returned(engine_with: Reach) -> None:
    config = {"Labels": {"label": "x"}}
    answer = {"Id": "sha256:1", "RepoTags": ["a:1"], "Config": config}
    api = DockerApi({"GET /images/a:1/json": answer})
    assert engine_with(api).image("a:1") == StoredImage("sha256:1", ("a:1",), {"label": "x"})


def test_an_image_that_does_not_exist_is_none(engine_with: Reach) -> None:
    api = DockerApi({"GET /images/a:1/json": Failure(404, "No such image")})
    assert engine_with(api).image("a:1") is None


def test_a_refusal_has_the_words_of_the_engine_and_its_status(engine_with: Reach) -> None:
    api = DockerApi({"POST /containers/a/start": Failure(400, "no such program")})
    with pytest.raises(RequestFailed, match=r"^no such program$") as caught:
        engine_with(api).start("a")
    assert caught.value.status == 400


def test_a_container_is_created_as_described(engine_with: Reach) -> None:
    api = DockerApi({"POST /containers/create": {"Id": "c1"}})
    engine_with(api).create("a", {"Image": "image"}, "linux/amd64")
    (request,) = api.requests
    assert request.body == {"Image": "image"}
    assert parse_qs(request.query) == {"name": ["a"], "platform": ["linux/amd64"]}


@pytest.mark.parametrize(("status", "error"), [(409, NameConflict), (404, EngineError)])
def test_whether_another_container_has_the_name_is_told_from_other_errors(
    engine_with: Reach, status: int, error: type[EngineError]
) -> None:
    api = DockerApi({"POST /containers/create": Failure(status, "reason")})
    with pytest.raises(EngineError, match="no container of `image` can be made: reason") as caught:
        engine_with(api).create("a", {"Image": "image"}, "linux/amd64")
    assert type(caught.value) is error


def test_the_status_of_a_container_is_waited_for(engine_with: Reach) -> None:
    api = DockerApi({"POST /containers/a/wait": {"StatusCode": 3}})
    assert engine_with(api).wait("a") == 3


def test_containers_are_listed_by_label_and_name(engine_with: Reach) -> None:
    api = DockerApi({"GET /containers/json": [{"Id": "c1", "Labels": {"of": "x"}}]})
    assert engine_with(api).containers("of", name="a") == {"c1": "x"}
    query = parse_qs(api.requests[0].query)
    assert json.loads(query["filters"][0]) == {"label": ["of"], "name": ["a"]}
    assert query["all"] == ["1"]


def test_a_container_that_is_gone_or_an_engine_that_is_gone_need_no_removal(
    engine_with: Reach,
) -> None:
    api = DockerApi({"DELETE /containers/a": Failure(404)})
    engine_with(api).remove("a")
    assert api.requests[0].query == "force=1"
    engine_at("/nowhere/socket").remove("a")


def test_output_is_split_by_stream(engine_with: Reach) -> None:
    engine = engine_with(DockerApi({"POST /containers/a/attach": frame(0, b"a") + frame(1, b"b")}))
    with engine.attach("a") as output:
        assert [*output] == [(0, b"a"), (1, b"b")]


def test_output_that_the_engine_keeps_is_followed(engine_with: Reach) -> None:
    api = DockerApi({"GET /containers/a/logs": frame(0, b"a") + frame(1, b"b")})
    with engine_with(api).follow("a") as output:
        assert [*output] == [(0, b"a"), (1, b"b")]
    assert parse_qs(api.requests[0].query)["follow"] == ["1"]


def test_output_of_a_container_that_is_gone_is_an_error(engine_with: Reach) -> None:
    engine = engine_with(
        DockerApi({"POST /containers/a/attach": Failure(404, "No such container")})
    )
    with pytest.raises(RequestFailed, match="No such container"), engine.attach("a"):
        pass


def test_an_engine_that_does_not_answer_is_an_error_with_a_hint() -> None:
    with pytest.raises(RequestFailed, match="no container engine answers: /nowhere/s: ") as caught:
        engine_at("/nowhere/s").wait("a")
    assert "envmatrix doctor" in str(caught.value.hint)


def test_an_engine_that_goes_away_before_it_answers_is_an_error() -> None:
    class Gone(Handler):
        def handle(self) -> None:
            self.rfile.readline()

    with listening(Gone) as path, pytest.raises(RequestFailed, match="went away") as caught:
        engine_at(path).start("a")
    assert path in caught.value.message


@pytest.mark.parametrize("start", ["", '{"StatusCode":'])
def test_an_engine_that_goes_away_amid_a_document_is_an_error(start: str) -> None:
    class Short(Handler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(f"HTTP/1.0 200 OK\r\n\r\n{start}".encode())

    with listening(Short) as path, pytest.raises(RequestFailed, match="went away amid"):
        engine_at(path).wait("a")


def test_an_engine_that_is_silent_for_too_long_is_an_error() -> None:
    with silent_engine() as path:
        impatient = with_limits(engine_at(path), silence=0.01)
        with pytest.raises(RequestFailed, match="does not answer: timed out"):
            impatient.start("a")


@contextmanager
def silent_engine() -> Iterator[str]:
    """Yield the socket of an engine that accepts requests and does not answer."""
    is_over = threading.Event()

    class Silent(Handler):
        def handle(self) -> None:
            assert is_over.wait(10)

    with listening(Silent) as path:
        try:
            yield path
        finally:
            is_over.set()


def with_limits(engine: Engine, **limits: Any) -> Engine:
    """Return an engine whose requests have these limits instead of their own."""
    return Engine(lambda request: engine._send(replace(request, **limits)), engine._address)


def test_what_an_engine_answers_at_once_has_a_short_limit_and_a_wait_has_none() -> None:
    requests: list[Request] = []

    @contextmanager
    def send(request: Request) -> Iterator[Chunks]:
        requests.append(request)
        raise RequestFailed("it was asked")
        yield

    engine = Engine(send, "/socket")
    look_ups = (
        lambda: engine.image("a"),
        lambda: engine.state("a"),
        lambda: engine.containers("a"),
        engine.info,
        engine.architecture,
        lambda: engine.wait("a"),
    )
    for look_up in look_ups:
        with pytest.raises(RequestFailed, match="it was asked"):
            look_up()
    assert [request.limit for request in requests] == [*[60] * 5, None]
    assert requests[-1].silence is None


def test_an_engine_that_does_not_answer_in_time_is_named_with_a_next_step() -> None:
    with silent_engine() as path, pytest.raises(RequestFailed, match="does not answer") as caught:
        with_limits(engine_at(path), limit=0.05).image("a")
    assert path in caught.value.message
    assert "`envmatrix doctor`" in str(caught.value.hint)


def test_headers_count_towards_the_limit_of_an_answer() -> None:
    is_over = threading.Event()

    class Endless(Handler):
        def handle(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while not is_over.wait(0.02):
                self.wfile.write(b"A: b\r\n")

    with listening(Endless) as path:
        with pytest.raises(RequestFailed, match="no whole answer"):
            with_limits(engine_at(path), limit=0.1).image("a")
        is_over.set()


def test_headers_without_an_end_are_no_answer() -> None:
    class Endless(Handler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"A: b\r\n" * 1000)

    with listening(Endless) as path, pytest.raises(RequestFailed, match="no end of its headers"):
        engine_at(path).start("a")


def test_an_engine_that_fails_is_named_with_a_next_step(engine_with: Reach) -> None:
    engine = engine_with(DockerApi({"GET /images/a/json": Failure(500, "no space")}))
    with pytest.raises(RequestFailed, match=r"^the engine at `.*` failed: no space$") as caught:
        engine.image("a")
    assert caught.value.status == 500
    assert "`envmatrix doctor`" in str(caught.value.hint)


NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "answer",
    [
        *(b'"text"', b"null", b"{}", b"[]", b"0", b"5" * 5000, b'{"Id": 1}', b"\xff", NESTED),
        b'{"Id": "a", "RepoTags": "a:1"}',
        b'{"Id": "a", "RepoTags": [1]}',
        b'{"Id": "a", "Config": []}',
        b'{"Id": "a", "Config": {"Labels": "x"}}',
    ],
)
def test_an_image_of_another_form_is_an_error_and_not_missing(
    engine_with: Reach, answer: bytes
) -> None:
    with pytest.raises(RequestFailed, match="as a container engine"):
        engine_with(DockerApi({"GET /images/a/json": answer})).image("a")


@pytest.mark.parametrize("answer", [b'"text"', b"null", b"[1]", b'[{"Id": 1}]', NESTED])
def test_other_answers_of_another_form_are_errors(engine_with: Reach, answer: bytes) -> None:
    paths = ("images/json", "containers/json", "containers/a/json", "version")
    api = DockerApi({f"GET /{path}": answer for path in (*paths, "info")})
    engine = engine_with(DockerApi({**api.answers, "POST /containers/a/wait": answer}))
    requests = (
        *(lambda: engine.images(["a"]), lambda: engine.containers("of"), engine.architecture),
        *(lambda: engine.state("a"), lambda: engine.wait("a"), engine.info),
    )
    for request in requests:
        with pytest.raises(RequestFailed, match="as a container engine"):
            request()


@pytest.mark.parametrize("status", [b"5" * 5000, b"20", b"2000", "²00".encode(), b""])
def test_a_status_that_is_none_is_no_answer(status: bytes) -> None:
    class Odd(Handler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.0 " + status + b" OK\r\n\r\n{}")

    with listening(Odd) as path, pytest.raises(RequestFailed, match="there was no answer"):
        engine_at(path).image("a")


@pytest.mark.parametrize("content", [b'"text"', NESTED])
def test_a_refusal_of_another_form_is_one(engine_with: Reach, content: bytes) -> None:
    class Refusing(DockerApi):
        def answer(self, *_: object) -> tuple[int, bytes]:
            return 400, content

    with pytest.raises(RequestFailed) as caught:
        engine_with(Refusing({})).start("a")
    assert caught.value.status == 400


def test_the_engine_is_reached_without_docker_py_at_a_local_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening(Handler) as path:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        monkeypatch.setattr("docker.DockerClient", lambda **_: pytest.fail("it was made"))
        with open_engine():
            pass


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({}, "/var/run/docker.sock"),
        ({"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, "/run/user/1000/docker.sock"),
        ({"DOCKER_HOST": "unix:///a", "DOCKER_CONTEXT": "far"}, "/a"),
        ({"DOCKER_HOST": "tcp://engine.example:2376"}, None),
        ({"DOCKER_HOST": "ssh://user@engine.example"}, None),
        ({"DOCKER_HOST": "unix://"}, None),
        ({"DOCKER_CONTEXT": "default"}, "/var/run/docker.sock"),
        ({"DOCKER_CONTEXT": "far"}, None),
    ],
)
def test_the_socket_is_that_of_dockers_client_unless_it_is_elsewhere(
    tmp_path: Path, environment: Mapping[str, str], path: str | None
) -> None:
    assert local_socket({"DOCKER_CONFIG": str(tmp_path), **environment}) == path


@pytest.mark.parametrize(
    ("configuration", "path"),
    [
        ("{}", "/var/run/docker.sock"),
        ('{"currentContext": "default"}', "/var/run/docker.sock"),
        ('{"currentContext": "far"}', None),
        ("not JSON", None),
        ("[]", None),
    ],
)
def test_the_context_of_the_configuration_counts(
    tmp_path: Path, configuration: str, path: str | None
) -> None:
    (tmp_path / "config.json").write_text(configuration)
    assert local_socket({"DOCKER_CONFIG": str(tmp_path)}) == path


class Chunks:
    """A response that comes in chunks."""

    status = 200

    def __init__(self, content: bytes, size: int) -> None:
        self._chunks = [content[start : start + size] for start in range(0, len(content), size)]

    def read(self) -> bytes:
        raise AssertionError("it is read as it comes")

    def read1(self, _size: int, /) -> bytes:
        return self._chunks.pop(0) if self._chunks else b""


def frame(stream: int, content: bytes) -> bytes:
    return struct.pack(">BxxxL", stream + 1, len(content)) + content


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000])
def test_frames_of_a_log_are_read_from_chunks_of_any_size(size: int) -> None:
    content = frame(0, b"a\n") + frame(0, b"") + frame(1, b"b" * 20) + frame(0, b"\xff")
    output = [*_frames(Chunks(content, size), "/socket")]
    assert b"".join(piece for stream, piece in output if stream == 0) == b"a\n\xff"
    assert b"".join(piece for stream, piece in output if stream == 1) == b"b" * 20


def test_frames_that_come_together_are_one() -> None:
    content = b"".join(frame(0, b"line\n") for _ in range(100))
    assert [*_frames(Chunks(content, len(content)), "/socket")] == [(0, b"line\n" * 100)]


def test_an_incomplete_frame_is_left_out() -> None:
    assert [*_frames(Chunks(frame(0, b"abc")[:-1], 100), "/socket")] == []
