from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.docker_api import DockerApi

from envmatrix.engine.gpu import (
    NVIDIA,
    Gpu,
    GpuFacts,
    NoGpu,
    choose,
    choose_elsewhere_for,
    choose_for,
    choose_in_cluster,
    gpus_elsewhere,
    parse_gpus,
    probe_gpu,
    request,
)
from envmatrix.engine.tasks import Gpus, NodeLabel
from envmatrix.facts.model import load_facts
from envmatrix.matrix.requirements import Requirement

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


# As nvidia-smi prints it on a machine with two kinds of GPUs.
SMI = """\
0, NVIDIA H100 80GB HBM3, 9.0, 81559, 550.54.15
1, Tesla T4, 7.5, 15360, 550.54.15
2, NVIDIA H100 80GB HBM3, 9.0, 81559, 550.54.15
"""
FACTS = load_facts()
MIXED = replace(CDI, gpus=parse_gpus(SMI))


def test_gpus_are_parsed_from_what_nvidia_smi_prints() -> None:
    first, second, _ = MIXED.gpus
    assert first == Gpu("0", "NVIDIA H100 80GB HBM3", 90, 85520, 550)
    assert (second.name, second.sm, second.memory) == ("Tesla T4", 75, 16106)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("", ()),
        ("No devices were found\n", ()),
        ("0, Orin (nvgpu), 8.7, [N/A], 540.4.0\n", (Gpu("0", "Orin (nvgpu)", 87, None, 540),)),
        ("0, X, [N/A], [N/A], [N/A]\n", (Gpu("0", "X"),)),
    ],
)
def test_what_nvidia_smi_does_not_tell_is_unknown(text: str, gpus: tuple[Gpu, ...]) -> None:
    assert parse_gpus(text) == gpus


@given(st.text())
def test_any_output_of_nvidia_smi_is_parsed(text: str) -> None:
    assert all(gpu.name.isprintable() for gpu in parse_gpus(text))


@pytest.mark.parametrize(
    ("requirement", "chosen"),
    [
        (Requirement(), ("0",)),
        (Requirement(gpu=("t4",)), ("1",)),
        (Requirement(gpu=("h100",), gpus=2), ("0", "2")),
        (Requirement(gpu=("l4", "T4")), ("1",)),
        (Requirement(sm="75"), ("1",)),
        (Requirement(sm=">=80", memory=80_000), ("0",)),
        (Requirement(driver="550"), ("0",)),
        (Requirement(gpus=3), ("0", "1", "2")),
    ],
)
def test_the_gpus_that_fulfil_a_requirement_are_passed_and_no_others(
    requirement: Requirement, chosen: tuple[str, ...]
) -> None:
    gpus = choose_for(requirement, MIXED, FACTS)
    assert gpus == Gpus(f"{NVIDIA}=all", chosen)
    assert request(gpus)["DeviceIDs"] == [f"{NVIDIA}={index}" for index in chosen]
    by_runtime = choose_for(requirement, replace(RUNTIME, gpus=MIXED.gpus), FACTS)
    assert isinstance(by_runtime, Gpus)
    assert request(by_runtime) == {"DeviceIDs": [*chosen], "Capabilities": [["gpu"]]}


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        (
            Requirement(gpu=("b200",)),
            "needs b200: there is NVIDIA H100 80GB HBM3; Tesla T4",
        ),
        (Requirement(gpu=("h100",), gpus=4), "needs h100, 4 GPUs: there are 2 of them"),
        (Requirement(gpu=("t4",), gpus=2), "needs t4, 2 GPUs: there is 1 of them"),
        (
            Requirement(gpu=("t4",), driver="580"),
            (
                "needs t4, a driver of branch 580: there is NVIDIA H100 80GB HBM3; "
                "Tesla T4 with driver branch 550"
            ),
        ),
        (
            Requirement(gpu=("h100",), memory=90_000),
            "needs h100 with 90000 MB: there is NVIDIA H100 80GB HBM3 with MB 85520; Tesla T4",
        ),
    ],
)
def test_what_a_machine_lacks_is_said(requirement: Requirement, reason: str) -> None:
    assert choose_for(requirement, MIXED, FACTS) == NoGpu(reason)


