"""Which containers of another engine are those of a task."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docker_api import DockerApi, Failure

from envmatrix.engine.containers import container_name
from envmatrix.engine.tasks import Mount, Task
from envmatrix.errors import EngineError
from envmatrix.executors.remote_containers import _INPUTS, RemoteContainers, _RemoteExecution

KEY = "0123"
CONTAINER = f"/containers/{container_name(KEY)}"
USER = 10_002


def engine(task: Task, labels: dict[str, str]) -> DockerApi:
    """Return an engine with a container of the task, that has no room for another one."""
    attributes = {
        "Id": container_name(KEY),
        "Config": {"Labels": labels},
        "State": {"Status": "running", "StartedAt": "2026-01-01T00:00:00.123456789Z"},
    }
    return DockerApi(
        {
            f"GET /images/{task.image}/json": {"RootFS": {"Layers": ["layer"]}},
            f"GET {CONTAINER}/json": attributes,
            f"DELETE {CONTAINER}": b"",
            "GET /info": {"SystemTime": "2026-01-01T00:00:09.123456789Z"},
            "GET /volumes": {"Volumes": []},
            "POST /volumes/create": Failure(500, "no space left"),
        }
    )


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("old")
    return Task("image", "linux/amd64", ["true"], [Mount(tmp_path / "source", "/src")])


@pytest.fixture
def labels(task: Task) -> dict[str, str]:
    execution = _RemoteExecution(DockerApi({}).client(), KEY, task, USER)
    return {_INPUTS: execution._identity()}


def test_a_container_of_the_same_inputs_is_adopted(task: Task, labels: dict[str, str]) -> None:
    api = engine(task, labels)
    executor = RemoteContainers(api.client(), api.client(), USER)
    executor.submit(KEY, task)
    assert f"DELETE {CONTAINER}" not in api.actions
    executor.cancel(KEY)


def test_a_container_of_other_inputs_is_replaced(
    task: Task, labels: dict[str, str], tmp_path: Path
) -> None:
    api = engine(task, labels)
    (tmp_path / "source/file").write_text("new")
    with pytest.raises(EngineError, match="no space left"):
        RemoteContainers(api.client(), api.client(), USER).submit(KEY, task)
    assert api.actions.index(f"DELETE {CONTAINER}") < api.actions.index("POST /volumes/create")
