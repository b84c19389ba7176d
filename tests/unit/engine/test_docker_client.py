from __future__ import annotations

from typing import NoReturn

import docker
import pytest
from docker.utils.proxy import ProxyConfig
from tests.docker_api import DockerApi, Failure

from envmatrix.engine.docker_client import (
    PROXY_VARIABLES,
    all_images,
    connect,
    engine_of,
    temporary_container,
    without_proxies,
)
from envmatrix.engine.engine_api import ANSWER_SECONDS, TRANSFER_SECONDS, WORK_SECONDS
from envmatrix.errors import EngineError

CONTAINER = {"Id": "c1", "Config": {"Labels": {"of": "us"}}}
ANSWERS: dict[str, object] = {
    "POST /containers/create": CONTAINER,
    "GET /containers/c1/json": CONTAINER,
}


def removals(api: DockerApi) -> list[str]:
    return [action for action in api.actions if action.startswith("DELETE /containers/envmatrix-")]


class RemovalAnswers(dict[str, object]):
    """The answers of an engine, also to the removal of a container with any name."""

    def __missing__(self, action: str) -> object:
        assert action.startswith("DELETE /containers/envmatrix-")
        return {}


def test_a_temporary_container_is_removed_by_its_own_name() -> None:
    api = DockerApi(RemovalAnswers(ANSWERS))
    with temporary_container(api.client(), "image", command=["true"]) as container:
        assert container.id == "c1"
    assert f"name={removals(api)[0].rpartition('/')[2]}" in api.requests[0].query
    assert api.requests[-1].query == "v=False&link=False&force=True"


@pytest.mark.parametrize("error", [KeyboardInterrupt, EngineError])
def test_a_temporary_container_is_removed_after_any_error(error: type[BaseException]) -> None:
    api = DockerApi(RemovalAnswers(ANSWERS))
    with pytest.raises(error), temporary_container(api.client(), "image"):
        raise error("in the block")
    assert len(removals(api)) == 1


def test_a_container_that_is_not_created_is_an_error_and_removed_all_the_same() -> None:
    api = DockerApi(RemovalAnswers({"POST /containers/create": Failure(404)}))
    with (
        pytest.raises(EngineError, match="no container of `image` can be made"),
        temporary_container(api.client(), "image"),
    ):
        pass
    assert len(removals(api)) == 1


def test_an_engine_that_is_gone_meanwhile_does_not_hide_the_error() -> None:
    api = DockerApi(ANSWERS)

    def lose_engine() -> None:
        with temporary_container(api.client(), "image"):
            api.is_gone = True
            raise EngineError("in the block")

    with pytest.raises(EngineError, match="in the block"):
        lose_engine()


def test_containers_have_no_proxies_of_the_configuration_of_dockers_client() -> None:
    api = DockerApi(RemovalAnswers(ANSWERS))
    client = api.client()
    proxies = ProxyConfig(http="http://user:secret@proxy")
    client.api._proxy_configs = proxies  # type: ignore[attr-defined]
    with temporary_container(client, "image", command=["true"]):
        pass
    assert api.requests[0].body["Image"] == "image"
    assert "proxy" not in str(api.requests[0].body).lower()


def test_programs_of_docker_unset_all_proxies_in_both_cases() -> None:
    assert {"--env=HTTPS_PROXY=", "--env=no_proxy="} <= {*without_proxies("env")}
    assert len(PROXY_VARIABLES) == 10


def test_an_image_that_is_removed_while_all_are_listed_is_left_out() -> None:
    api = DockerApi(
        {
            "GET /images/json": [{"Id": "sha256:1"}, {"Id": "sha256:2"}],
            "GET /images/sha256:1/json": Failure(404, "No such image: sha256:1"),
            "GET /images/sha256:2/json": {"Id": "sha256:2"},
        }
    )
    assert [image.id for image in all_images(api.client())] == ["sha256:2"]


def test_an_engine_that_does_not_answer_is_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> NoReturn:
        raise docker.errors.DockerException("connection refused")

    monkeypatch.setattr(docker, "DockerClient", refuse)
    with pytest.raises(EngineError, match="no container engine answers") as caught, connect():
        pass
    assert "envmatrix doctor" in str(caught.value.hint)


def test_errors_of_the_engine_are_no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    client = DockerApi(ANSWERS).client()
    monkeypatch.setattr(docker, "DockerClient", lambda **_: client)
    with pytest.raises(EngineError, match="the container engine failed: disk full"), connect():
        raise docker.errors.APIError("disk full")


def test_the_engine_may_be_silent_for_as_long_as_the_kind_of_a_request_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timeouts = {
        "GET /images/json": WORK_SECONDS,
        "GET /images/a:1/json": ANSWER_SECONDS,
        "GET /containers/c1/json": ANSWER_SECONDS,
        "GET /volumes": ANSWER_SECONDS,
        "POST /volumes/create": WORK_SECONDS,
        "POST /containers/create": WORK_SECONDS,
        "POST /containers/c1/start": WORK_SECONDS,
        "PUT /containers/c1/archive": TRANSFER_SECONDS,
        "DELETE /images/a:1": WORK_SECONDS,
        "POST /images/load": TRANSFER_SECONDS,
        "POST /images/create": TRANSFER_SECONDS,
        "POST /images/host:5000/team/a/push": TRANSFER_SECONDS,
        "GET /images/team/a:1/get": TRANSFER_SECONDS,
        "POST /containers/c1/wait": None,
    }
    api = DockerApi({action: {"Id": "c1"} for action in timeouts})
    original = api.client()
    monkeypatch.setattr(docker, "DockerClient", lambda **_: original)
    with connect() as client:
        client.api.images()
        client.api.inspect_image("a:1")  # type: ignore[no-untyped-call]
        client.api.inspect_container("c1")
        client.api.volumes()
        client.api.create_volume("v")
        client.api.create_container("image", ["true"])
        client.api.start("c1")
        client.api.put_archive("c1", "/", b"{}")
        client.api.remove_image("a:1")
        list(client.api.load_image(b"{}"))  # type: ignore[no-untyped-call]
        list(client.api.pull("a", "1", stream=True))
        list(client.api.push("host:5000/team/a", stream=True))
        client.api.get_image("team/a:1")
        with pytest.raises(EngineError):
            engine_of(client).wait("c1")
    assert {request.action: request.timeout for request in api.requests} == timeouts
