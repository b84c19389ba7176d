"""The packages that are asked for are those of NVIDIA's own Dockerfiles, version by version.

What the Dockerfiles have is written down here; what is compared with it comes from the manifest of
the release. Three manifests may lie beside this checkout. Of four more, what NixOS/nixpkgs keeps or
kept of them is written down as well: pkgs/development/cuda-modules/_cuda/manifests/cuda, and for
12.8.1 cuda/manifests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import Archive, FakeBackend, matrix_of, nvidia_apt, resolution_of

from envmatrix.errors import LookupFailed
from envmatrix.facts.components import manifest_names
from envmatrix.facts.loading import read_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import Recipes, SourceRecipes, recipes_of, shipped_recipes
from envmatrix.lock.requests import all_requests, words_of
from envmatrix.lock.resolution import upgrade_rule
from envmatrix.lock.resolvers.nvidia import Manifest, pins, rpm_name
from envmatrix.lock.resolvers.redist import Redist
from envmatrix.matrix.cells import Cell, CudaSource, Toolchain

BESIDE = Path(__file__).parents[4] / "shared/redist/cuda"

# gitlab.com/nvidia/container-images/cuda, `manifests/cuda.yaml` and `dist/<release>/`, as a mirror
# has them; the same on Ubuntu and Rocky Linux. Revisions are `-1`.
PUBLISHED = {
    "11.8.0": {
        "cuda-cudart": "11.8.89",
        "cuda-cudart-dev": "11.8.89",
        "libcublas": "11.11.3.6",
        "libcublas-dev": "11.11.3.6",
        "libcusparse": "11.7.5.86",
        "libnpp": "11.8.0.86",
        "cuda-nsight-compute": "11.8.0",
        "cuda-libraries": "11.8.0",
        "cuda-nvml-dev": "11.8.86",
        "cuda-nvprof": "11.8.87",
        "cuda-nvtx": "11.8.86",
        "cuda-profiler-api": "11.8.86",
    },
    "12.2.2": {
        "cuda-cudart": "12.2.140",
        "cuda-cudart-dev": "12.2.140",
        "libcublas": "12.2.5.6",
        "libcublas-dev": "12.2.5.6",
        "libcusparse": "12.1.2.141",
        "libnpp": "12.2.1.4",
        "cuda-nsight-compute": "12.2.2",
        "cuda-libraries": "12.2.2",
        "cuda-nvml-dev": "12.2.140",
        "cuda-nvprof": "12.2.142",
        "cuda-nvtx": "12.2.140",
        "cuda-profiler-api": "12.2.140",
    },
    "12.4.1": {
        "cuda-cudart": "12.4.127",
        "cuda-cudart-dev": "12.4.127",
        "libcublas": "12.4.5.8",
        "libcublas-dev": "12.4.5.8",
        "libcusparse": "12.3.1.170",
        "libnpp": "12.2.5.30",
        "cuda-nsight-compute": "12.4.1",
        "cuda-libraries": "12.4.1",
        "cuda-nvml-dev": "12.4.127",
        "cuda-nvprof": "12.4.127",
        "cuda-nvtx": "12.4.127",
        "cuda-profiler-api": "12.4.127",
    },
    "12.6.3": {
        "cuda-cudart": "12.6.77",
        "cuda-cudart-dev": "12.6.77",
        "libcublas": "12.6.4.1",
        "libcublas-dev": "12.6.4.1",
        "libcusparse": "12.5.4.2",
        "libnpp": "12.3.1.54",
        "cuda-nsight-compute": "12.6.3",
        "cuda-libraries": "12.6.3",
        "cuda-nvml-dev": "12.6.77",
        "cuda-nvprof": "12.6.80",
        "cuda-nvtx": "12.6.77",
        "cuda-profiler-api": "12.6.77",
    },
    "12.8.1": {
        "cuda-cudart": "12.8.90",
        "cuda-cudart-dev": "12.8.90",
        "libcublas": "12.8.4.1",
        "libcublas-dev": "12.8.4.1",
        "libcusparse": "12.5.8.93",
        "libnpp": "12.3.3.100",
        "cuda-nsight-compute": "12.8.1",
        "cuda-libraries": "12.8.1",
        "cuda-nvml-dev": "12.8.90",
        "cuda-nvprof": "12.8.90",
        "cuda-nvtx": "12.8.90",
        "cuda-profiler-api": "12.8.90",
    },
    "12.9.1": {
        "cuda-cudart": "12.9.79",
        "cuda-cudart-dev": "12.9.79",
        "libcublas": "12.9.1.4",
        "libcublas-dev": "12.9.1.4",
        "libcusparse": "12.5.10.65",
        "libnpp": "12.4.1.87",
        "cuda-nsight-compute": "12.9.1",
        "cuda-libraries": "12.9.1",
        "cuda-nvml-dev": "12.9.79",
        "cuda-nvprof": "12.9.79",
        "cuda-nvtx": "12.9.79",
        "cuda-profiler-api": "12.9.79",
    },
    "13.0.2": {
        "cuda-cudart": "13.0.96",
        "cuda-cudart-dev": "13.0.96",
        "libcublas": "13.1.0.3",
        "libcublas-dev": "13.1.0.3",
        "libcusparse": "12.6.3.3",
        "libnpp": "13.0.1.2",
        "cuda-nsight-compute": "13.0.2",
        "cuda-libraries": "13.0.2",
        "cuda-nvml-dev": "13.0.87",
        "cuda-nvtx": "13.0.85",
        "cuda-profiler-api": "13.0.85",
    },
}

# Versions in manifests, as NixOS/nixpkgs has them.
KEPT = {
    "12.6.3": {
        "cuda_cudart": "12.6.77",
        "cuda_nvml_dev": "12.6.77",
        "cuda_nvprof": "12.6.80",
        "cuda_nvtx": "12.6.77",
        "cuda_profiler_api": "12.6.77",
        "libcublas": "12.6.4.1",
        "libcusparse": "12.5.4.2",
        "libnpp": "12.3.1.54",
    },
    "12.8.1": {
        "cuda_cudart": "12.8.90",
        "cuda_nvml_dev": "12.8.90",
        "cuda_nvprof": "12.8.90",
        "cuda_nvtx": "12.8.90",
        "cuda_profiler_api": "12.8.90",
        "libcublas": "12.8.4.1",
        "libcusparse": "12.5.8.93",
        "libnpp": "12.3.3.100",
    },
    "12.9.1": {
        "cuda_cudart": "12.9.79",
        "cuda_nvml_dev": "12.9.79",
        "cuda_nvprof": "12.9.79",
        "cuda_nvtx": "12.9.79",
        "cuda_profiler_api": "12.9.79",
        "libcublas": "12.9.1.4",
        "libcusparse": "12.5.10.65",
        "libnpp": "12.4.1.87",
    },
    "13.0.2": {
        "cuda_cudart": "13.0.96",
        "cuda_nvml_dev": "13.0.87",
        "cuda_nvtx": "13.0.85",
        "cuda_profiler_api": "13.0.85",
        "libcublas": "13.1.0.3",
        "libcusparse": "12.6.3.3",
        "libnpp": "13.0.1.2",
    },
}

# CUDA -> cuDNN and NCCL of the Dockerfiles: the cell's cuDNN, then packages by family.
COMPANIONS = {
    "11.8.0": (
        "8.9.6.50",
        ["libcudnn8=8.9.6.50-1+cuda11.8", "libcudnn8-dev=8.9.6.50-1+cuda11.8"],
        ["libcudnn8-8.9.6.50-1.cuda11.8", "libcudnn8-devel-8.9.6.50-1.cuda11.8"],
        "2.15.5-1+cuda11.8",
    ),
    "12.2.2": (
        "8.9.6.50",
        ["libcudnn8=8.9.6.50-1+cuda12.2", "libcudnn8-dev=8.9.6.50-1+cuda12.2"],
        ["libcudnn8-8.9.6.50-1.cuda12.2", "libcudnn8-devel-8.9.6.50-1.cuda12.2"],
        "2.19.3-1+cuda12.2",
    ),
    "12.4.1": (
        "9.1.0.70",
        ["libcudnn9-cuda-12=9.1.0.70-1", "libcudnn9-dev-cuda-12=9.1.0.70-1"],
        ["libcudnn9-cuda-12-9.1.0.70-1", "libcudnn9-devel-cuda-12-9.1.0.70-1"],
        "2.21.5-1+cuda12.4",
    ),
    "12.6.3": (
        "9.5.1.17",
        ["libcudnn9-cuda-12=9.5.1.17-1", "libcudnn9-dev-cuda-12=9.5.1.17-1"],
        ["libcudnn9-cuda-12-9.5.1.17-1", "libcudnn9-devel-cuda-12-9.5.1.17-1"],
        "2.23.4-1+cuda12.6",
    ),
    "12.8.1": (
        "9.8.0.87",
        ["libcudnn9-cuda-12=9.8.0.87-1", "libcudnn9-dev-cuda-12=9.8.0.87-1"],
        ["libcudnn9-cuda-12-9.8.0.87-1", "libcudnn9-devel-cuda-12-9.8.0.87-1"],
        "2.25.1-1+cuda12.8",
    ),
    # Since 9.10 the headers are in a package that the published -dev one needs.
    "12.9.1": (
        "9.10.2.21",
        ["libcudnn9-cuda-12=9.10.2.21-1"],
        ["libcudnn9-cuda-12-9.10.2.21-1"],
        "2.27.3-1+cuda12.9",
    ),
    "13.0.2": (
        "9.14.0.64",
        ["libcudnn9-cuda-13=9.14.0.64-1"],
        ["libcudnn9-cuda-13-9.14.0.64-1"],
        "2.28.3-1+cuda13.0",
    ),
}

# What a source of rpm packages says beside `like: nvidia-apt`.
RPM = {"dev": "devel", "built": ".cuda", "nccl_package": "libnccl", "libraries": "usr/lib64"}


def redist(release: str) -> Redist:
    """Return the manifest of a release: the one beside this checkout, or what is kept of it."""
    name = f"redistrib_{release}.json"
    if (BESIDE / name).is_file():
        content = (BESIDE / name).read_bytes()
    elif release in KEPT:
        content = json.dumps(
            {key: {"version": version} for key, version in KEPT[release].items()}
        ).encode()
    else:
        pytest.skip(f"there is no manifest of {release} beside this checkout")
    files = {"cuda/redist/": name.encode(), f"cuda/redist/{name}": content}

    def read(path: str) -> bytes:
        if path not in files:
            raise LookupFailed(f"`{path}` is nowhere to be had")
        return files[path]

    return Redist(read)


def package_name(release: str, name: str, dev: str) -> str:
    """Return the package of a release by its family's name."""
    full = f"{name.removesuffix('-dev')}{dev}" if name.endswith("-dev") else name
    return f"{full}-{'-'.join(release.split('.')[:2])}"


