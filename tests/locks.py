"""Locks of version 1: one with a request to every resolver, and what another lock was there."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes import artifact

from envmatrix.lock.lock_file import dumps
from envmatrix.lock.model import Artifact, Lock

_BASE = {"resolver": "bootstrap", "suite": "bookworm", "arch": "amd64", "packages": ["?essential"]}
_LAYER = {"diff_id": "sha256:1"}
_SEAL = "sha256:b437630b8d9bff7f83a21d35f5e33aac30d1c56f77a3adb97c4bd6588774c53b"


def _set(resolver: str, arch: str, *packages: str, **others: object) -> dict[str, object]:
    return {
        "resolver": resolver,
        "arch": arch,
        "packages": list(packages),
        **others,
        "artifacts": [],
    }


def _row(item: Artifact) -> dict[str, object]:
    names = ("origin", "path", "name", "version", "size")
    return {name: getattr(item, name) for name in names}


def _files(*names: str) -> dict[str, list[str]]:
    return {"artifacts": [f"{name} 1.0 {_PACKAGES[name].sha256[:12]}" for name in names]}


_CUDA = (
    *("cuda-cccl-cross-sbsa-12-6", "cuda-nvcc-12-6", "cuda-nvcc-13-2", "cuda_nvcc", "cudnn"),
    *("libcub-dev", "libcudart12", "libcutensor", "libnccl2"),
    *("nvidia-cudnn-cu13", "nvidia-nccl-cu13", "nvidia-nvvm"),
)
_PACKAGES = {name: artifact(name) for name in ("apt", *_CUDA)} | {"n": artifact("n", origin="pypi")}
_OVER = {"suite": "bookworm", "below": ["base"]}

OF_VERSION_1: dict[str, Any] = {
    "version": 1,
    "epoch": 1,
    "cells": {"cuda13.0-debian12-x86_64": ["base", "wheels"]},
    "sets": {
        "base": {**_BASE, **_LAYER, "inputs": _SEAL, **_files("apt")},
        "image": _set("image", "amd64", "debian@sha256:1", suite="bookworm"),
        "over": _set("apt", "amd64", "cmake", "zlib1g-dev:arm64", **_OVER),
        "rpms": _set("dnf", "amd64", "cmake", suite="rockylinux9", below=["image"]),
        "files": _set("apt-files", "amd64", "libcub-dev", "libcudart12=12.4.*", suite="trixie")
        | _files("libcub-dev", "libcudart12"),
        "pip": _set("pip", "amd64", "nvidia-nccl-cu13==2.*", "nvidia-nvvm@13.0")
        | _files("nvidia-nccl-cu13", "nvidia-nvvm"),
        "cudnn": _set("pip", "amd64", "nvidia-cudnn-cu13==9.28.*")
        | _files("nvidia-cudnn-cu13"),
        "redist": _set(
            "redist", "amd64", "cuda/cuda_nvcc@12.6", "cutensor/libcutensor:cuda12@2.3.1"
        ) | _files("cuda_nvcc", "libcutensor"),
        "redist-cudnn": _set("redist", "jetson", "cudnn/cudnn:cuda12@9.10.2.21")
        | _files("cudnn"),
        "nvidia": _set(
            "nvidia-apt", "arm64", "cuda-nvcc-12-6@12.6.3", "libnccl2=2.21.5-1+cuda12.4",
            suite="ubuntu2204",
        ) | _files("cuda-nvcc-12-6", "libnccl2"),
        "crossed": _set(
            "nvidia-apt", "arm64", "cuda-cccl-cross-sbsa-12-6@12.6",
            suite="ubuntu2204/cross-linux-sbsa",
        ) | _files("cuda-cccl-cross-sbsa-12-6"),
        "nvidia-rpms": _set("nvidia-dnf", "amd64", "cuda-nvcc-13-2@13.2", suite="rhel9")
        | _files("cuda-nvcc-13-2"),
        "inside": _set("in-image", "amd64", "cudart==12.4.*", "nvcc==12.4.*", below=["image"])
        | {"found": {"cuda": "12.4.1", "cudart": "", "nvcc": ""}},
        "wheels": _set("wheels", "amd64", "numpy>=2", suite="bookworm")
        | _files("n"),
        "library-a": _set("git", "source", "https://h.example/a", "main")
        | {"found": {"commit": "c"}},
        "library-b": _set("debian-source", "source", "lib", "debian12", suite="bookworm"),
    },
    "artifacts": {
        item.sha256: _row(item) for item in _PACKAGES.values()
    },
}  # fmt: skip


def of_version_1(lock: Lock) -> str:
    """Return a lock of packages and wheels as version 1 had it, without what cells use."""
    rows = json.loads(dumps(lock))["sets"]
    sets = {
        key: {
            **_request(rows[key]["request"]),
            **{name: rows[key][name] for name in ("diff_id", "inputs") if name in rows[key]},
            "artifacts": [
                f"{artifact.name} {artifact.version} {artifact.sha256[:12]}"
                for artifact in locked.artifacts
            ],
        }
        for key, locked in lock.sets.items()
    }
    artifacts = {item.sha256: _row(item) for item in lock.artifacts()}
    document = {"version": 1, "epoch": lock.epoch, "cells": {}, "sets": sets}
    return json.dumps({**document, "artifacts": artifacts})


def _request(row: dict[str, Any]) -> dict[str, Any]:
    release = row.pop("release", "")
    texts = [
        package if isinstance(package, str) else f"{package['name']}=={package['version']}"
        for package in row["packages"]
    ]
    own = [text if "=" in text or not release else f"{text}@{release}" for text in texts]
    return {**row, "packages": own}
