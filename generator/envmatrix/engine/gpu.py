"""GPU passthrough: the method that works on this machine, or the missing component."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envmatrix.engine import docker_client
from envmatrix.engine.tasks import Gpus
from envmatrix.records import dataclass

if TYPE_CHECKING:
    import docker

NVIDIA = "nvidia.com/gpu"
_ALL = f"{NVIDIA}=all"


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """GPU support of the host: the CDI `kinds` that the engine offers, and its `runtimes`."""

    has_driver: bool
    kinds: frozenset[str]
    engine_has_cdi: bool
    runtimes: frozenset[str]


@dataclass(frozen=True, slots=True)
class NoGpu:
    reason: str


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
        return "no NVIDIA driver is loaded (there is no /proc/driver/nvidia)"
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
        return {"Driver": "cdi", "DeviceIDs": [gpus.device]}
    return {"Count": -1, "Capabilities": [["gpu"]]}


def probe_gpu(client: docker.DockerClient) -> GpuFacts:
    info = docker_client.engine_of(client).info()
    directories = info.get("CDISpecDirs") or ()
    return GpuFacts(
        has_driver=Path("/proc/driver/nvidia/version").exists(),
        kinds=frozenset(kind for path in directories for kind in _kinds(Path(path))),
        engine_has_cdi=bool(directories),
        runtimes=frozenset(info.get("Runtimes") or ()),
    )


def _kinds(directory: Path) -> Iterator[str]:
    import yaml  # not where a task uses no GPU

    for file in directory.glob("*"):
        if file.suffix in {".json", ".yaml", ".yml"}:
            # The engine reports a broken specification itself.
            with suppress(OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
                text = file.read_text(encoding="utf-8")
                spec = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
                yield str(spec["kind"])
