from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import artifact, cell_of, lock_of, matrix_of, with_set

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.images.cuda_layers import Unpacking
from envmatrix.images.environments import Environment, FileStage, environments
from envmatrix.images.model import Image, images_of, lacks_cross
from envmatrix.lock.model import Artifact, ImageRequest, Lock, PackageSet
from envmatrix.matrix.model import Matrix


@pytest.fixture(scope="module")
def planned(matrix: Matrix, lock: Lock) -> dict[str, Environment]:
    rows = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return {environment.name: environment for environment in rows}


BOTH = "cuda13.0-cudnn9.28-debian12"
ONE = "cuda12.4-debian13"


def names_of(images: tuple[Image, ...]) -> list[str]:
    return [f"{image.flavour}-{image.arch}" for image in images]


def test_a_cell_with_cuda_from_elsewhere_crosses_with_the_compiler_from_there(
    tmp_path: Path,
) -> None:
    axes = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64, aarch64]'
    rules = "sources: [{source: redist, arch: aarch64}]\n"
    matrix = matrix_of(tmp_path / "repository", axes, rules)
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    files = {file_stage.stage: file_stage.artifacts for file_stage in environment.files}
    assert {item.origin for item in files["cuda-tools-files-amd64"]} == {"pypi"}
    assert {item.origin for item in files["cuda-tools-files-amd64-for-arm64"]} == {"nvidia"}
    (cross,) = environment.crosses
    assert cross.tools == "cuda-tools-amd64-for-arm64"


def test_cells_that_differ_in_architecture_only_are_one_environment(
    matrix: Matrix, planned: dict[str, Environment]
) -> None:
    assert set(planned) == {cell.environment for cell in matrix.cells}
    assert planned[BOTH].arches == ("amd64", "arm64")


def test_an_environment_is_whole_even_where_one_cell_was_asked_for(
    matrix: Matrix, lock: Lock, planned: dict[str, Environment]
) -> None:
    cells = [cell_of(matrix, f"{BOTH}-aarch64")]
    assert [*environments(matrix, lock, shipped_recipes(), cells)] == [planned[BOTH]]


def test_the_images_of_two_architectures(planned: dict[str, Environment]) -> None:
    images = names_of(planned[BOTH].images)
    assert images == ["runtime-amd64", "runtime-arm64", "devel-amd64", "devel-arm64", "cross-amd64"]
    assert [cross.name for cross in planned[BOTH].crosses] == ["cross"]


def test_where_arm64_cannot_exist_there_is_nothing_to_cross_to(
    planned: dict[str, Environment],
) -> None:
    environment = planned[ONE]
    assert names_of(environment.images) == ["runtime-amd64", "devel-amd64"]
    assert environment.crosses == ()
    assert not [stage.stage for stage in environment.files if "arm64" in stage.stage]
    assert [base.arch for base in environment.bases] == ["amd64"]


def test_the_stages_of_one_architecture(planned: dict[str, Environment]) -> None:
    assert [stage.stage for stage in planned[ONE].files] == [
        "unpacker-files-amd64",
        "runtime-files-amd64",
        "devel-files-amd64",
        "cuda-runtime-files-amd64",
        "cuda-devel-files-amd64",
        "cuda-tools-files-amd64",
    ]
    assert [tree.stage for tree in planned[ONE].trees] == [
        "cuda-runtime-amd64",
        "cuda-devel-amd64",
        "cuda-tools-amd64",
    ]


