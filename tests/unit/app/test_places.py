"""What jobs may take elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from tests.docker_api import DockerApi
from tests.fakes import FakeExecutor

from envmatrix.app.places import (
    THIS_MACHINE,
    Place,
    _Cluster,
    _OtherEngine,
    resources_of_cluster,
)
from envmatrix.console import Console
from envmatrix.engine.gpu import NVIDIA, NoGpu
from envmatrix.engine.tasks import Gpus
from envmatrix.executors.remote_containers import RemoteContainers
from envmatrix.jobs.model import Resources
from envmatrix.matrix.requirements import Requirement

MACHINE = {"NCPU": 64, "MemTotal": 64 << 30}


def other_engine(info: Mapping[str, Any]) -> _OtherEngine:
    api = DockerApi({"GET /info": {**MACHINE, **info}})
    return _OtherEngine(RemoteContainers(api.client(), DockerApi({}).client()))


def test_jobs_on_another_engine_take_what_its_machine_has_and_leave_memory() -> None:
    assert other_engine({}).resources() == Resources(64, 56 << 30, 0)


def test_each_place_passes_the_gpus_that_are_required_or_says_what_it_lacks() -> None:
    h100, t4 = Requirement(gpu=("h100",)), Requirement(gpu=("t4",))
    labels = ["nvidia.com/gpu.product=NVIDIA-H100-PCIe"]
    engine = other_engine({"Runtimes": {"nvidia": {}}, "Labels": labels})
    assert engine.choose_gpu(h100) == Gpus(chosen=("0",))
    assert engine.choose_gpu(t4) == NoGpu("needs t4: there is NVIDIA-H100-PCIe")
    cluster = _Cluster(FakeExecutor(), Resources(4, 8 << 30, 2), ["h100"])
    choice = cluster.choose_gpu(h100)
    assert isinstance(choice, Gpus)
    assert choice.count == 1
    assert cluster.choose_gpu(t4) == NoGpu("needs t4: `gpu_models` has only h100")
    here = THIS_MACHINE.choose_gpu(h100)
    assert isinstance(here, NoGpu) or here.chosen


@pytest.mark.parametrize(
    ("info", "gpus", "count"),
    [
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": f"{NVIDIA}=all"}]}, f"{NVIDIA}=all", 1),
        (
            {"DiscoveredDevices": [{"ID": f"{NVIDIA}={name}"} for name in ("0", "1", "all")]},
            f"{NVIDIA}=all",
            2,
        ),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, None, 1),
    ],
    ids=["device", "devices", "runtime"],
)
def test_tests_on_another_engine_get_its_gpus(
    info: Mapping[str, Any], gpus: str | None, count: int
) -> None:
    place = other_engine(info)
    assert place.choose_gpu() == Gpus(gpus)
    assert place.resources().gpus == count


@pytest.mark.parametrize(
    "info",
    [{"Runtimes": {"runc": {}}}, {"DiscoveredDevices": None, "Runtimes": None}, {}],
)
def test_an_engine_that_names_no_gpu_has_none(info: Mapping[str, Any]) -> None:
    place = other_engine(info)
    reason = place.choose_gpu()
    assert isinstance(reason, NoGpu)
    assert f"`{NVIDIA}=all`" in reason.reason
    assert place.resources().gpus == 0


def test_jobs_in_a_cluster_take_what_its_user_says() -> None:
    settings = {"processors": 64, "memory": 256_000, "gpus": 2}
    total = resources_of_cluster(settings)
    assert total == Resources(64, 256_000 * 10**6, 2)
    place = _Cluster(FakeExecutor(), total)
    assert (place.resources(), place.choose_gpu()) == (total, Gpus())


def test_jobs_in_a_cluster_take_as_much_as_this_machine_has_by_default_and_no_gpu() -> None:
    total = resources_of_cluster({})
    assert total.processors >= 1
    assert total.memory > 0
    reason = _Cluster(FakeExecutor(), total).choose_gpu()
    assert isinstance(reason, NoGpu)
    assert "has no `gpus`" in reason.reason


@pytest.mark.parametrize("place", [THIS_MACHINE, other_engine({"ID": "a"})], ids=["here", "there"])
def test_one_measurement_at_a_time_uses_the_gpus_of_a_machine(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    waiting = threading.Event()

    class Observed(Console):
        def say(self, message: str) -> None:
            super().say(message)
            waiting.set()

    def second() -> None:
        with place.measuring(Observed()):
            order.append("second")

    with place.measuring(Console()), other_engine({"ID": "b"}).measuring(Console()):
        assert capsys.readouterr().err == ""
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    text = capsys.readouterr().err
    assert text.startswith(f"wait     for process {os.getpid()} (a measurement), which came")
