from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.docker_api import DockerApi

from envmatrix.engine.gpu import NVIDIA, GpuFacts, NoGpu, choose, probe_gpu, request
from envmatrix.engine.tasks import Gpus

NOTHING = GpuFacts(
    has_driver=False, kinds=frozenset(), engine_has_cdi=False, runtimes=frozenset({"runc"})
)
CDI = GpuFacts(True, frozenset({NVIDIA}), True, frozenset({"runc"}))
RUNTIME = replace(NOTHING, has_driver=True, runtimes=frozenset({"runc", "nvidia"}))


@pytest.mark.parametrize(
    ("facts", "gpus"),
    [
        (CDI, Gpus(f"{NVIDIA}=all")),
        (RUNTIME, Gpus()),
        (replace(RUNTIME, kinds=CDI.kinds), Gpus()),
        (replace(CDI, runtimes=RUNTIME.runtimes), Gpus(f"{NVIDIA}=all")),
    ],
    ids=["cdi", "runtime", "runtime without cdi", "both"],
)
def test_gpus_are_passed_by_the_interface_that_the_engine_has(facts: GpuFacts, gpus: Gpus) -> None:
    assert choose(facts) == gpus


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (NOTHING, "no NVIDIA driver is loaded"),
        (replace(RUNTIME, has_driver=False), "no NVIDIA driver is loaded"),
        (replace(NOTHING, has_driver=True), "the NVIDIA Container Toolkit is not set up"),
        (replace(CDI, engine_has_cdi=False), "`cdi` is off in daemon.json"),
        (replace(CDI, kinds=frozenset({"other.example/gpu"})), "no CDI specification is of kind"),
    ],
)
def test_without_gpus_the_missing_component_is_named(facts: GpuFacts, reason: str) -> None:
    choice = choose(facts)
    assert isinstance(choice, NoGpu)
    assert reason in choice.reason


def test_a_device_that_a_person_names_is_taken_or_refused_but_never_replaced() -> None:
    assert choose(CDI, f"{NVIDIA}=1") == Gpus(f"{NVIDIA}=1")
    refusal = choose(replace(CDI, runtimes=RUNTIME.runtimes), "other.example/gpu=0")
    assert refusal == NoGpu(
        f"the engine has no CDI device of kind `other.example/gpu`; it knows {NVIDIA}"
    )


def test_requests_are_those_of_the_program_docker() -> None:
    assert request(Gpus(f"{NVIDIA}=1"))["DeviceIDs"] == [f"{NVIDIA}=1"]
    assert request(Gpus())["Count"] == -1


def test_kinds_are_read_from_the_engines_specifications(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"kind": NVIDIA}))
    (tmp_path / "b.yaml").write_text("kind: other.example/gpu\n")
    (tmp_path / "broken.yaml").write_text("kind: [\n")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "unreadable.yml").mkdir()
    (tmp_path / "notes.txt").write_text("kind: third.example/gpu\n")
    info = {"CDISpecDirs": [str(tmp_path), str(tmp_path / "absent")], "Runtimes": {"runc": {}}}
    facts = probe_gpu(DockerApi({"GET /info": info}).client())
    assert facts.kinds == {NVIDIA, "other.example/gpu"}
    assert facts.engine_has_cdi
    assert facts.runtimes == {"runc"}


def test_an_engine_of_before_the_device_interface_has_none() -> None:
    facts = probe_gpu(DockerApi({"GET /info": {"CDISpecDirs": None, "Runtimes": None}}).client())
    assert not facts.engine_has_cdi
    assert facts.kinds == facts.runtimes == frozenset()
