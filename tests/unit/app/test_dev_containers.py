from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.app.conftest import CELL, ONE

from envmatrix.app.dev_containers import prepare
from envmatrix.app.generated_files import (
    ConsumerRequest,
    check_generated,
    write_consumer,
    write_generated,
)
from envmatrix.app.workspace import Workspace
from envmatrix.confined import Area
from envmatrix.console import Console
from envmatrix.engine.tasks import Mount, Task
from envmatrix.errors import ConfigurationError

LOCAL = ConsumerRequest("devcontainer", (CELL,), is_local=True)
WITH_DEV = f"{ONE}policy: {{dev_images: on}}\n"


def test_a_container_is_made_from_what_a_task_mounts(tmp_path: Path) -> None:
    mounts = [Mount(tmp_path / "source", "/src"), Mount(Area(tmp_path / "devel"), "/build")]
    task = Task("image:1", "linux/amd64", [], mounts, {"B": "2", "A": "1", "C": "a\nb"})
    prepare(tmp_path / "made", task)
    prepare(tmp_path / "made", task)
    assert (tmp_path / "made/source").readlink() == tmp_path / "source"
    assert (tmp_path / "made/build").readlink() == tmp_path / "devel"
    assert [*(tmp_path / "made/ccache").iterdir()] == []
    assert (tmp_path / "made/environment").read_text() == "A=1\nB=2\n"
    assert (tmp_path / "made/Dockerfile").read_text() == "FROM image:1\n"


def test_a_request_is_read_from_its_banner() -> None:
    for request in (LOCAL, ConsumerRequest("devcontainer", ("a", "b"))):
        assert ConsumerRequest.from_text(request.banner) == request


@pytest.mark.parametrize("libraries", [WITH_DEV], indirect=True)
def test_local_containers_are_kept_up_to_date_with_what_users_added(engine: Workspace) -> None:
    write_consumer(engine, LOCAL, Console(-1))
    file = engine.root / f".devcontainer/{CELL}-first/devcontainer.json"
    banner, text = file.read_text().split("\n", 1)
    own = json.loads(text) | {"remoteEnv": {"MINE": "1"}, "name": "outdated"}
    file.write_text(f"{banner}\n{json.dumps(own)}\n")
    write_generated(engine, Console(-1))
    check_generated(engine, Console(-1))
    current = json.loads(file.read_text().split("\n", 1)[1])
    assert (current["remoteEnv"], current["name"]) == ({"MINE": "1"}, f"first in {CELL}")


@pytest.mark.parametrize("libraries", [WITH_DEV], indirect=True)
def test_comments_in_a_local_container_are_an_error_and_not_lost(engine: Workspace) -> None:
    write_consumer(engine, LOCAL, Console(-1))
    file = engine.root / f".devcontainer/{CELL}-first/devcontainer.json"
    text = file.read_text().replace("{", "{ // mine", 1)
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="is no JSON"):
        write_generated(engine, Console(-1))
    assert file.read_text() == text


def test_without_images_for_people_there_is_no_local_container(engine: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="no library has a cell"):
        write_consumer(engine, LOCAL, Console(-1))
