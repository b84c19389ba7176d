from __future__ import annotations

import copy
import json

import pytest
from tests.locks import OF_VERSION_1

from envmatrix.errors import OutOfDate
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import (
    BootstrapRequest,
    ImageRequest,
    InImageRequest,
    ReleaseRequest,
    RepositoryRequest,
    SourceRequest,
    SystemRequest,
    WheelsRequest,
)

REQUESTS = {
    "base": BootstrapRequest("amd64", "bookworm", (PackageSpec("?essential"),)),
    "image": ImageRequest("amd64", "bookworm", "debian@sha256:1"),
    "over": SystemRequest(
        "apt",
        "amd64",
        "bookworm",
        (PackageSpec("cmake"), PackageSpec("zlib1g-dev", arch="arm64")),
        ("base",),
    ),
    "rpms": SystemRequest("dnf", "amd64", "rockylinux9", (PackageSpec("cmake"),), ("image",)),
    "files": SystemRequest(
        "apt-files",
        "amd64",
        "trixie",
        (PackageSpec("libcub-dev"), PackageSpec("libcudart12", "12.4.*")),
    ),
    "pip": ReleaseRequest(
        "pip", "amd64", (PackageSpec("nvidia-nccl-cu13", "2.*"), PackageSpec("nvidia-nvvm")), "13.0"
    ),
    "cudnn": ReleaseRequest("pip", "amd64", (PackageSpec("nvidia-cudnn-cu13", "9.28.*"),)),
    "redist": ReleaseRequest(
        "redist",
        "amd64",
        (PackageSpec("cuda_nvcc"), PackageSpec("libcutensor", "2.3.1", "cutensor", "cuda12")),
        "12.6",
    ),
    "redist-cudnn": ReleaseRequest(
        "redist", "jetson", (PackageSpec("cudnn", "9.10.2.21", "cudnn", "cuda12"),)
    ),
    "nvidia": RepositoryRequest(
        "nvidia-apt",
        "arm64",
        "ubuntu2204",
        (PackageSpec("cuda-nvcc-12-6"), PackageSpec("libnccl2", "2.21.5-1+cuda12.4")),
        "12.6.3",
    ),
    "crossed": RepositoryRequest(
        "nvidia-apt",
        "arm64",
        "ubuntu2204",
        (PackageSpec("cuda-cccl-cross-sbsa-12-6"),),
        "12.6",
        "sbsa",
    ),
    "nvidia-rpms": RepositoryRequest(
        "nvidia-dnf", "amd64", "rhel9", (PackageSpec("cuda-nvcc-13-2"),), "13.2"
    ),
    "inside": InImageRequest("amd64", "12.4", ("cudart", "nvcc"), "image"),
    "wheels": WheelsRequest("amd64", "bookworm", ("numpy>=2",)),
    "library-a": SourceRequest("git", "https://h.example/a", "main"),
    "library-b": SourceRequest("debian-source", "lib", "bookworm"),
}


def test_a_lock_of_version_1_keeps_every_request_and_pin() -> None:
    lock = loads(json.dumps(OF_VERSION_1))
    assert {key: package_set.request for key, package_set in lock.sets.items()} == REQUESTS
    assert {item.name for item in lock.artifacts()} >= {"apt", "n", "cuda_nvcc", "libnccl2"}
    assert lock.sets["base"].diff_id == "sha256:1"
    assert lock.sets["inside"].versions == {"cuda": "12.4.1", "cudart": "", "nvcc": ""}
    assert loads(dumps(lock)) == lock


def test_a_layer_of_version_1_is_bound_to_its_packages_where_the_lock_says_so() -> None:
    document = copy.deepcopy(OF_VERSION_1)
    document["epoch"] = 2
    with pytest.raises(OutOfDate, match="was changed by hand"):
        loads(json.dumps(document))
    del document["sets"]["base"]["inputs"]
    assert loads(json.dumps(document)).epoch == 2
