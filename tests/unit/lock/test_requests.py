from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import cell_of, lock_of, matrix_of, write_repository

from envmatrix.errors import OutOfDate
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.model import (
    BootstrapRequest,
    ImageRequest,
    InImageRequest,
    Lock,
    PackageSet,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SourceRequest,
    SystemRequest,
    WheelsRequest,
    sets_below,
)
from envmatrix.lock.requests import all_requests, drift, requests_of, require_current, sets_of
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

AXES = """\
cuda: ["12.4", "13.0"]
cudnn: [none, "9.28"]
os: [debian12, debian13]
arch: [x86_64, aarch64]"""

BASE = ("debian12-amd64-base",)


def specs(*texts: str) -> tuple[PackageSpec, ...]:
    return tuple(map(PackageSpec.parse, texts))


def packages(*names: str, below: tuple[str, ...] = BASE) -> SystemRequest:
    return SystemRequest("apt", "amd64", "bookworm", specs(*names), below)


def texts(request: Request) -> tuple[str, ...]:
    assert not isinstance(request, ImageRequest | InImageRequest | WheelsRequest | SourceRequest)
    return tuple(map(str, request.packages))


X86_64 = {
    "debian12-amd64-base": BootstrapRequest(
        "amd64", "bookworm", specs("?essential", "apt", "usr-is-merged")
    ),
    "debian12-amd64-unpackers": packages("unzip", "xz-utils"),
    "debian12-amd64-runtime": packages("cmake"),
    "debian12-amd64-devel-gcc12": packages(
        "g++-12", "ninja-build", below=(*BASE, "debian12-amd64-runtime")
    ),
}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("requests") / "repository", AXES)


def requests_in(matrix: Matrix, cell: str) -> dict[str, Request]:
    return requests_of(cell_of(matrix, cell), matrix, shipped_recipes())


