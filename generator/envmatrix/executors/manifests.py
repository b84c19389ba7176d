"""Manifests of Kubernetes: the Job of a task, and what a cluster needs before. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from envmatrix.confined import Area
from envmatrix.engine.tasks import Mount, NodeLabel, Task
from envmatrix.errors import ConfigurationError
from envmatrix.executors.agent import CONTROL, INPUTS, LOGIN, OUTPUTS, WORK
from envmatrix.records import dataclass

Document: TypeAlias = dict[str, Any]

LABEL = "app.kubernetes.io/managed-by"
KEY_LABEL = "envmatrix/key"
INPUTS_LABEL = "envmatrix/inputs"
COLLECTOR = "collect"
# The beginning of the tags of results.
RESULTS = "result-"

_BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
# The names of Kubernetes are those of Go, and of Docker.
_ARCHITECTURE = "kubernetes.io/arch"
_GPU = "nvidia.com/gpu"
_MEGABYTE = 1 << 20
# What containers request beside the task, in thousandths of a processor.
_TOOL_MILLICPUS = 50
# Beyond the time limit of the task: pulling images, fetching inputs, pushing outputs.
_TRANSFER_SECONDS = 3600
_KEPT_SECONDS = 3600
_TEMPORARY = "/tmp"  # noqa: S108 -- in memory, of the pod alone

# The program of the task has the pipes of its two streams, and nothing else. The shell keeps the
# pipe `status` open, so its end is that of the container. A file `stop` has it kill everything.
_SHELL = f"""\
control={CONTROL}
exec 3>"$control/status"
echo started >&3
(while [ ! -e "$control/stop" ]; do sleep 1; done; kill -9 -1) </dev/null >/dev/null 2>&1 3>&- &
"$@" </dev/null >"$control/stdout" 2>"$control/stderr" 3>&-
status=$?
killed=0
for file in /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events; do
  [ -r "$file" ] || continue
  while read -r name count; do [ "$name" != oom_kill ] || killed=$count; done <"$file"
done
echo "ended $status $killed" >&3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A namespace of a cluster, and how its pods reach a registry. `repository` has inputs and
    results; `login` is the name of a secret of the type kubernetes.io/dockerconfigjson for it, to
    which a `ca.crt` may be added. `tool_image` is an image with Python 3.9 or later. Tasks run as
    `user`; one with GPUs gets `gpus` of them, on a node of `gpu_selector`. `emulation` has the
    architecture of nodes that emulate another one, by the name of that. A Job waits at most
    `queue_seconds`; one without a limit runs at most `most_seconds`."""

    namespace: str
    repository: str
    tool_image: str
    login: str | None = None
    plain_http: bool = False
    user: int = 10_001
    node_selector: Mapping[str, str] = field(default_factory=dict)
    gpu_selector: Mapping[str, str] = field(
        default_factory=lambda: {"nvidia.com/gpu.present": "true"}
    )
    gpus: int = 1
    emulation: Mapping[str, str] = field(default_factory=dict)
    queue_seconds: int = 24 * 3600
    most_seconds: int = 24 * 3600


def job_name(key: str) -> str:
    return f"envmatrix-{key}"


def result_tag(key: str, identity: str) -> str:
    """Return the tag of the result of a task with some inputs, whose existence is its authoritative
    end."""
    return f"{RESULTS}{key}-{identity}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The contents of the mounts of a task, by their order: the digest of an archive, or None for
    an empty directory; their `identity`; and texts of files that every container has, by their
    path."""

    digests: Sequence[str | None]
    identity: str
    files: Mapping[str, str] = field(default_factory=dict)


def job(cluster: Cluster, key: str, task: Task, inputs: Inputs, program: str) -> Document:
    """Return the Job of a task. `program` is the text of the agent.

    An init container fetches the inputs, the container `task` runs the program, which has no login
    of the registry, and the container `collect` follows it and pushes the result.
    """
    seconds = math.ceil(task.limits.seconds or cluster.most_seconds) + _TRANSFER_SECONDS
    labels = {LABEL: "envmatrix", KEY_LABEL: key, INPUTS_LABEL: inputs.identity}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(key), "namespace": cluster.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": cluster.queue_seconds + seconds,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(cluster, key, task, inputs, program)
                | {"activeDeadlineSeconds": seconds},
            },
        },
    }


def _pod(cluster: Cluster, key: str, task: Task, inputs: Inputs, program: str) -> Document:
    shared = task.limits.shared_memory or (task.limits.memory or 2 << 30) // 2
    architecture = task.platform.split("/")[1]
    node = cluster.emulation.get(architecture, architecture)
    selector = {**cluster.node_selector, _ARCHITECTURE: node}
    settings = _settings(cluster, key, task, inputs)
    fetcher = _tool("fetch", cluster, program, settings, ("control", "inputs", "outputs", "work"))
    collector = _tool(COLLECTOR, cluster, program, settings, ("control", "outputs", "work"))
    pod: Document = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": "envmatrix",
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {**selector, **(cluster.gpu_selector if task.gpus else {})},
        **({"affinity": _affinity(task.gpus.nodes)} if task.gpus and task.gpus.nodes else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": cluster.user,
            "runAsGroup": cluster.user,
            "fsGroup": cluster.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [fetcher],
        "containers": [_task_container(cluster, task, inputs), collector],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in ("control", "inputs", "outputs", "work")),
            {"name": "tmp", "emptyDir": {"medium": "Memory"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _bytes(shared)}},
        ],
    }
    if cluster.login:
        secret = {"secretName": cluster.login, "defaultMode": 0o444}
        pod["volumes"].append({"name": "login", "secret": secret})
        pod["imagePullSecrets"] = [{"name": cluster.login}]
    return pod


