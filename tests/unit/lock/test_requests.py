from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import cell_of, lock_of, matrix_of, write_repository

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.model import Lock, PackageSet, Request
from envmatrix.lock.requests import all_requests, drift, requests_of
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

AXES = """\
cuda: ["12.4", "13.0"]
cudnn: [none, "9.28"]
os: [debian12, debian13]
arch: [x86_64, aarch64]"""

X86_64 = {
    "debian12-amd64-base": Request("bootstrap", "amd64", ("?essential", "apt"), "bookworm"),
    "debian12-amd64-unpackers": Request(
        "apt", "amd64", ("unzip", "xz-utils"), "bookworm", ("debian12-amd64-base",)
    ),
    "debian12-amd64-runtime": Request(
        "apt", "amd64", ("cmake",), "bookworm", ("debian12-amd64-base",)
    ),
    "debian12-amd64-devel-gcc12": Request(
        "apt",
        "amd64",
        ("g++-12", "ninja-build"),
        "bookworm",
        ("debian12-amd64-base", "debian12-amd64-runtime"),
    ),
}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("requests") / "repository", AXES)


def asked(matrix: Matrix, cell: str) -> dict[str, Request]:
    return requests_of(cell_of(matrix, cell), matrix, shipped_recipes())


def test_what_an_x86_64_cell_asks_for(matrix: Matrix) -> None:
    assert asked(matrix, "cuda13.0-debian12-x86_64") == {
        **X86_64,
        "cuda13.0-pypi-runtime-amd64": Request("pip", "amd64", ("nvidia-cuda-runtime@13.0",)),
        "cuda13.0-pypi-devel-amd64": Request(
            "pip",
            "amd64",
            (
                "nvidia-cuda-cccl@13.0",
                "nvidia-cuda-crt@13.0",
                "nvidia-cuda-nvcc@13.0",
                "nvidia-cuda-runtime@13.0",
            ),
        ),
        "cuda13.0-pypi-tools-amd64": Request(
            "pip",
            "amd64",
            (
                # No wheel of these programs is of an earlier release.
                "nvidia-cuda-cuobjdump==13.2.*",
                "nvidia-cuda-nvcc@13.0",
                "nvidia-cuda-nvdisasm==13.2.*",
                "nvidia-nvvm@13.0",
            ),
        ),
    }


IMAGE = f"nvidia/cuda@sha256:{'0123456789abcdef' * 4}"