@pytest.fixture(scope="module")
def on_image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, Environment]:
    home = tmp_path_factory.mktemp("image")
    rule = f"sources: [{{source: image, image: 'nvidia/cuda@sha256:{'1' * 64}'}}]\n"
    axes = 'cuda: ["12.4"]\ncudnn: ["9.10"]\nos: [ubuntu22.04]\narch: [x86_64, aarch64]'
    matrix = matrix_of(home / "repository", axes, rule)
    lock = lock_of(matrix, home / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return matrix, environment


def test_where_cuda_is_in_an_image_nothing_of_it_is_a_stage(
    on_image: tuple[Matrix, Environment],
) -> None:
    _, environment = on_image
    assert environment.trees == ()
    assert [stage.stage for stage in environment.files] == [
        f"{flavour}-files-{arch}" for arch in ("amd64", "arm64") for flavour in ("runtime", "devel")
    ]
    assert environment.is_on_image
    assert names_of(environment.images) == [
        "runtime-amd64",
        "runtime-arm64",
        "devel-amd64",
        "devel-arm64",
    ]


@pytest.mark.parametrize("host", ["amd64", "arm64"])
def test_a_cell_on_an_image_is_not_crossed_to(
    on_image: tuple[Matrix, Environment], host: str
) -> None:
    matrix, environment = on_image
    cell = cell_of(matrix, f"{environment.name}-aarch64")
    assert names_of(images_of(cell, host)) == ["devel-arm64", "runtime-arm64"]
    assert lacks_cross(cell, host) == (host == "amd64")


def test_crossing_brings_the_tools_of_the_host_once(planned: dict[str, Environment]) -> None:
    stages = [tree.stage for tree in planned[BOTH].trees]
    assert len(stages) == len(set(stages))
    assert {"cuda-tools-amd64", "cuda-tools-arm64", "cudnn-devel-arm64"} <= set(stages)


def test_a_base_is_named_after_its_layer(lock: Lock, planned: dict[str, Environment]) -> None:
    (base,) = planned[ONE].bases
    layer = (lock.sets[base.key].diff_id or "").removeprefix("sha256:")
    assert base.image == f"envmatrix/base:debian13-amd64-{layer[:12]}"


def test_an_image_by_digest_is_named_as_it_is(
    matrix: Matrix, lock: Lock, planned: dict[str, Environment]
) -> None:
    image = f"debian@sha256:{'1' * 64}"
    (base,) = planned[ONE].bases
    request = ImageRequest("amd64", "trixie", image)
    other = with_set(lock, base.key, PackageSet(request, ()))
    cells = [cell_of(matrix, f"{ONE}-x86_64")]
    (environment,) = environments(matrix, other, shipped_recipes(), cells)
    assert [base.image for base in environment.bases] == [image]


def test_a_tree_of_wheels(planned: dict[str, Environment]) -> None:
    trees = {tree.stage: tree for tree in planned[BOTH].trees}
    tree = trees["cuda-runtime-arm64"]
    assert tree.root == "/usr/local/cuda-13.0"
    assert [(unpacking.file, unpacking.places) for unpacking in tree.unpackings] == [
        (
            "nvidia_cuda_runtime-13.0.96-py3-none-any.whl",
            (("targets/sbsa-linux/lib", ("nvidia/cu13/lib/libcudart.so.*",)),),
        )
    ]
    assert dict(tree.links) == {
        "/usr/local/cuda": "cuda-13.0",
        "lib64": "targets/sbsa-linux/lib",
        "lib": "lib64",
    }
    of_cudnn = dict(trees["cudnn-devel-arm64"].links)
    assert of_cudnn["/usr/lib/aarch64-linux-gnu/libcudnn.so"] == "libcudnn.so.9"
    assert of_cudnn["/usr/lib/aarch64-linux-gnu/libcudnn_ops.so"] == "libcudnn_ops.so.9"


def test_a_tree_of_debian_packages(planned: dict[str, Environment]) -> None:
    trees = {tree.stage: tree for tree in planned[ONE].trees}
    tools = trees["cuda-tools-amd64"]
    assert [unpacking.file for unpacking in tools.unpackings] == [
        "nvidia-cuda-toolkit_1.0-1_amd64.deb",
        "libnvvm4_1.0-1_amd64.deb",
    ]
    assert tools.profile
    assert not trees["cuda-runtime-amd64"].profile
    assert "targets/x86_64-linux/include/cublas*" in trees["cuda-devel-amd64"].drop


def test_headers_that_are_wanted_are_not_dropped(tmp_path: Path) -> None:
    axes = 'cuda: ["12.4"]\nos: [debian12]\narch: [aarch64]'
    libraries = "libraries: {a: {path: a, components: [cublas]}}\n"
    matrix = matrix_of(tmp_path / "repository", axes, libraries)
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    tree = next(tree for tree in environment.trees if tree.stage == "cuda-devel-arm64")
    include = "targets/sbsa-linux/include"
    (unpacking,) = (
        unpacking for unpacking in tree.unpackings if unpacking.file.startswith("nvidia-cuda-dev")
    )
    assert dict(unpacking.places)[include] == ("usr/include/*",)
    assert "usr/include/cublas*" not in unpacking.patterns, "tar would find nothing left for it"
    assert f"{include}/curand*" in tree.drop
    assert not {f"{include}/cublas*", f"{include}/nvblas.h"} & set(tree.drop)


@pytest.mark.parametrize(
    ("file", "patterns"),
    [
        ("nvcc.tar.xz", ("bin/*", "nvvm/libdevice/*")),
        ("nvcc.whl", ("bin/*", "nvvm/bin/*", "nvvm/libdevice/*")),
    ],
)
def test_no_pattern_is_asked_for_that_another_one_takes(
    file: str, patterns: tuple[str, ...]
) -> None:
    places = (("bin", ("bin/*",)), ("nvvm", ("nvvm/bin/*", "nvvm/libdevice/*")))
    unpacking = Unpacking(file, places)
    assert unpacking.patterns == patterns
    placed = {pattern.removeprefix("=") for _, pattern in unpacking.pairs}
    assert placed == {"bin/*", "nvvm/bin/*", "nvvm/libdevice/*"}
    assert tuple(text for _, text in unpacking.pairs if not text.startswith("=")) == patterns


def test_a_pattern_for_two_directories_is_unpacked_once() -> None:
    pairs = Unpacking("a.deb", (("include", ("a/*",)), ("lib", ("a/*",)))).pairs
    assert [*pairs] == [("include", "a/*"), ("lib", "=a/*")]


def test_only_the_tools_of_the_compiler_run_on_the_host(planned: dict[str, Environment]) -> None:
    (cross,) = planned[BOTH].crosses
    assert (cross.host, cross.target.name, cross.cxx) == (
        "amd64",
        "aarch64",
        "aarch64-linux-gnu-g++-12",
    )


@pytest.mark.parametrize(
    ("arch", "host", "emulate", "expected"),
    [
        ("x86_64", "amd64", False, ["devel-amd64", "runtime-amd64"]),
        ("aarch64", "amd64", False, ["cross-amd64", "runtime-arm64"]),
        ("aarch64", "amd64", True, ["devel-arm64", "runtime-arm64"]),
        ("aarch64", "arm64", False, ["devel-arm64", "runtime-arm64"]),
        ("x86_64", "arm64", False, ["devel-amd64", "runtime-amd64"]),
    ],
)
def test_what_a_machine_needs_for_a_cell(
    matrix: Matrix, arch: str, host: str, expected: list[str], *, emulate: bool
) -> None:
    cell = cell_of(matrix, f"{BOTH}-{arch}")
    assert names_of(images_of(cell, host, emulate=emulate)) == expected


def test_the_names_of_an_image() -> None:
    image = Image(BOTH, "runtime", "arm64")
    assert image.reference == f"envmatrix/{BOTH}:runtime-arm64"
    assert image.platform == "linux/arm64"
    assert str(image) == f"{BOTH}:runtime-arm64"


def test_a_build_needs_the_files_of_its_stages_and_the_unpackers_and_bases_of_two_machines(
    planned: dict[str, Environment],
) -> None:
    environment = planned[BOTH]
    stages = {"runtime-files-arm64", "cuda-runtime-files-arm64"}
    needs = environment.needs_of(stages, "arm64", "amd64")
    files = {stage.key: stage.stage for stage in environment.files}
    assert {files[key] for key in needs.sets} == {*stages, "unpacker-files-amd64"}
    assert needs.bases == ("debian12-amd64-base", "debian12-arm64-base")
    assert environment.needs_of(stages, "amd64", "amd64").bases == ("debian12-amd64-base",)


def test_a_build_on_any_machine_needs_the_unpackers_and_bases_of_all(
    planned: dict[str, Environment],
) -> None:
    environment = planned[BOTH]
    assert {stage.stage for stage in environment.files_of((), None)} == {
        *("unpacker-files-amd64", "unpacker-files-arm64"),
    }
    assert environment.bases_of("amd64", None) == environment.bases


def test_bases_by_digest_are_not_made(planned: dict[str, Environment]) -> None:
    bases = tuple(replace(base, is_bootstrapped=False) for base in planned[ONE].bases)
    assert replace(planned[ONE], bases=bases).bases_of("amd64", "amd64") == ()


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (100, [100]), (250, [100] * 2 + [50])]
)
def test_files_come_in_groups_that_one_stage_can_add(count: int, sizes: list[int]) -> None:
    files = tuple(replace(artifact("a"), name=f"{number}") for number in range(count))
    groups = FileStage("set", "files", files).groups
    assert [len(group) for group in groups] == sizes
    assert tuple(file for group in groups for file in group) == files


