"""Sources of CUDA's parts, and the requests for them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from envmatrix.matrix.subject import IMAGE


@dataclass(frozen=True, slots=True)
class CudaSource:
    """`package` and `cudnn` format the text of a request: from a package's name and the CUDA
    release; from its name, cuDNN's version and CUDA's major. `has_suite`: packages differ by
    suite; `names_suite`: several suites have one release; `crosses`: packages for the target are in
    a repository for cross compiling."""

    resolver: str
    package: Callable[[str, str], str]
    cudnn: Callable[[str, str, str], str] | None = None
    has_suite: bool = False
    names_suite: bool = False
    crosses: bool = False


_NVIDIA = CudaSource(
    "nvidia-apt",
    # cuDNN, NCCL and TensorRT have versions of their own, which the recipe gives.
    lambda name, release: name if "=" in name else f"{name}@{release}",
    lambda name, _version, _major: name,
    has_suite=True,
    names_suite=True,
)

SOURCES = {
    "debian": CudaSource("apt-files", lambda name, _release: name, has_suite=True),
    "pypi": CudaSource(
        "pip",
        # NCCL has versions of its own, which no release of CUDA pins.
        lambda name, release: name if "==" in name else f"{name}@{release}",
        lambda name, version, _major: f"{name}=={version}.*",
    ),
    "redist": CudaSource(
        "redist",
        # cuTENSOR is a product beside CUDA, with releases of its own.
        lambda name, release: name if "@" in name else f"cuda/{name}@{release}",
        lambda name, version, major: f"cudnn/{name}:cuda{major}@{version}",
    ),
    "nvidia-apt": _NVIDIA,
    "nvidia-dnf": replace(_NVIDIA, resolver="nvidia-dnf"),
    "nvidia-cross": replace(_NVIDIA, crosses=True),
    IMAGE: CudaSource(
        "in-image",
        lambda name, release: f"{name}=={release}.*",
        lambda name, version, _major: f"{name}=={version}.*",
    ),
}