@pytest.fixture(scope="module")
def on_images(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    rest = f"sources: [{{source: image, image: '{IMAGE}', cuda: '12.4'}}]\n"
    axes = AXES.replace("9.28", "9.10").replace(", debian13", "")
    return matrix_of(tmp_path_factory.mktemp("images") / "repository", axes, rest)


def test_what_a_cell_asks_for_whose_cuda_is_in_an_image(on_images: Matrix) -> None:
    start = "debian12-amd64-0123456789ab"
    below = (f"{start}-base",)
    assert asked(on_images, "cuda12.4-cudnn9.10-debian12-x86_64") == {
        f"{start}-base": Request("image", "amd64", (IMAGE,), "bookworm"),
        f"{start}-runtime": Request("apt", "amd64", ("cmake",), "bookworm", below),
        f"{start}-devel-gcc12": Request(
            "apt", "amd64", ("g++-12", "ninja-build"), "bookworm", (*below, f"{start}-runtime")
        ),
        f"{start}-cuda12.4": Request(
            "in-image", "amd64", ("cccl==12.4.*", "cudart==12.4.*", "nvcc==12.4.*"), below=below
        ),
        f"{start}-cudnn9.10": Request("in-image", "amd64", ("cudnn==9.10.*",), below=below),
    }


def test_cells_on_an_image_share_nothing_with_others(on_images: Matrix) -> None:
    there = asked(on_images, "cuda12.4-debian12-aarch64")
    assert not there.keys() & asked(on_images, "cuda13.0-debian12-aarch64").keys()
    assert {its.arch for its in there.values()} == {"arm64"}


def test_an_aarch64_cell_also_asks_for_what_crosses_to_it(matrix: Matrix) -> None:
    requests = asked(matrix, "cuda13.0-debian12-aarch64")
    assert X86_64.items() <= requests.items()
    assert requests["debian12-amd64-cross-gcc12-arm64"] == Request(
        "apt",
        "amd64",
        ("g++-12-aarch64-linux-gnu",),
        "bookworm",
        ("debian12-amd64-base", "debian12-amd64-runtime", "debian12-amd64-devel-gcc12"),
    )
    tools = {key for key in requests if "-tools-" in key}
    assert tools == {"cuda13.0-pypi-tools-amd64", "cuda13.0-pypi-tools-arm64"}
    assert "cuda13.0-pypi-runtime-amd64" not in requests


def test_packages_of_the_target_are_the_image_s_own_and_in_a_cross_image_both(
    tmp_path: Path,
) -> None:
    root = write_repository(tmp_path, AXES)
    for name, package in {"devel": "zlib1g-dev:{target}", "cross": "libnuma-dev:arm64"}.items():
        file = root / f"envs/{name}.yaml"
        file.write_text(file.read_text().replace("packages: [", f'packages: ["{package}", '))
    requests = asked(load_matrix(root), "cuda13.0-debian12-aarch64")
    for arch in ("amd64", "arm64"):
        own = requests[f"debian12-{arch}-devel-gcc12"]
        assert "zlib1g-dev" in own.packages
        assert own.foreign == ()
    across = requests["debian12-amd64-cross-gcc12-arm64"]
    assert across.packages == (
        "g++-12-aarch64-linux-gnu",
        "libnuma-dev:arm64",
        "zlib1g-dev:arm64",
    )
    assert (across.arch, across.foreign) == ("amd64", ("arm64",))


def test_cudnn_is_asked_for_by_its_major_of_cuda(matrix: Matrix) -> None:
    requests = asked(matrix, "cuda13.0-cudnn9.28-debian12-aarch64")
    assert requests["cudnn9.28-pypi-cuda13-arm64"] == Request(
        "pip", "arm64", ("nvidia-cudnn-cu13==9.28.*",)
    )


def test_a_toolkit_of_debian_is_files_of_the_suite_that_has_it(matrix: Matrix) -> None:
    request = asked(matrix, "cuda12.4-debian12-x86_64")["cuda12.4-debian-runtime-amd64"]
    assert request == Request("apt-files", "amd64", ("libcudart12=12.4.*",), "trixie")


def test_nvidias_packages_are_those_of_the_cells_system_and_of_one_release(tmp_path: Path) -> None:
    axes = 'cuda: ["13.2"]\nos: [debian12, debian13]\narch: [x86_64, aarch64]'
    matrix = matrix_of(tmp_path / "repository", axes, "sources: [{source: nvidia-apt}]\n")
    requests = asked(matrix, "cuda13.2-debian13-aarch64")
    assert {key: its.packages for key, its in requests.items() if "nvidia-apt" in key} == {
        "cuda13.2-nvidia-apt-debian13-runtime-arm64": ("cuda-cudart-13-2@13.2",),
        "cuda13.2-nvidia-apt-debian13-devel-arm64": (
            "cuda-cccl-13-2@13.2",
            "cuda-crt-13-2@13.2",
            "cuda-cudart-dev-13-2@13.2",
            "cuda-driver-dev-13-2@13.2",
            "cuda-nvcc-13-2@13.2",
        ),
        **dict.fromkeys(
            (
                "cuda13.2-nvidia-apt-debian13-tools-amd64",
                "cuda13.2-nvidia-apt-debian13-tools-arm64",
            ),
            (
                "cuda-crt-13-2@13.2",
                "cuda-cuobjdump-13-2@13.2",
                "cuda-cuxxfilt-13-2@13.2",
                "cuda-nvcc-13-2@13.2",
                "cuda-nvdisasm-13-2@13.2",
                "cuda-nvprune-13-2@13.2",
                "libnvvm-13-2@13.2",
            ),
        ),
    }
    request = requests["cuda13.2-nvidia-apt-debian13-tools-amd64"]
    assert (request.resolver, request.suite, request.arch) == ("nvidia-apt", "debian13", "amd64")


@pytest.mark.parametrize(("release", "has_cuxxfilt"), [("11.0", False), ("11.2", True)])
def test_a_release_is_asked_for_no_package_that_came_later(
    tmp_path: Path, release: str, *, has_cuxxfilt: bool
) -> None:
    axes = f'cuda: ["{release}"]\nos: [ubuntu20.04]\narch: [x86_64]'
    root = write_repository(tmp_path / "repository", axes, "sources: [{source: nvidia-apt}]\n")
    text = (root / "matrix.yaml").read_text()
    (root / "matrix.yaml").write_text(text.replace('sm: ["90"]', 'sm: ["80"]'))
    requests = asked(load_matrix(root), f"cuda{release}-ubuntu20.04-x86_64")
    (tools,) = (its for key, its in requests.items() if key.endswith("tools-amd64"))
    dashed = release.replace(".", "-")
    assert f"cuda-nvdisasm-{dashed}@{release}" in tools.packages
    assert (f"cuda-cuxxfilt-{dashed}@{release}" in tools.packages) == has_cuxxfilt


def test_a_library_is_given_what_it_asks_for_and_what_that_needs(tmp_path: Path) -> None:
    libraries = "libraries: {a: {path: a, components: [cusparse, nccl]}, b: {path: b}}\n"
    matrix = matrix_of(tmp_path / "repository", AXES.replace('"12.4", ', ""), libraries)
    requests = asked(matrix, "cuda13.0-debian12-x86_64")
    wanted = {
        "nvidia-cuda-runtime@13.0",
        "nvidia-cusparse@13.0",
        "nvidia-nccl-cu13==2.*",
        "nvidia-nvjitlink@13.0",
    }
    assert set(requests["cuda13.0-pypi-runtime-amd64"].packages) == wanted
    assert wanted < set(requests["cuda13.0-pypi-devel-amd64"].packages)
    plain = asked(matrix_of(tmp_path / "plain", AXES.replace('"12.4", ', "")), matrix.cells[0].id)
    tools = "cuda13.0-pypi-tools-amd64"
    assert requests[tools] == plain[tools]


def test_static_libraries_are_for_compiling_only(tmp_path: Path) -> None:
    libraries = "libraries: {a: {path: a, components: [curand-static]}}\n"
    axes = AXES.replace('"12.4", "13.0"', '"12.6"').replace('"9.28"', '"9.10"')
    requests = asked(
        matrix_of(tmp_path / "repository", axes, libraries), "cuda12.6-debian12-x86_64"
    )
    shared = ("cuda/cuda_cudart@12.6", "cuda/libcurand@12.6")
    assert requests["cuda12.6-redist-runtime-amd64"].packages == shared
    assert set(shared) < set(requests["cuda12.6-redist-devel-amd64"].packages)


def test_a_set_comes_after_those_below_it(matrix: Matrix) -> None:
    requests, _ = all_requests(matrix, shipped_recipes())
    keys = list(requests)
    for key, request in requests.items():
        assert all(keys.index(below) < keys.index(key) for below in request.below)


def test_every_cell_lists_its_own_sets(matrix: Matrix) -> None:
    requests, cells = all_requests(matrix, shipped_recipes())
    assert set(cells) == set(matrix.by_id)
    assert {key for keys in cells.values() for key in keys} == set(requests)


def test_a_lock_of_the_matrix_has_no_drift(matrix: Matrix, tmp_path: Path) -> None:
    assert drift(lock_of(matrix, tmp_path), matrix, shipped_recipes()) == ()


def test_drift_is_told_in_words(matrix: Matrix, tmp_path: Path) -> None:
    lock = lock_of(matrix, tmp_path)
    changed = lock.sets["debian12-amd64-runtime"]
    request = replace(changed.request, packages=("cmake", "curl"))
    sets = {
        **lock.sets,
        "debian12-amd64-runtime": replace(changed, request=request),
        "old": PackageSet(Request("pip", "amd64", ()), ()),
    }
    del sets["cudnn9.28-pypi-cuda13-arm64"]
    cells = {**lock.cells, "cuda13.0-debian12-x86_64": ()}
    assert drift(Lock(lock.epoch, sets, cells), matrix, shipped_recipes()) == (
        "`cudnn9.28-pypi-cuda13-arm64` is not locked",
        (
            "`debian12-amd64-runtime` asks for apt bookworm cmake, "
            "the lock has apt bookworm cmake curl"
        ),
        "`old` is no longer used",
        "cell `cuda13.0-debian12-x86_64` changed",
    )
