"""GPUs of machines: what they are, and how they are passed to containers, or what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envmatrix.engine import docker_client
from envmatrix.engine.tasks import Gpus, NodeLabel
from envmatrix.errors import EngineError
from envmatrix.facts.gpus import GpuModel, model_of
from envmatrix.facts.model import Facts
from envmatrix.machine.processes import run
from envmatrix.matrix.requirement_rules import suitable_models
from envmatrix.matrix.requirements import Requirement, bounds_of, is_within
from envmatrix.records import dataclass
from envmatrix.text import one_line

if TYPE_CHECKING:
    import docker

NVIDIA = "nvidia.com/gpu"
_ALL = f"{NVIDIA}=all"


# Labels of nodes, as NVIDIA's gpu-feature-discovery writes them:
# https://github.com/NVIDIA/k8s-device-plugin/blob/main/docs/gpu-feature-discovery/README.md
_PRODUCT, _MEMORY = f"{NVIDIA}.product", f"{NVIDIA}.memory"
_MAJOR, _MINOR = f"{NVIDIA}.compute.major", f"{NVIDIA}.compute.minor"
_COUNT, _DRIVER = f"{NVIDIA}.count", "nvidia.com/cuda.driver-version.major"
_QUERY = "index,name,compute_cap,memory.total,driver_version"
_MEBIBYTE, _MEGABYTE = 1 << 20, 10**6
_SECONDS = 30.0
_MOST_GPUS = 64
NO_DRIVER = "no NVIDIA driver is loaded (there is no /proc/driver/nvidia)"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its machine describes it: its name, its compute capability as one number, its memory
    in MB, and the branch of the driver; None for what the machine does not tell."""

    index: str
    name: str
    sm: int | None = None
    memory: int | None = None
    driver: int | None = None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """GPU support of the host: the CDI `kinds` that the engine offers, its `runtimes`, and the GPUs
    of the machine."""

    has_driver: bool
    kinds: frozenset[str]
    engine_has_cdi: bool
    runtimes: frozenset[str]
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class NoGpu:
    reason: str


def fitting(requirement: Requirement, gpus: Sequence[Gpu], facts: Facts) -> Sequence[Gpu]:
    """Return the GPUs of a machine that fulfil a requirement, apart from their number. Raise
    ValueError with the reason if they are too few."""
    if not gpus:
        raise ValueError("there is no GPU")
    reasons: dict[str, None] = {}
    chosen = []
    for gpu in gpus:
        if reason := _mismatch(requirement, gpu, facts):
            reasons.setdefault(reason)
        else:
            chosen.append(gpu)
    if len(chosen) >= requirement.gpus:
        return chosen[: requirement.gpus]
    count = f"{len(chosen)} of them" if chosen else "; ".join(reasons)
    raise ValueError(f"there {'are' if len(chosen) > 1 else 'is'} {count}")


def _mismatch(requirement: Requirement, gpu: Gpu, facts: Facts) -> str:
    """Return what a GPU lacks of a requirement; nothing if it fulfils it."""
    models = [model_of(name, facts.gpus) for name in requirement.gpu]
    if models and model_of(gpu.name, facts.gpus) not in models:
        return f"{gpu.name or 'a GPU that says no name'}"
    rows = (
        (requirement.sm, gpu.sm, "compute capability"),
        (f">={requirement.memory}" if requirement.memory else None, gpu.memory, "MB"),
        (requirement.driver, gpu.driver, "driver branch"),
    )
    for bound, value, what in rows:
        if bound is not None and (value is None or not is_within(bound, value)):
            return f"{gpu.name} with {what} {'unknown' if value is None else value}"
    return ""


def choose_for(
    requirement: Requirement, facts: GpuFacts, models: Facts, device: str | None = None
) -> Gpus | NoGpu:
    """Return how to pass GPUs that fulfil a requirement, or why there are none."""
    gpus = choose(facts, device)
    if isinstance(gpus, NoGpu):
        return NoGpu(f"needs {requirement}: {gpus.reason}")
    try:
        chosen = fitting(requirement, facts.gpus, models)
    except ValueError as error:
        return NoGpu(f"needs {requirement}: {error}")
    return gpus if device else replace(gpus, chosen=tuple(gpu.index for gpu in chosen))