def _affinity(nodes: Sequence[Sequence[NodeLabel]]) -> Document:
    """Return the condition for nodes that fulfil all of one of some lists of conditions."""
    terms = [
        {
            "matchExpressions": [
                {"key": name, "operator": operator, "values": [*values]}
                for name, operator, values in labels
            ]
        }
        for labels in nodes
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


_CONFINED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def _task_container(cluster: Cluster, task: Task, inputs: Inputs) -> Document:
    resources: dict[str, Document] = {"requests": {}, "limits": {}}
    if task.limits.memory:
        resources["requests"]["memory"] = resources["limits"]["memory"] = _bytes(task.limits.memory)
    if task.limits.processors:  # of the whole pod; without a limit: it may use what others leave
        rest = round(task.limits.processors * 1000) - _TOOL_MILLICPUS
        resources["requests"]["cpu"] = f"{max(rest, _TOOL_MILLICPUS)}m"
    if task.gpus:
        resources["limits"][_GPU] = str(task.gpus.count or cluster.gpus)
    return {
        "name": "task",
        "image": _by_digest(task.image),
        "command": ["sh", "-c", _SHELL, "sh", *map(_literal, task.command)],
        "workingDir": task.directory,
        "env": [
            {"name": name, "value": _literal(value)}
            for name, value in sorted(task.environment.items())
        ],
        "resources": resources,
        "securityContext": {**_CONFINED},
        "volumeMounts": [
            {"name": "control", "mountPath": CONTROL, "readOnly": True},
            {"name": "tmp", "mountPath": _TEMPORARY},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
            *(
                {"name": "control", "mountPath": path, "subPath": _file(path), "readOnly": True}
                for path in sorted(inputs.files)
            ),
            *(_volume_mount(number, mount) for number, mount in enumerate(task.mounts)),
        ],
    }


def _literal(text: str) -> str:
    """Escape references to variables, which Kubernetes would replace."""
    return text.replace("$", "$$")


def _volume_mount(number: int, mount: Mount) -> Document:
    volume = "outputs" if isinstance(mount.source, Area) else "inputs"
    row = {"name": volume, "mountPath": mount.target, "subPath": str(number)}
    return row | ({"readOnly": True} if mount.read_only else {})


def _tool(
    verb: str, cluster: Cluster, program: str, settings: Document, volumes: Sequence[str]
) -> Document:
    paths = {"control": CONTROL, "inputs": INPUTS, "outputs": OUTPUTS, "work": WORK}
    mounts: list[Document] = [{"name": name, "mountPath": paths[name]} for name in volumes]
    if cluster.login:
        mounts.append({"name": "login", "mountPath": LOGIN, "readOnly": True})
    return {
        "name": verb,
        "image": _by_digest(cluster.tool_image),
        "command": ["python3", "-I", "-c", _literal(program), verb],
        "env": [
            {"name": "AGENT_SETTINGS", "value": _literal(json.dumps(settings, sort_keys=True))}
        ],
        "resources": {
            "requests": {"cpu": f"{_TOOL_MILLICPUS}m", "memory": _bytes(64 * _MEGABYTE)},
            "limits": {"memory": _bytes(512 * _MEGABYTE)},
        },
        "securityContext": {**_CONFINED},
        "volumeMounts": mounts,
    }


def _settings(cluster: Cluster, key: str, task: Task, inputs: Inputs) -> Document:
    host, _, name = cluster.repository.partition("/")
    places = [
        f"{OUTPUTS if isinstance(mount.source, Area) else INPUTS}/{number}"
        for number, mount in enumerate(task.mounts)
    ]
    return {
        "repository": {"host": host, "name": name, "plain_http": cluster.plain_http},
        "tag": result_tag(key, inputs.identity),
        "trees": dict(zip(places, inputs.digests, strict=True)),
        "files": {_file(path): text for path, text in sorted(inputs.files.items())},
        "outputs": [place for place in places if place.startswith(OUTPUTS)],
        "limits": {"seconds": task.limits.seconds, "free_disk": task.limits.free_disk},
        "keeps_stdout": task.keeps_stdout,
    }


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _by_digest(image: str) -> str:
    if not _BY_DIGEST.fullmatch(image):
        hint = "push it: `envmatrix push`; images.lock.json has the digests"
        raise ConfigurationError(f"the image `{image}` is not named by its digest", hint=hint)
    return image


def _bytes(size: int) -> str:
    return str(size)


def cluster_setup(cluster: Cluster) -> Sequence[Document]:
    """Return what an administrator creates in the namespace: permissions for who runs tasks, and
    the policy by which tasks reach nothing but the registry."""
    metadata = {"namespace": cluster.namespace, "labels": {LABEL: "envmatrix"}}
    host = cluster.repository.partition("/")[0]
    port = int(host.rpartition(":")[2]) if ":" in host else 443
    names = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    return (
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "envmatrix", **metadata},
            "rules": [
                {
                    "apiGroups": ["batch"],
                    "resources": ["jobs"],
                    "verbs": ["create", "delete", "get"],
                },
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
                {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
            ],
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "envmatrix", **metadata},
            "spec": {
                "podSelector": {"matchLabels": {LABEL: "envmatrix"}},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [],
                "egress": [{"ports": [*names, {"port": port, "protocol": "TCP"}]}],
            },
        },
    )