@pytest.mark.parametrize("release", PUBLISHED)
def test_the_packages_of_a_release_are_those_of_the_published_dockerfiles(release: str) -> None:
    manifest = redist(release)
    for name, version in PUBLISHED[release].items():
        for dev in ("-dev", "-devel"):
            package = package_name(release, name, dev)
            (pin,) = pins([PackageSpec(package)], release, manifest.versions)
            assert str(pin) == f"{package}={version}-1"
            assert rpm_name(pin) == f"{package}-{version}-1"


def as_rpm() -> Recipes:
    """Return the recipes of a source of rpm packages that is like NVIDIA's of .deb packages."""
    shipped = read_facts("components.yaml", Mapping[str, SourceRecipes])
    rpm = SourceRecipes(like="nvidia-apt", words={"11.8": RPM})
    both = {"nvidia-apt": shipped["nvidia-apt"], "rpm": rpm}
    return recipes_of(both, shipped_recipes().products)


def companions(release: str, cudnn: str, recipes: Recipes, source: str) -> list[PackageSpec]:
    """Return cuDNN and NCCL of a cell, as its recipes ask for them."""
    toolchain = Toolchain("12", CudaSource(source, None), None, source, ())
    words = words_of(Cell(release, cudnn, "debian12", "x86_64", toolchain), recipes)
    parts = [*recipes.of_cudnn(source, cudnn).values()]
    parts += recipes.of(source, ("nccl",), "runtime")
    names = (package.format_map(words) for recipe in parts for package in recipe.take)
    return [PackageSpec.parse(name) for name in names]


