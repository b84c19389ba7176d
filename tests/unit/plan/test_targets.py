"""The images of targets beyond servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import cell_of, lock_of, matrix_of

from envmatrix.errors import ConfigurationError
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.targets import TARGETS
from envmatrix.images.definition import definition_of
from envmatrix.images.environments import Environment, environments
from envmatrix.images.model import images_of, lacks_cross
from envmatrix.lock.model import Lock
from envmatrix.lock.requests import sets_of
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.variants import Variant
from envmatrix.sessions import tasks
from envmatrix.sessions.buildsystems import BUILD_SYSTEMS
from envmatrix.sessions.context import BuildContext

ENVIRONMENT = "cuda12.6-debian12"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    axes = f'cuda: ["12.6"]\nos: [debian12]\narch: [{", ".join(TARGETS)}]'
    return matrix_of(tmp_path_factory.mktemp("targets") / "repository", axes)


@pytest.fixture(scope="module")
def lock(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return lock_of(matrix, tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def environment(matrix: Matrix, lock: Lock) -> Environment:
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return environment


IMAGES = {
    "jetson": ["cross-jetson-amd64", "runtime-jetson-arm64"],
    "windows": ["cross-windows-amd64", "runtime-windows-amd64"],
    "qnx": ["cross-qnx-amd64"],
    "drive": ["cross-drive-amd64"],
}


def place_of(matrix: Matrix, arch: str, sdk: Path | None = None) -> BuildContext:
    cell = cell_of(matrix, f"{ENVIRONMENT}-{arch}")
    compiler, *others = images_of(cell, "amd64")
    library = Library("a", "a", cuda="none")
    root = Path("/repository")
    runtime = next(iter(others), None)
    names = {image: str(image) for image in (compiler, runtime) if image}
    return BuildContext(
        cell,
        library,
        BUILD_SYSTEMS["cmake"],
        root,
        root,
        root,
        compiler,
        runtime,
        names,
        "amd64",
        sdk=sdk,
    )


@pytest.mark.parametrize("arch", IMAGES)
def test_a_target_has_images_of_its_own(
    matrix: Matrix, environment: Environment, arch: str
) -> None:
    images = images_of(cell_of(matrix, f"{ENVIRONMENT}-{arch}"), "amd64")
    assert [f"{image.flavour}-{image.arch}" for image in images] == IMAGES[arch]
    assert set(images) <= set(environment.images)


@pytest.mark.parametrize("arch", IMAGES)
@pytest.mark.parametrize(
    ("host", "emulate", "hint"),
    [("arm64", False, "take a machine of x86_64"), ("amd64", True, "leave out `--emulate`")],
)
def test_a_target_is_compiled_across_on_x86_64_alone(
    matrix: Matrix, arch: str, host: str, hint: str, *, emulate: bool
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        images_of(cell_of(matrix, f"{ENVIRONMENT}-{arch}"), host, emulate=emulate)
    (problem,) = caught.value.problems
    assert "is cross-compiled on x86_64 only" in str(problem)
    assert problem.hint == hint


def test_jetson_and_servers_have_nothing_of_cuda_in_common(environment: Environment) -> None:
    definition = definition_of(environment)
    hashes = {
        image.flavour: definition.contents(image.flavour, image.arch).stages
        for image in environment.images
        if image.flavour.startswith("cross")
    }
    cuda = {name: {stage for stage in stages if "cuda" in stage} for name, stages in hashes.items()}
    assert cuda["cross-jetson"]
    assert not cuda["cross-jetson"] & cuda["cross"]
    assert not any(cuda[name] for name in ("cross-windows", "cross-qnx", "cross-drive"))


def test_jetson_has_the_archives_of_jetson(lock: Lock) -> None:
    keys = ("cuda12.6-redist-runtime-jetson", "cuda12.6-redist-devel-jetson")
    platforms = {item.path.split("/")[3] for item in lock.artifacts(keys)}
    assert platforms == {"linux-aarch64"}


def test_a_target_without_cuda_locks_what_it_compiles_with(matrix: Matrix) -> None:
    host = {f"debian12-amd64-{name}" for name in ("base", "devel-gcc12", "runtime", "unpackers")}
    own = {f"debian12-amd64-{name}" for name in ("cross-gcc12-windows", "runtime-windows")}
    sets = {
        name: sets_of([matrix.by_id[f"{ENVIRONMENT}-{name}"]], matrix, shipped_recipes())
        for name in ("qnx", "windows")
    }
    assert sets == {"qnx": host, "windows": host | own}


def test_a_matrix_without_servers_has_no_image_of_one(tmp_path: Path) -> None:
    axes = 'cuda: ["12.6"]\nos: [debian12]\narch: [jetson, windows, drive]'
    matrix = matrix_of(tmp_path / "repository", axes)
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    names = {image.flavour for image in environment.images}
    assert names == {
        "cross-jetson", "runtime-jetson", "cross-windows", "runtime-windows", "cross-drive",
    }  # fmt: skip
    assert not {"devel", "cuda-tools-arm64"} & definition_of(environment).stages.keys()


def test_an_sdk_is_mounted_where_it_can_only_be_read_and_only_to_compile(matrix: Matrix) -> None:
    context = place_of(matrix, "qnx", Path("/licensed"))
    for spec in (tasks.in_compiler(context, ["cmake"]), tasks.by_hand(context, [])):
        (mount,) = (mount for mount in spec.mounts if mount.target == "/opt/qnx")
        assert (mount.source, mount.read_only) == (Path("/licensed"), True)


def test_an_sdk_of_a_variant_names_its_compilers(matrix: Matrix) -> None:
    native = place_of(matrix, "x86_64", Path("/licensed"))
    library = replace(native.library, variant=Variant(sdk="nvhpc-26.5"))
    spec = tasks.in_compiler(replace(native, library=library), ["cmake"])
    (mount,) = (mount for mount in spec.mounts if mount.target == "/opt/nvhpc-26.5")
    assert (mount.source, mount.read_only) == (Path("/licensed"), True)
    programs = {name: spec.environment[name] for name in ("CC", "CXX", "CUDAHOSTCXX")}
    assert programs == {
        "CC": "/opt/nvhpc-26.5/compilers/bin/nvc",
        "CXX": "/opt/nvhpc-26.5/compilers/bin/nvc++",
        "CUDAHOSTCXX": "/opt/nvhpc-26.5/compilers/bin/nvc++",
    }


def test_no_target_lacks_a_flavour_that_crosses_to_it(matrix: Matrix) -> None:
    assert not any(lacks_cross(cell, "amd64") for cell in matrix.cells)


def test_what_an_emulator_runs_is_emulated(matrix: Matrix) -> None:
    arches = {planned.arch for planned in matrix.cells}
    assert arches == TARGETS.keys() - {"ppc64le"}
    emulated = {arch: place_of(matrix, arch).is_emulated for arch in arches}
    assert emulated == {arch: arch != "x86_64" for arch in arches}
