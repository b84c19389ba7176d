from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import plain, with_cuda

from envmatrix.documents import parse_document
from envmatrix.errors import LookupFailed
from envmatrix.facts.components import markers
from envmatrix.facts.model import load_facts
from envmatrix.lock.cuda_in_image import (
    PROBE,
    ProbedImage,
    component_of,
    component_versions,
    parse_contents,
)
from envmatrix.lock.model import ImageRequest, InImageRequest

BASE = ImageRequest("amd64", "jammy", f"nvidia/cuda@sha256:{'1' * 64}")
CUDA = ("cccl", "cudart", "nvcc")


def request_for(*components: str, version: str = "12.4") -> InImageRequest:
    return InImageRequest("amd64", version, components, "base")


def refusal(request: InImageRequest, contents: ProbedImage) -> tuple[str, ...]:
    with pytest.raises(LookupFailed) as caught:
        component_versions(request, BASE, contents)
    assert BASE.image in caught.value.message
    assert caught.value.hint
    return caught.value.details


def probed(root: Path, files: Mapping[str, str]) -> ProbedImage:
    """Probe a directory that stands for the root of an image."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "usr/local/cuda").symlink_to("cuda-12.4")
    (root / "usr/local/cuda-12.4/include").symlink_to("targets/x86_64-linux/include")
    script = re.sub(r"(/etc/|/usr/)", rf"{root}\1", PROBE)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return parse_contents(done.stdout.replace(str(root), ""))


FILES = {
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nVERSION_CODENAME=jammy\n',
    "usr/local/cuda-12.4/targets/x86_64-linux/include/cuda.h": "#define CUDA_VERSION 12040\n",
    "usr/include/x86_64-linux-gnu/cudnn_version.h": (
        "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR  10\n#define CUDNN_PATCHLEVEL 2 /* x */\n"
        "#define CUDNN_VERSION (CUDNN_MAJOR * 10000)\n"
    ),
}
VERSION = '{\n  "cuda" : {\n    "name" : "CUDA SDK",\n    "version" : "12.4.1"\n  }\n}\n'


def test_an_image_says_its_system_its_cuda_and_its_cudnn(tmp_path: Path) -> None:
    contents = probed(tmp_path, {**FILES, "usr/local/cuda-12.4/version.json": VERSION})
    assert (contents.cuda, contents.cudnn) == ("12.4.1", "9.10.2")
    assert contents.os["VERSION_CODENAME"] == "jammy"
    assert contents.os["PRETTY_NAME"] == "Ubuntu 22.04.5 LTS"
    assert contents.matching("include/cuda.h") == ["/usr/local/cuda/include/cuda.h"]
    cudnn = "/usr/include/x86_64-linux-gnu/cudnn_version.h"
    assert contents.matching("include/cudnn_version.h") == [cudnn]


@pytest.mark.parametrize("version", ["", "no JSON", "[]", '{"cuda": 1}'])
def test_without_a_readable_version_json_the_header_tells_the_release(
    tmp_path: Path, version: str
) -> None:
    contents = probed(tmp_path, {**FILES, "usr/local/cuda-12.4/version.json": version})
    assert contents.cuda == "12.4"


def test_an_image_with_nothing_says_nothing(tmp_path: Path) -> None:
    script = re.sub(r"(/etc/|/usr/)", rf"{tmp_path}\1", PROBE)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert parse_contents(done.stdout) == ProbedImage()


@given(st.text())
def test_whatever_an_image_prints_is_read(text: str) -> None:
    parse_contents(text)


def test_what_is_found_has_its_version_where_a_file_tells_it() -> None:
    versions = component_versions(request_for(*CUDA), BASE, with_cuda())
    assert versions == {"cuda": "12.4.1", "cccl": "", "cudart": "1.2.3", "nvcc": ""}
    assert component_versions(request_for("cudnn", version="9.10"), BASE, with_cuda()) == {
        "cudnn": "9.10.2"
    }


def test_a_component_is_found_in_the_directories_of_the_system_too() -> None:
    paths = {
        "/usr/include/nccl.h",
        *(f"/usr/lib/x86_64-linux-gnu/libnccl.so{n}" for n in ("", ".2")),
    }
    contents = replace(with_cuda(), paths=frozenset(paths))
    assert component_versions(request_for("nccl"), BASE, contents)["nccl"] == "2"


def test_one_file_that_is_missing_is_a_component_that_is_missing() -> None:
    whole = with_cuda()
    for path in whole.paths:
        if "cudnn" not in path:
            assert refusal(request_for(*CUDA), replace(whole, paths=whole.paths - {path}))


def test_all_that_is_wrong_is_told_at_once() -> None:
    contents = with_cuda("12.6.3", cudnn=(), suite="noble")
    assert refusal(request_for("cublas", *CUDA, "nvtx"), contents) == (
        "its operating system is The noble, and its suite `noble`, not `jammy`",
        "it has CUDA 12.6.3, not 12.4",
        (
            "component `cublas` is not in it: there is no `include/cublas_v2.h`, "
            "no `lib/libcublas.so.*`, no `lib/libcublasLt.so.*`, no `lib/libcublas.so`"
        ),
        "component `nvtx` is not in it: there is no `include/nvtx3/nvToolsExt.h`",
    )


@pytest.mark.parametrize(
    ("has", "version", "problem"),
    [
        ((9, 10, 2), "9.1", "it has cuDNN 9.10.2, not 9.1"),
        ((9, 10, 2), "9.10.1", "it has cuDNN 9.10.2, not 9.10.1"),
        ((), "9.10", "nothing in it tells a version of cuDNN"),
    ],
)
def test_another_cudnn_is_refused(has: tuple[int, ...], version: str, problem: str) -> None:
    assert refusal(request_for("cudnn", version=version), with_cuda(cudnn=has))[0] == problem


def test_a_patch_is_refused_where_the_image_tells_none() -> None:
    assert refusal(request_for("nvcc", version="12.4.1"), with_cuda("12.4")) == (
        "it has CUDA 12.4, not 12.4.1",
    )


def test_every_component_that_can_be_listed_is_known_by_files() -> None:
    assert set(markers()) == {*load_facts().listable, "cudnn"}
    content = resources.files("envmatrix").joinpath("facts/data/markers.yaml").read_bytes()
    rows = cast("dict[str, dict[str, str]]", plain(parse_document(content, "markers.yaml").root))
    assert all(row["files"] and row["ref"] for row in rows.values())


# The targets of CMake's FindCUDAToolkit, until CMake 4.1. Those of no component are of parts that
# none has, or of all of CUDA.
TARGETS = {
    "cublas": "cublas cublasLt nvblas",
    "cublas-static": "cublas_static cublasLt_static",
    "cudart": "cuda_driver cudart cudart_static cudart_static_deps",
    "cufft": "cufft cufftw",
    "cufft-static": "cufft_static cufft_static_nocallback cufftw_static",
    "culibos": "culibos",
    "cupti": "cupti cupti_static nvperf_host nvperf_host_static nvperf_target pcsamplingutil",
    "curand": "curand",
    "curand-static": "curand_static",
    "cusolver": "cusolver",
    "cusolver-static": "cusolver_static cusolver_lapack_static cusolver_metis_static",
    "cusparse": "cusparse",
    "cusparse-static": "cusparse_static",
    "npp": "nppc nppial nppicc nppicom nppidei nppif nppig nppim nppist nppisu nppitc npps",
    "npp-static": (
        "nppc_static nppial_static nppicc_static nppicom_static nppidei_static nppif_static "
        "nppig_static nppim_static nppist_static nppisu_static nppitc_static npps_static"
    ),
    "nvjitlink": "nvJitLink",
    "nvjitlink-static": "nvJitLink_static",
    "nvml": "nvml nvml_static",
    "nvptxcompiler": "nvptxcompiler_static",
    "nvrtc": "nvrtc nvrtc_builtins",
    "nvrtc-static": "nvrtc_static nvrtc_builtins_static",
    "nvtx": "nvToolsExt nvtx3 nvtx3_interop",
    None: (
        "cuFile cuFile_static cuFile_rdma cuFile_rdma_static cudla nvfatbin nvfatbin_static "
        "nvgraph nvgraph_static nvjpeg nvjpeg_static OpenCL toolkit"
    ),
}


@pytest.mark.parametrize(
    ("target", "component"),
    [(target, component) for component, targets in TARGETS.items() for target in targets.split()],
)
def test_a_target_of_cmake_is_of_a_component(target: str, component: str | None) -> None:
    assert component_of(target) == component


def test_the_targets_are_those_that_cmake_documents() -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("there is no CMake")
    text = subprocess.check_output([cmake, "--help-module", "FindCUDAToolkit"], text=True)
    documented = set(re.findall(r"``CUDA::(\w+)``", text))
    assert documented
    assert (
        documented - {target for targets in TARGETS.values() for target in targets.split()} == set()
    )


@pytest.mark.parametrize(
    ("file", "component"),
    [
        ("nvblas.h", "cublas"),
        ("nvToolsExt.h", "nvtx"),
        ("nvperf_host.h", "cupti"),
        ("cooperative_groups.h", "cudart"),
        ("cuda_fp16.h", "cudart"),
        ("libnvidia-ml.so.1", "nvml"),
        ("nvidia-ml", "nvml"),
        ("nvvm.h", "nvcc"),
        ("libcusparse_static.a", "cusparse-static"),
        ("toolbox.h", None),
    ],
)
def test_a_file_is_of_a_component(file: str, component: str | None) -> None:
    assert component_of(file) == component