def choose(facts: GpuFacts, device: str | None = None) -> Gpus | NoGpu:
    """Return CDI where the engine has the kind, else `--gpus`, else the missing component.

    `device` is a qualified CDI name (`vendor.com/class=name`) that a person asked for.
    """
    name = _ALL if device is None else device
    kind = name.split("=")[0]
    if facts.engine_has_cdi and kind in facts.kinds:
        return Gpus(name)
    if device is not None:
        kinds = ", ".join(sorted(facts.kinds)) or "none"
        return NoGpu(f"the engine has no CDI device of kind `{kind}`; it knows {kinds}")
    if "nvidia" in facts.runtimes and facts.has_driver:
        return Gpus()
    return NoGpu(_missing(facts))


def _missing(facts: GpuFacts) -> str:
    if not facts.has_driver:
        return NO_DRIVER
    if not facts.kinds and "nvidia" not in facts.runtimes:
        return (
            "the driver is loaded, but the NVIDIA Container Toolkit is not set up: "
            "run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
        )
    if not facts.engine_has_cdi:
        return "the engine's feature `cdi` is off in daemon.json"
    return f"no CDI specification is of kind `{NVIDIA}`: run `nvidia-ctk cdi generate`"


def choose_elsewhere(info: Mapping[str, Any]) -> Gpus | NoGpu:
    """Return how an engine on another machine passes its GPUs, by what it says of itself: CDI where
    it has discovered the device, as engines since API 1.50 do, else `--gpus`."""
    if _ALL in _devices(info):
        return Gpus(_ALL)
    if "nvidia" in (info.get("Runtimes") or ()):
        return Gpus()
    return NoGpu(
        f"the engine there has neither discovered the CDI device `{_ALL}`, "
        "which takes Docker 28.2, nor has it the runtime `nvidia`"
    )


def count_elsewhere(info: Mapping[str, Any]) -> int:
    """Return how many GPUs an engine on another machine has; one where it does not tell."""
    if isinstance(choose_elsewhere(info), NoGpu):
        return 0
    numbers = {name for name in _devices(info) if re.fullmatch(rf"{NVIDIA}=\d+", name)}
    return len(numbers) or 1


def _devices(info: Mapping[str, Any]) -> Sequence[str]:
    return [str(row.get("ID")) for row in info.get("DiscoveredDevices") or ()]


def request(gpus: Gpus) -> Mapping[str, Any]:
    """Return the engine's request for GPUs: by CDI, or as `docker run --gpus all` has it."""
    if gpus.device is not None:
        kind = gpus.device.partition("=")[0]
        return {
            "Driver": "cdi",
            "DeviceIDs": [f"{kind}={index}" for index in gpus.chosen] or [gpus.device],
        }
    if gpus.chosen:
        return {"DeviceIDs": [*gpus.chosen], "Capabilities": [["gpu"]]}
    return {"Count": -1, "Capabilities": [["gpu"]]}


def probe_gpu(client: docker.DockerClient) -> GpuFacts:
    info = docker_client.engine_of(client).info()
    directories = info.get("CDISpecDirs") or ()
    return GpuFacts(
        has_driver=has_driver(),
        kinds=frozenset(kind for path in directories for kind in _kinds(Path(path))),
        engine_has_cdi=bool(directories),
        runtimes=frozenset(info.get("Runtimes") or ()),
        gpus=probe_gpus(),
    )


def has_driver() -> bool:
    """Return whether this machine has loaded NVIDIA's driver."""
    return Path("/proc/driver/nvidia/version").exists()


def probe_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs of this machine, as nvidia-smi reports them; none without a driver."""
    if not has_driver():
        return ()
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        return parse_gpus(run(command, failing=EngineError, seconds=_SECONDS))
    except EngineError:
        return ()


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Parse the output of nvidia-smi; values that it does not have, such as `[N/A]`, are None."""
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != _QUERY.count(",") + 1:
            continue
        index, name, capability, mebibytes, driver = fields
        gpus.append(
            Gpu(
                index,
                one_line(name),
                _number(capability.replace(".", "", 1)),
                _megabytes(mebibytes),
                _number(driver.partition(".")[0]),
            )
        )
    return tuple(gpus)


def gpus_elsewhere(info: Mapping[str, Any]) -> tuple[Gpu, ...]:
    """Return the GPUs of an engine on another machine, as its labels describe them: all of a
    machine are equal. None are described without labels."""
    rows = (str(label).partition("=") for label in info.get("Labels") or ())
    labels = {name: value for name, _, value in rows}
    if _PRODUCT not in labels:
        return ()
    count = _number(labels.get(_COUNT, "")) or count_elsewhere(info)
    gpu = Gpu(
        "",
        one_line(labels[_PRODUCT]),
        _number(labels.get(_MAJOR, "") + labels.get(_MINOR, "")),
        _megabytes(labels.get(_MEMORY, "")),
        _number(labels.get(_DRIVER, "")),
    )
    return tuple(replace(gpu, index=str(index)) for index in range(min(count, _MOST_GPUS)))