def test_a_machine_without_a_driver_or_without_gpus_fulfils_nothing() -> None:
    choice = choose_for(Requirement(gpu=("h100",)), NOTHING, FACTS)
    assert isinstance(choice, NoGpu)
    assert choice.reason.startswith("needs h100: no NVIDIA driver is loaded")
    assert choose_for(Requirement(), CDI, FACTS) == NoGpu("needs a GPU: there is no GPU")


LABELS = [
    "nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.count=2",
    "nvidia.com/gpu.memory=81559",
    "nvidia.com/gpu.compute.major=9",
    "nvidia.com/gpu.compute.minor=0",
    "nvidia.com/cuda.driver-version.major=550",
]
INFO = {"Runtimes": {"nvidia": {}}, "Labels": LABELS}


def test_an_engine_elsewhere_describes_its_gpus_by_labels() -> None:
    gpu = Gpu("0", "NVIDIA-H100-80GB-HBM3", 90, 85520, 550)
    assert gpus_elsewhere(INFO) == (gpu, replace(gpu, index="1"))
    assert gpus_elsewhere({"Labels": None}) == ()
    required = Requirement(gpu=("h100",), sm="90", gpus=2, driver="550")
    assert choose_elsewhere_for(required, INFO, FACTS) == Gpus(chosen=("0", "1"))


@pytest.mark.parametrize(
    ("info", "requirement", "reason"),
    [
        ({}, Requirement(), "needs a GPU: the engine there has neither"),
        (
            {"Runtimes": {"nvidia": {}}},
            Requirement(gpu=("h100",)),
            "needs h100: the engine there has no label `nvidia.com/gpu.product`",
        ),
        (INFO, Requirement(gpu=("t4",)), "needs t4: there is NVIDIA-H100-80GB-HBM3"),
    ],
)
def test_an_engine_elsewhere_lacks_what_its_labels_do_not_say(
    info: dict[str, object], requirement: Requirement, reason: str
) -> None:
    choice = choose_elsewhere_for(requirement, info, FACTS)
    assert isinstance(choice, NoGpu)
    assert choice.reason.startswith(reason)


def test_any_gpu_of_an_engine_elsewhere_needs_no_label() -> None:
    info: dict[str, object] = {"Runtimes": {"nvidia": {}}}
    assert choose_elsewhere_for(Requirement(), info, FACTS) == Gpus(chosen=("0",))


def test_a_cluster_finds_a_node_by_the_labels_of_its_gpus() -> None:
    gpus = choose_in_cluster(Requirement(gpu=("h200",), gpus=2, driver="550"), 4, FACTS)
    assert gpus == Gpus(
        count=2,
        nodes=(
            (
                NodeLabel("nvidia.com/gpu.product", "In", ("NVIDIA-H200", "NVIDIA-H200-NVL")),
                NodeLabel("nvidia.com/cuda.driver-version.major", "In", ("550",)),
            ),
        ),
    )
    assert choose_in_cluster(Requirement(), 1, FACTS) == Gpus(count=1)


def test_at_least_a_compute_capability_is_the_rest_of_its_major_or_a_later_one() -> None:
    gpus = choose_in_cluster(Requirement(sm=">=86", memory=16_000), 1, FACTS)
    assert isinstance(gpus, Gpus)
    memory = NodeLabel("nvidia.com/gpu.memory", "Gt", ("15257",))
    assert gpus.nodes == (
        (
            memory,
            NodeLabel("nvidia.com/gpu.compute.major", "In", ("8",)),
            NodeLabel("nvidia.com/gpu.compute.minor", "Gt", ("5",)),
        ),
        (memory, NodeLabel("nvidia.com/gpu.compute.major", "Gt", ("8",))),
    )


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        (
            Requirement(gpu=("h100",), gpus=2),
            "needs h100, 2 GPUs: `[kubernetes]` of the user's configuration has `gpus = 1`",
        ),
        (Requirement(gpu=("b200",)), "needs b200: `gpu_models` has only h100, t4"),
        (Requirement(gpu=("jetson-orin",)), "needs jetson-orin: no label of nodes is known for it"),
    ],
)
def test_a_cluster_lacks_what_its_configuration_does_not_have(
    requirement: Requirement, reason: str
) -> None:
    assert choose_in_cluster(requirement, 1, FACTS, ["h100", "t4"]) == NoGpu(reason)