def package(name: str, size: int, arch: str = "amd64") -> Artifact:
    return replace(artifact(name, size=size), path=f"pool/{name}_1.0_{arch}.deb")


def with_files(environment: Environment, **files: tuple[Artifact, ...]) -> Environment:
    rows = (FileStage(arch, f"devel-files-{arch}", rows) for arch, rows in files.items())
    return replace(environment, files=tuple(rows))


def test_large_packages_have_layers_of_their_own_the_largest_first(
    planned: dict[str, Environment],
) -> None:
    files = (package("a", 500_000), package("b", 499_999), package("c", 2_000_000))
    assert with_files(planned[ONE], amd64=files).large_packages("devel-files") == ("c", "a")


def test_only_so_many_packages_have_layers_of_their_own(planned: dict[str, Environment]) -> None:
    files = tuple(package(f"package{number}", 2_000_000 - number) for number in range(24))
    names = with_files(planned[ONE], amd64=files).large_packages("devel-files")
    assert names == tuple(item.name for item in files[:20])


def test_a_large_package_is_named_as_dpkg_names_it(planned: dict[str, Environment]) -> None:
    rows = [("a", "all"), ("b", "amd64"), ("c", "arm64")]
    files = tuple(package(name, 1_000_000, arch) for name, arch in rows)
    names = with_files(planned[ONE], amd64=files).large_packages("devel-files-amd64")
    assert names == ("a", "b", "c:arm64")


def test_another_architecture_changes_no_layers(planned: dict[str, Environment]) -> None:
    first = (package("a", 600_000), package("b", 700_000))
    second = tuple(package(name, 2_000_000, "arm64") for name in ("a", "other"))
    alone = with_files(planned[ONE], amd64=first)
    both = with_files(planned[ONE], arm64=second, amd64=first)
    assert both.large_packages("devel-files") == alone.large_packages("devel-files") == ("b", "a")
    assert both.large_packages("devel-files-arm64") == ("a", "other")
