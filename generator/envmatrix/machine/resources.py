"""Resources of this machine: its architecture, processors, memory and GPUs."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from envmatrix.facts.targets import machine_called
from envmatrix.files import readable_text
from envmatrix.text import one_line

# How many sets of files are downloaded at once, each over several connections: more make the first
# one come later.
DOWNLOADS = 2
# How many images are built at once by default.
BUILDS = 2


@cache
def host_arch() -> str:
    """Return Docker's name of this machine's architecture."""
    name = os.uname().machine
    machine = machine_called(uname=name)
    return machine.docker if machine else name


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int | None:
    """Return the bytes that new programs can allocate without swapping; None where unknown."""
    lines = readable_text(Path("/proc/meminfo")).splitlines()
    rows = dict(line.split(":", 1) for line in lines)
    return int(rows["MemAvailable"].split()[0]) << 10 if "MemAvailable" in rows else None


def processor_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model of this machine's processors, or its architecture where none is told."""
    rows = (line.partition(":") for line in readable_text(cpuinfo).splitlines())
    names = (value.strip() for key, _, value in rows if key.strip() == "model name")
    return one_line(next(names, "")) or host_arch()


def gpus() -> int:
    """Return the number of GPUs that a loaded driver of NVIDIA's has."""
    return len([*Path("/proc/driver/nvidia/gpus").glob("*")])
