"""Names of images, runners and compilers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.adoption.imports import words


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        (
            "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04",
            {"cuda": "12.4.1", "cudnn": "any", "os": "ubuntu22.04"},
        ),
        (
            "registry.example/cuda:11.8.0-cudnn8-devel-rockylinux8",
            {"cuda": "11.8.0", "cudnn": "8", "os": "rockylinux8"},
        ),
        ("nvidia/cuda:12.2.2-cudnn8.9.6-ubi8", {"cuda": "12.2.2", "cudnn": "8.9.6", "os": "ubi8"}),
        (
            "images/devcontainers:26.10-cpp-gcc13-cuda13.3-ubuntu22.04",
            {"cuda": "13.3", "os": "ubuntu22.04", "compiler": "gcc-13"},
        ),
        ("images/x:114-gnu10-llvm12", {}),
        ("images/cuda:114-gnu10-llvm12", {"cuda": "11.4"}),
        (
            "linux-jammy-cuda12.8-cudnn9-py3-gcc11",
            {"cuda": "12.8", "cudnn": "9", "os": "ubuntu22.04", "compiler": "gcc-11"},
        ),
        ("anvil-x86_64:alma9", {"os": "rockylinux9", "arch": "x86_64"}),
        ("anvil-aarch64:cos7", {"os": "centos7", "arch": "aarch64"}),
        ("manylinux_2_28_x86_64", {"os": "rockylinux8", "arch": "x86_64"}),
        ("ubuntu-24.04-arm", {"os": "ubuntu24.04", "arch": "aarch64"}),
        ("debian:bookworm-slim", {"os": "debian12"}),
        ("amazonlinux:2023", {"os": "amzn2023"}),
        ("opensuse/leap:15.6", {"os": "opensuse15"}),
        ("ubuntu-latest", {"arch": "x86_64"}),
        ("linux_aarch64", {"arch": "aarch64"}),
        ("linux-64", {"arch": "x86_64"}),
        ("fedora:41", {"os": "fedora41"}),
    ],
)
def test_a_name_says_what_is_in_it(name: str, axes: dict[str, str]) -> None:
    assert words.axes_in_name(name) == axes


def test_the_label_of_a_runner_says_which_gpu_it_has() -> None:
    machine = words.machine_in_label("linux-amd64-gpu-h100-latest-2")
    assert machine == {"gpu": "h100", "gpus": "2"}
    assert words.machine_in_label("gpu-l4-550-1") == {"gpu": "l4", "driver": "550"}
    assert words.machine_in_label("linux-amd64-cpu16") == {}


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("12.4", "12.4"),
        ("12.4.1", "12.4.1"),
        ("cuda-12-4", "12.4"),
        ("cu124", "12.4"),
        ("CUDA 11.8", "11.8"),
        ("13.X", None),
        ("12", None),
        ("cu999", None),
        ("latest", None),
    ],
)
def test_a_release_in_any_spelling(text: str, release: str | None) -> None:
    assert words.cuda_release(text) == release


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("70;75-real;80-virtual", ("70", "75", "80")),
        ("7.0 8.6+PTX", ("70", "86")),
        ("sm_90a, 100", ("90a", "100")),
        ("native", None),
        ("", None),
    ],
)
def test_gpu_architectures_in_any_spelling(text: str, names: tuple[str, ...] | None) -> None:
    assert words.gpu_architectures(text) == names


def test_standards_and_build_types_in_any_spelling() -> None:
    assert [words.standard(text) for text in ("17", "c++20", "cxx14", "98")] == [
        "17",
        "20",
        "14",
        None,
    ]
    assert [words.build_type(text) for text in ("debug", "RELEASE", "Fast")] == [
        "Debug",
        "Release",
        None,
    ]
    assert [words.sanitizer(text) for text in ("address", "tsan", "memory")] == [
        "asan",
        "tsan",
        None,
    ]


@pytest.mark.parametrize("name", ["windows-2022", "macos-14", "win-64", "osx-arm64", "msvc2022"])
def test_other_systems_are_told(name: str) -> None:
    assert words.foreign_reason(name) == words.WINDOWS_OR_MACOS


def test_darts_and_winter_are_no_other_systems() -> None:
    assert not words.foreign_reason("winter-darts-clang")


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for read in (
        words.axes_in_name,
        words.cuda_release,
        words.gpu_architectures,
        words.standard,
        words.machine_in_label,
        words.substitution,
        words.foreign_reason,
    ):
        read(text)