def test_what_an_x86_64_cell_asks_for(matrix: Matrix) -> None:
    assert requests_in(matrix, "cuda13.0-debian12-x86_64") == {
        **X86_64,
        "cuda13.0-pypi-runtime-amd64": ReleaseRequest(
            "pip", "amd64", specs("nvidia-cuda-runtime"), "13.0"
        ),
        "cuda13.0-pypi-devel-amd64": ReleaseRequest(
            "pip",
            "amd64",
            specs("nvidia-cuda-cccl", "nvidia-cuda-crt", "nvidia-cuda-nvcc", "nvidia-cuda-runtime"),
            "13.0",
        ),
        "cuda13.0-pypi-tools-amd64": ReleaseRequest(
            "pip",
            "amd64",
            specs(
                # No wheel of these programs is of an earlier release.
                "nvidia-cuda-cuobjdump=13.2.*",
                "nvidia-cuda-nvcc",
                "nvidia-cuda-nvdisasm=13.2.*",
                "nvidia-nvvm",
            ),
            "13.0",
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
    assert requests_in(on_images, "cuda12.4-cudnn9.10-debian12-x86_64") == {
        f"{start}-base": ImageRequest("amd64", "bookworm", IMAGE),
        f"{start}-runtime": packages("cmake", below=below),
        f"{start}-devel-gcc12": packages(
            "g++-12", "ninja-build", below=(*below, f"{start}-runtime")
        ),
        f"{start}-cuda12.4": InImageRequest(
            "amd64", "12.4", ("cccl", "cudart", "nvcc"), f"{start}-base"
        ),
        f"{start}-cudnn9.10": InImageRequest("amd64", "9.10", ("cudnn",), f"{start}-base"),
    }


def test_cells_on_an_image_share_nothing_with_others(on_images: Matrix) -> None:
    on_image = requests_in(on_images, "cuda12.4-debian12-aarch64")
    assert not on_image.keys() & requests_in(on_images, "cuda13.0-debian12-aarch64").keys()
    assert {request.arch for request in on_image.values()} == {"arm64"}


def test_an_aarch64_cell_also_asks_for_what_crosses_to_it(matrix: Matrix) -> None:
    requests = requests_in(matrix, "cuda13.0-debian12-aarch64")
    assert X86_64.items() <= requests.items()
    assert requests["debian12-amd64-cross-gcc12-arm64"] == packages(
        "g++-12-aarch64-linux-gnu",
        below=(*BASE, "debian12-amd64-runtime", "debian12-amd64-devel-gcc12"),
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
    requests = requests_in(load_matrix(root), "cuda13.0-debian12-aarch64")
    for arch in ("amd64", "arm64"):
        own = requests[f"debian12-{arch}-devel-gcc12"]
        assert isinstance(own, SystemRequest)
        assert PackageSpec("zlib1g-dev") in own.packages
        assert own.foreign == ()
    across = requests["debian12-amd64-cross-gcc12-arm64"]
    assert isinstance(across, SystemRequest)
    assert across.packages == (
        PackageSpec("g++-12-aarch64-linux-gnu"),
        PackageSpec("libnuma-dev", arch="arm64"),
        PackageSpec("zlib1g-dev", arch="arm64"),
    )
    assert (across.arch, across.foreign) == ("amd64", ("arm64",))


def test_cudnn_is_asked_for_by_its_major_of_cuda(matrix: Matrix) -> None:
    requests = requests_in(matrix, "cuda13.0-cudnn9.28-debian12-aarch64")
    assert requests["cudnn9.28-pypi-cuda13-arm64"] == ReleaseRequest(
        "pip", "arm64", specs("nvidia-cudnn-cu13=9.28.*")
    )


def test_a_toolkit_of_debian_is_files_of_the_suite_that_has_it(matrix: Matrix) -> None:
    request = requests_in(matrix, "cuda12.4-debian12-x86_64")["cuda12.4-debian-runtime-amd64"]
    assert request == SystemRequest("apt-files", "amd64", "trixie", specs("libcudart12=12.4.*"))


def test_nvidias_packages_are_those_of_the_cells_system_and_of_one_release(tmp_path: Path) -> None:
    axes = 'cuda: ["13.2"]\nos: [debian12, debian13]\narch: [x86_64, aarch64]'
    matrix = matrix_of(tmp_path / "repository", axes, "sources: [{source: nvidia-apt}]\n")
    requests = requests_in(matrix, "cuda13.2-debian13-aarch64")
    assert {key: texts(request) for key, request in requests.items() if "nvidia-apt" in key} == {
        "cuda13.2-nvidia-apt-debian13-runtime-arm64": ("cuda-cudart-13-2",),
        "cuda13.2-nvidia-apt-debian13-devel-arm64": (
            "cuda-cccl-13-2",
            "cuda-crt-13-2",
            "cuda-cudart-dev-13-2",
            "cuda-driver-dev-13-2",
            "cuda-nvcc-13-2",
        ),
        **dict.fromkeys(
            (
                "cuda13.2-nvidia-apt-debian13-tools-amd64",
                "cuda13.2-nvidia-apt-debian13-tools-arm64",
            ),
            (
                "cuda-crt-13-2",
                "cuda-cuobjdump-13-2",
                "cuda-cuxxfilt-13-2",
                "cuda-nvcc-13-2",
                "cuda-nvdisasm-13-2",
                "cuda-nvprune-13-2",
                "libnvvm-13-2",
            ),
        ),
    }
    request = requests["cuda13.2-nvidia-apt-debian13-tools-amd64"]
    assert isinstance(request, RepositoryRequest)
    assert (request.resolver, request.repository) == ("nvidia-apt", "debian13")
    assert (request.arch, request.release, request.cross) == ("amd64", "13.2", "")


@pytest.mark.parametrize(("release", "has_cuxxfilt"), [("11.0", False), ("11.2", True)])
def test_a_release_is_asked_for_no_package_that_came_later(
    tmp_path: Path, release: str, *, has_cuxxfilt: bool
) -> None:
    axes = f'cuda: ["{release}"]\nos: [ubuntu20.04]\narch: [x86_64]'
    root = write_repository(tmp_path / "repository", axes, "sources: [{source: nvidia-apt}]\n")
    text = (root / "matrix.yaml").read_text()
    (root / "matrix.yaml").write_text(text.replace('sm: ["90"]', 'sm: ["80"]'))
    requests = requests_in(load_matrix(root), f"cuda{release}-ubuntu20.04-x86_64")
    (tools,) = (request for key, request in requests.items() if key.endswith("tools-amd64"))
    dashed = release.replace(".", "-")
    assert f"cuda-nvdisasm-{dashed}" in texts(tools)
    assert (f"cuda-cuxxfilt-{dashed}" in texts(tools)) == has_cuxxfilt


def test_a_library_is_given_what_it_asks_for_and_what_that_needs(tmp_path: Path) -> None:
    libraries = "libraries: {a: {path: a, components: [cusparse, nccl]}, b: {path: b}}\n"
    matrix = matrix_of(tmp_path / "repository", AXES.replace('"12.4", ', ""), libraries)
    requests = requests_in(matrix, "cuda13.0-debian12-x86_64")
    expected = {
        "nvidia-cuda-runtime",
        "nvidia-cusparse",
        "nvidia-nccl-cu13=2.*",
        "nvidia-nvjitlink",
    }
    assert set(texts(requests["cuda13.0-pypi-runtime-amd64"])) == expected
    assert expected < set(texts(requests["cuda13.0-pypi-devel-amd64"]))
    plain = requests_in(
        matrix_of(tmp_path / "plain", AXES.replace('"12.4", ', "")), matrix.cells[0].id
    )
    tools = "cuda13.0-pypi-tools-amd64"
    assert requests[tools] == plain[tools]


def test_static_libraries_are_for_compiling_only(tmp_path: Path) -> None:
    libraries = "libraries: {a: {path: a, components: [curand-static]}}\n"
    axes = AXES.replace('"12.4", "13.0"', '"12.6"').replace('"9.28"', '"9.10"')
    requests = requests_in(
        matrix_of(tmp_path / "repository", axes, libraries), "cuda12.6-debian12-x86_64"
    )
    shared = ("cuda_cudart", "libcurand")
    runtime = ReleaseRequest("redist", "amd64", specs(*shared), "12.6")
    assert requests["cuda12.6-redist-runtime-amd64"] == runtime
    assert set(shared) < set(texts(requests["cuda12.6-redist-devel-amd64"]))


def test_products_of_nvidias_archives_have_versions_and_variants_of_their_own(
    tmp_path: Path,
) -> None:
    libraries = "libraries: {a: {path: a, components: [cutensor]}}\n"
    axes = AXES.replace('"12.4", "13.0"', '"12.6"').replace('"9.28"', '"9.10"')
    requests = requests_in(
        matrix_of(tmp_path / "repository", axes, f"sources: [{{source: redist}}]\n{libraries}"),
        "cuda12.6-cudnn9.10-debian12-x86_64",
    )
    assert requests["cudnn9.10-redist-cuda12-amd64"] == ReleaseRequest(
        "redist", "amd64", (PackageSpec("cudnn", "9.10", "cudnn", "cuda12"),)
    )
    runtime = requests["cuda12.6-redist-runtime-amd64"]
    assert isinstance(runtime, ReleaseRequest)
    assert PackageSpec("libcutensor", "2.3.1", "cutensor", "cuda12") in runtime.packages
    assert (runtime.release, PackageSpec("cuda_cudart") in runtime.packages) == ("12.6", True)


def test_a_set_comes_after_those_below_it(matrix: Matrix) -> None:
    requests = all_requests(matrix, shipped_recipes())
    keys = list(requests)
    for key, request in requests.items():
        assert all(keys.index(below) < keys.index(key) for below in sets_below(request))


def test_the_sets_of_all_cells_are_all_sets(matrix: Matrix) -> None:
    recipes = shipped_recipes()
    assert sets_of(matrix.cells, matrix, recipes) == all_requests(matrix, recipes).keys()
    (cell,) = (cell for cell in matrix.cells if cell.id == "cuda13.0-debian12-x86_64")
    assert sets_of([cell], matrix, recipes) == requests_in(matrix, cell.id).keys()


def test_a_lock_of_the_matrix_has_no_drift(matrix: Matrix, tmp_path: Path) -> None:
    assert drift(lock_of(matrix, tmp_path), matrix, shipped_recipes()) == ()


def test_drift_is_told_in_words(matrix: Matrix, tmp_path: Path) -> None:
    lock = lock_of(matrix, tmp_path)
    changed = lock.sets["debian12-amd64-runtime"]
    request = packages("cmake", "curl")
    sets = {
        **lock.sets,
        "debian12-amd64-runtime": replace(changed, request=request),
        "old": PackageSet(ReleaseRequest("pip", "amd64", ()), ()),
    }
    del sets["cudnn9.28-pypi-cuda13-arm64"]
    assert drift(Lock(lock.epoch, sets), matrix, shipped_recipes()) == (
        "`cudnn9.28-pypi-cuda13-arm64` is not locked",
        (
            "`debian12-amd64-runtime` asks for apt bookworm cmake, "
            "the lock has apt bookworm cmake curl"
        ),
        "`old` is no longer used",
    )


def test_of_many_differences_the_first_are_listed(matrix: Matrix, tmp_path: Path) -> None:
    lock = lock_of(matrix, tmp_path)
    unused = PackageSet(ReleaseRequest("pip", "amd64", ()), ())
    sets = {**lock.sets, **{f"old{number:02}": unused for number in range(50)}}
    del sets["cudnn9.28-pypi-cuda13-arm64"]
    with pytest.raises(OutOfDate) as raised:
        require_current(Lock(lock.epoch, sets), matrix, shipped_recipes())
    first, *others, last = raised.value.details
    assert first == "`cudnn9.28-pypi-cuda13-arm64` is not locked"
    assert (len(others), last) == (19, "and 31 more")