def choose_elsewhere_for(
    requirement: Requirement, info: Mapping[str, Any], models: Facts
) -> Gpus | NoGpu:
    """Return how an engine on another machine passes GPUs that fulfil a requirement, or why it does
    not."""
    gpus = choose_elsewhere(info)
    if isinstance(gpus, NoGpu):
        return NoGpu(f"needs {requirement}: {gpus.reason}")
    described = gpus_elsewhere(info)
    if not described and requirement != Requirement(gpus=requirement.gpus):
        return NoGpu(f"needs {requirement}: the engine there has no label `{_PRODUCT}`")
    try:
        chosen = fitting(requirement, described or _unnamed(info), models)
    except ValueError as error:
        return NoGpu(f"needs {requirement}: {error}")
    return replace(gpus, chosen=tuple(gpu.index for gpu in chosen))


def _unnamed(info: Mapping[str, Any]) -> Sequence[Gpu]:
    return [Gpu(str(index), "") for index in range(count_elsewhere(info))]


def choose_in_cluster(
    requirement: Requirement, total: int, models: Facts, present: Sequence[str] | None = None
) -> Gpus | NoGpu:
    """Return the GPUs that a cluster finds a node with, or why it has none: jobs may take `total`
    together, and nodes have the models `present`, any without a list."""
    if requirement.gpus > total:
        reason = f"`[kubernetes]` of the user's configuration has `gpus = {total}`"
        return NoGpu(f"needs {requirement}: {reason}")
    suitable = [model for model in suitable_models(requirement, models) if model.names]
    if requirement.gpu and not suitable:
        return NoGpu(f"needs {requirement}: no label of nodes is known for it")
    if present is not None:
        rows = [model_of(name, models.gpus) for name in present]
        suitable = [model for model in suitable if model in rows]
        if not suitable:
            return NoGpu(f"needs {requirement}: `gpu_models` has only {', '.join(present)}")
    return Gpus(count=requirement.gpus, nodes=_nodes(requirement, suitable, present is not None))


def _nodes(
    requirement: Requirement, models: Sequence[GpuModel], is_listed: bool
) -> tuple[tuple[NodeLabel, ...], ...]:
    """Return the conditions for nodes with such GPUs."""
    common: list[NodeLabel] = []
    if requirement.gpu or is_listed:
        names = (name.replace(" ", "-") for model in models for name in model.names)
        common.append(NodeLabel(_PRODUCT, "In", tuple(names)))
    if requirement.memory:
        mebibytes = requirement.memory * _MEGABYTE // _MEBIBYTE
        common.append(NodeLabel(_MEMORY, "Gt", (str(mebibytes - 1),)))
    if requirement.driver:
        common.append(_bound(_DRIVER, requirement.driver))
    if requirement.sm is None:
        return (tuple(common),) if common else ()
    least, is_least = bounds_of(requirement.sm)
    major, minor = divmod(least, 10)
    same = NodeLabel(_MAJOR, "In", (str(major),))
    if not is_least:
        return ((*common, same, NodeLabel(_MINOR, "In", (str(minor),))),)
    newer = NodeLabel(_MINOR, "Gt", (str(minor - 1),))
    return ((*common, same, newer), (*common, NodeLabel(_MAJOR, "Gt", (str(major),))))


def _bound(name: str, bound: str) -> NodeLabel:
    least, is_least = bounds_of(bound)
    return (
        NodeLabel(name, "Gt", (str(least - 1),))
        if is_least
        else NodeLabel(name, "In", (str(least),))
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _megabytes(mebibytes: str) -> int | None:
    number = _number(mebibytes)
    return None if number is None else number * _MEBIBYTE // _MEGABYTE


def _kinds(directory: Path) -> Iterator[str]:
    import yaml  # not where a task uses no GPU

    for file in directory.glob("*"):
        if file.suffix in {".json", ".yaml", ".yml"}:
            # The engine reports a broken specification itself.
            with suppress(OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
                text = file.read_text(encoding="utf-8")
                spec = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
                yield str(spec["kind"])