@pytest.mark.parametrize("release", COMPANIONS)
def test_cudnn_and_nccl_are_those_of_the_published_dockerfiles(release: str) -> None:
    cudnn, debs, rpms, nccl = COMPANIONS[release]
    no_manifest: Manifest = ("", {})

    packages = companions(release, cudnn, shipped_recipes(), "nvidia-apt")
    versions = {str(pin) for pin in pins(packages, release, lambda _release: no_manifest)}
    assert {*debs, f"libnccl2={nccl}"} <= versions

    packages = companions(release, cudnn, as_rpm(), "rpm")
    versions = {rpm_name(pin) for pin in pins(packages, release, lambda _release: no_manifest)}
    assert {*rpms, f"libnccl-{nccl}"} <= versions


LIBRARY = "libraries: {a: {path: a, components: [npp, cusparse, nvtx, nvml, profiler, nccl]}}\n"


def test_a_cell_of_a_patch_is_locked_in_the_published_versions(tmp_path: Path) -> None:
    release, (cudnn, debs, _, nccl) = "12.4.1", COMPANIONS["12.4.1"]
    manifest = redist(release)
    axes = f'cuda: ["{release}"]\ncudnn: ["{cudnn}"]\nos: [debian12]\narch: [x86_64]'
    matrix = matrix_of(
        tmp_path / "repository", axes, f"sources: [{{source: nvidia-apt}}]\n{LIBRARY}"
    )
    archive = Archive()
    resolution = resolution_of(FakeBackend(tmp_path / "home", archive))
    apt = replace(nvidia_apt(tmp_path / "home", archive), manifest=manifest.versions, _apts={})
    resolution = replace(resolution, resolvers={**resolution.resolvers, "nvidia-apt": apt.resolve})
    requests = all_requests(matrix, shipped_recipes())
    resolution.resolve(requests, None, upgrade_rule(None, None))

    packages = {text for home, _, *texts in archive.commands if "nvidia" in home for text in texts}
    published = {
        f"{package_name(release, name, '-dev')}={version}-1"
        for name, version in PUBLISHED[release].items()
    }
    whole = {text.split("=")[0] for text in packages}
    assert {text for text in published if text.split("=")[0] in whole} <= packages
    assert {*debs, f"libnccl2={nccl}"} <= packages
    assert {
        f"{name}-12-4" for name in ("libnpp", "libcusparse", "cuda-nvtx", "cuda-nvml-dev")
    } <= whole
    assert all("=" in text for text in packages)


def test_every_package_of_a_release_is_known_by_a_name_in_its_manifest() -> None:
    recipes = shipped_recipes()
    for release in ("11.8", "12.4", "13.0", "13.3"):
        words = {**recipes.words_of("nvidia-apt", release), "dashed": "0-0", "cudnn_pin": "*"}
        for parts in recipes.sources["nvidia-apt"].components.values():
            for recipe in parts.values():
                for package in recipe.take:
                    if "=" not in package:
                        text = package.format_map(words).removesuffix("-0-0").removesuffix("-dev")
                        assert text in manifest_names()


def test_a_package_of_no_known_version_is_refused_in_a_patch() -> None:
    no_manifest: Manifest = ("", {})
    with pytest.raises(LookupFailed, match="whose version `cuda-thrust-11-3` has in CUDA"):
        pins([PackageSpec("cuda-thrust-11-3")], "11.3.1", lambda _release: no_manifest)
