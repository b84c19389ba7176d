"""The wiring of GPU passthrough, proven with a CDI specification of our own: a kind, a variable,
a device node and a library, handed to a container by the engine. No GPU is involved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from tests.integration.conftest import Envmatrix

from envmatrix.engine import gpu
from envmatrix.engine.containers import Containers
from envmatrix.engine.docker_client import engine_of
from envmatrix.engine.tasks import Gpus, Limits, Task, run

KIND = "example.com/gpu"
SPECIFICATIONS = Path("/var/run/cdi")
CELL = "cuda13.5-debian12-x86_64"
IMAGE = "envmatrix/cuda13.5-debian12:runtime-amd64"


@pytest.fixture
def specification(engine: docker.DockerClient, tmp_path: Path) -> Iterator[None]:
    if not engine.info().get("CDISpecDirs"):
        pytest.skip("the engine's feature `cdi` is off")
    library = tmp_path / "libcuda.so.1"
    library.write_text("a driver library")
    edits = {
        "env": ["EXAMPLE_GPU=present"],
        "deviceNodes": [{"path": "/dev/example-gpu", "hostPath": "/dev/null"}],
        "mounts": [
            {
                "hostPath": str(library),
                "containerPath": "/usr/lib/libcuda.so.1",
                "options": ["bind", "ro"],
            }
        ],
    }
    document = {
        "cdiVersion": "0.6.0",
        "kind": KIND,
        "devices": [{"name": "all", "containerEdits": edits}],
    }
    file = SPECIFICATIONS / "envmatrix-test.json"
    try:
        SPECIFICATIONS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    except PermissionError:
        pytest.skip(f"only root can write to {SPECIFICATIONS}")
    yield
    file.unlink()


@pytest.mark.usefixtures("specification")
def test_a_cdi_device_reaches_the_container(
    engine: docker.DockerClient, envmatrix: Envmatrix
) -> None:
    envmatrix("build", "--select", CELL)
    chosen = gpu.choose(gpu.probe_gpu(engine), f"{KIND}=all")
    assert isinstance(chosen, Gpus)
    script = "echo $EXAMPLE_GPU; test -c /dev/example-gpu && cat /usr/lib/libcuda.so.1"
    task = Task(IMAGE, "linux/amd64", ["sh", "-c", script], [], gpus=chosen)
    pieces: list[bytes] = []

    ended = run(
        Containers(engine_of(engine)), "key", task, lambda _stream, printed: pieces.append(printed)
    )
    assert ended.status == 0
    assert b"".join(pieces).splitlines() == [b"present", b"a driver library"]


@pytest.mark.usefixtures("specification")
def test_perf_runs_the_benchmark_with_the_device_and_skips_where_cuda_finds_none(
    envmatrix: Envmatrix,
) -> None:
    done = envmatrix("run", "perf", CELL, "--device", f"{KIND}=all")

    assert "skipped: the benchmark found no GPU" in done.stderr


def test_an_unknown_device_is_named(envmatrix: Envmatrix) -> None:
    done = envmatrix("run", "perf", CELL, "--device", "example.com/absent=all", expect=77)

    assert "no CDI device of kind `example.com/absent`" in done.stderr


def test_a_container_that_outlives_its_time_is_killed_and_removed(
    engine: docker.DockerClient, envmatrix: Envmatrix
) -> None:
    envmatrix("build", "--select", CELL)
    task = Task(IMAGE, "linux/amd64", ["sleep", "60"], [], limits=Limits(seconds=1))

    with closing(Containers(engine_of(engine))) as executor:
        assert run(executor, "key", task, lambda _stream, _printed: None).status == 124
    containers = engine.containers.list(
        all=True, filters={"label": "envmatrix.run"}, ignore_removed=True
    )
    assert [
        container for container in containers if container.attrs["Args"][-2:] == ["sleep", "60"]
    ] == []
