"""Manifests of Kubernetes: compared with files, with the schemas of the API, and with the policy
`restricted`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from envmatrix.confined import Area
from envmatrix.engine.tasks import Gpus, Limits, Mount, NodeLabel, Task
from envmatrix.errors import ConfigurationError
from envmatrix.executors.kubernetes import agent_program
from envmatrix.executors.manifests import Cluster, Inputs, cluster_setup, job, job_name

kubernetes_validate = pytest.importorskip("kubernetes_validate")

GOLDEN = Path(__file__).parents[2] / "golden-kubernetes"
IMAGE = f"registry.example/images/cell@sha256:{'1' * 64}"
CLUSTER = Cluster(
    namespace="builds",
    repository="registry.example:5000/team/jobs",
    tool_image=f"registry.example/images/python@sha256:{'2' * 64}",
    login="registry",
    node_selector={"pool": "builds"},
)
TASK = Task(
    image=IMAGE,
    platform="linux/arm64",
    command=["sh", "-c", 'echo "$HOME" $(id)'],
    mounts=[Mount(Path("/home/user/source"), "/src"), Mount(Area(Path("/home/user/b")), "/build")],
    environment={"VALUE": "$(PATH)", "A": "1"},
    directory="/build",
    gpus=Gpus(),
    limits=Limits(seconds=90.5, memory=4 << 30, free_disk=2 << 30, processors=2.5),
)
INPUTS = Inputs(
    [f"sha256:{'3' * 64}", None], "4" * 40, {"/etc/passwd": "user:x:1:1::/tmp:/bin/sh\n"}
)
KEY = "0123456789abcdef0123456789abcdef01234567"
VERSIONS = ["1.28", *(f"1.{minor}" for minor in range(29, 38))]


def job_of(task: Task = TASK, cluster: Cluster = CLUSTER) -> dict[str, Any]:
    inputs = replace(INPUTS, digests=INPUTS.digests[: len(task.mounts)])
    return job(cluster, KEY, task, inputs, "the agent")


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = document["spec"]["template"]["spec"]
    return pod


def containers_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    pod = pod_of(document)
    return {row["name"]: row for row in (*pod["initContainers"], *pod["containers"])}


PLAIN = replace(TASK, gpus=None, limits=Limits(), mounts=(), environment={})
DOCUMENTS = {
    "job": [job_of()],
    "plain-job": [job_of(PLAIN, replace(CLUSTER, login=None, node_selector={}))],
    "cluster": [*cluster_setup(CLUSTER)],
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_manifests(name: str, *, update_golden: bool) -> None:
    text = yaml.safe_dump_all(DOCUMENTS[name], sort_keys=False, width=100)
    file = GOLDEN / f"{name}.yaml"
    if update_golden:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_manifests_are_valid_for_each_release_of_kubernetes(name: str, version: str) -> None:
    for document in DOCUMENTS[name]:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_refuse_a_wrong_manifest() -> None:
    document = job_of()
    pod_of(document)["restartPolicies"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "projected", "secret"}


def violations(pod: dict[str, Any]) -> Iterator[str]:
    """Yield the rules of the policy `restricted` that a pod violates."""
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccomp"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield key
    for volume in pod["volumes"]:
        if not (volume.keys() - {"name"}) <= _VOLUMES:
            yield f"volume {volume['name']}"
    for container in (*pod["initContainers"], *pod["containers"]):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield "escalation"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield "capabilities"
        if own.keys() & {"runAsUser", "runAsNonRoot", "seccompProfile", "procMount"}:
            yield "override"
        if own.get("readOnlyRootFilesystem") is not True:
            yield "root file system"
        if any("hostPort" in port for port in container.get("ports", ())):
            yield "port"


@pytest.mark.parametrize("document", [*DOCUMENTS["job"], *DOCUMENTS["plain-job"]])
def test_pods_satisfy_the_restricted_policy(document: dict[str, Any]) -> None:
    assert [*violations(pod_of(document))] == []
    assert pod_of(document)["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("securityContext", {}),
        ("hostNetwork", True),
        ("volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
        ("containers", [{"name": "task"}]),
    ],
)
def test_a_pod_that_violates_the_policy_is_noticed(part: str, value: object) -> None:
    assert [*violations({**pod_of(job_of()), part: value})]


def test_the_program_has_no_login_and_writes_to_areas_only() -> None:
    containers = containers_of(job_of())
    mounts = {row["name"]: row for row in containers["task"]["volumeMounts"]}
    assert "login" not in mounts
    assert mounts["inputs"]["readOnly"] is mounts["control"]["readOnly"] is True
    assert "readOnly" not in mounts["outputs"]
    others = [containers[name] for name in ("fetch", "collect")]
    assert all("login" in {row["name"] for row in each["volumeMounts"]} for each in others)


def test_nothing_of_this_machine_is_in_a_manifest() -> None:
    assert "/home/user" not in json.dumps(job_of())


def test_resources_and_nodes_are_those_of_the_task() -> None:
    pod, task = pod_of(job_of()), containers_of(job_of())["task"]
    assert task["resources"] == {
        "requests": {"memory": str(4 << 30), "cpu": "2450m"},
        "limits": {"memory": str(4 << 30), "nvidia.com/gpu": "1"},
    }
    assert pod["nodeSelector"] == {
        "pool": "builds",
        "kubernetes.io/arch": "arm64",
        "nvidia.com/gpu.present": "true",
    }


def test_a_task_runs_on_a_node_of_its_architecture_or_on_one_that_emulates_it() -> None:
    def node(cluster: Cluster) -> object:
        return pod_of(job_of(cluster=cluster))["nodeSelector"]["kubernetes.io/arch"]

    assert node(CLUSTER) == "arm64"
    assert node(replace(CLUSTER, emulation={"arm64": "amd64"})) == "amd64"
    assert node(replace(CLUSTER, emulation={"amd64": "arm64"})) == "arm64"


def test_a_task_with_gpus_gets_as_many_as_the_cluster_gives() -> None:
    task = containers_of(job_of(cluster=replace(CLUSTER, gpus=2)))["task"]
    assert task["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_a_task_that_requires_gpus_gets_its_number_on_a_node_with_them() -> None:
    label = NodeLabel("nvidia.com/gpu.product", "In", ("Tesla-T4",))
    task = replace(TASK, gpus=Gpus(count=3, nodes=((label,),)))
    document = job_of(task)
    container = containers_of(document)["task"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "3"
    (term,) = pod_of(document)["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert term == {
        "matchExpressions": [
            {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-T4"]}
        ]
    }
    assert not [*violations(pod_of(document))]
    assert "affinity" not in pod_of(job_of())


def test_a_pod_requests_as_many_processors_as_its_task_keeps_busy() -> None:
    containers = containers_of(job_of())
    requests = [containers[name]["resources"]["requests"] for name in ("task", "collect")]
    assert sum(int(each["cpu"].removesuffix("m")) for each in requests) == 2500


def test_a_job_runs_once_and_ends() -> None:
    spec = job_of()["spec"]
    assert (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"]) == (0, "Never")
    seconds = spec["template"]["spec"]["activeDeadlineSeconds"]
    assert 91 < seconds < spec["activeDeadlineSeconds"]
    assert spec["ttlSecondsAfterFinished"] > 0


def test_kubernetes_replaces_no_variable_of_the_task() -> None:
    task = containers_of(job_of())["task"]
    assert task["command"][-1] == 'echo "$$HOME" $$(id)'
    assert {row["name"]: row["value"] for row in task["env"]} == {"A": "1", "VALUE": "$$(PATH)"}


@pytest.mark.parametrize("image", ["debian", "debian:12", f"debian@sha256:{'1' * 63}", "@sha256:x"])
def test_an_image_without_a_digest_is_refused(image: str) -> None:
    with pytest.raises(ConfigurationError, match="not named by its digest"):
        job_of(replace(TASK, image=image))


def test_names_are_those_that_kubernetes_allows() -> None:
    assert len(job_name(KEY)) <= 63


def test_the_agent_needs_only_the_standard_library() -> None:
    program = agent_program()
    compile(program, "agent", "exec")
    assert "envmatrix." not in "".join(
        row for row in program.splitlines(keepends=True) if "import" in row
    )
    assert len(program.encode()) < 100_000  # of one argument
