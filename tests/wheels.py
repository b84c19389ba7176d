"""NVIDIA's packages of a toolkit: trees of files made of the wheels that this repository locks."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.fakes import Silent

from envmatrix.lock import lock_file
from envmatrix.lock.model import Artifact
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher

ROOT = Path(__file__).parents[1]

# Package -> the wheel that holds its files, and which of them; `{dev}` is `dev` or `devel`.
PACKAGES = {
    "cuda-nvcc": ("nvidia-cuda-nvcc", ("bin/", "include/")),
    "cuda-crt": ("nvidia-cuda-crt", ("include/",)),
    "cuda-cuobjdump": ("nvidia-cuda-cuobjdump", ("bin/",)),
    "cuda-cuxxfilt": ("nvidia-cuda-nvcc", ()),
    "cuda-nvdisasm": ("nvidia-cuda-nvdisasm", ("bin/",)),
    "cuda-nvprune": ("nvidia-cuda-nvcc", ()),
    "libnvvm": ("nvidia-nvvm", ("nvvm/",)),
    "cuda-cudart": ("nvidia-cuda-runtime", ("lib/libcudart.so.",)),
    "cuda-cudart-{dev}": (
        "nvidia-cuda-runtime",
        ("include/", "lib/libcudadevrt", "lib/libcudart_"),
    ),
    "cuda-driver-{dev}": ("nvidia-cuda-runtime", ()),
    "cuda-cccl": ("nvidia-cuda-cccl", ("include/", "cccl/")),
}
# File of a wheel -> where NVIDIA's packages and archives have it.
MOVED = {
    "include/nvvm.h": "nvvm/include/nvvm.h",
    "lib/libnvvm.so.4": "nvvm/lib64/libnvvm.so.4",
}
# Programs that no wheel of CUDA 13.5 has, and that nothing here runs.
EMPTY = {"cuda-cuxxfilt": "bin/cu++filt", "cuda-nvprune": "bin/nvprune"}


def toolkit_wheels(*arches: str) -> Mapping[tuple[str, str], Path]:
    """Return the wheels of CUDA 13.5 by name and architecture of Docker; fetch them if need be."""
    wheels = {
        (item.name, package_set.request.arch): item
        for key, package_set in lock_file.load(ROOT).sets.items()
        if key.startswith("cuda13.5-pypi") and package_set.request.arch in arches
        for item in package_set.artifacts
    }
    _fetch(wheels.values())
    return {key: Store.of_user().path(item) for key, item in wheels.items()}


def _fetch(artifacts: Iterable[Artifact]) -> None:
    with http_client() as client:
        Fetcher(Store.of_user(), Origins(), client).fetch(sorted(set(artifacts)), Silent())


def unpack_package(package: str, wheel: Path, root: Path, target: Path) -> None:
    """Unpack one of `PACKAGES` below the CUDA root, and below its directory of the target."""
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as files:
        for entry in files.namelist():
            inside = entry.partition("nvidia/cu13/")[2]
            inside = MOVED.get(inside, inside)
            if inside.startswith(PACKAGES[package][1]):
                top = target if inside.startswith(("include/", "lib/")) else root
                (top / inside).parent.mkdir(parents=True, exist_ok=True)
                (top / inside).write_bytes(files.read(entry))
    if package in EMPTY:
        (root / EMPTY[package]).parent.mkdir(parents=True)
        (root / EMPTY[package]).touch()
    # The wheels lack these: the links, and a stub that nothing here links to.
    if package == "libnvvm":
        (root / "nvvm/lib64/libnvvm.so").symlink_to("libnvvm.so.4")
    if package == "cuda-cudart-{dev}":
        (target / "lib/libcudart.so").symlink_to("libcudart.so.13")
    if package == "cuda-driver-{dev}":
        (target / "lib/stubs").mkdir(parents=True)
        (target / "lib/stubs/libcuda.so").touch()
