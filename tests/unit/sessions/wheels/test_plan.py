"""How wheels are repaired, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.sessions.test_binaries import elf, shared_object
from tests.unit.sessions.wheels.examples import (
    CUDA,
    EXTENSION,
    NAME,
    PUBLISHED,
    read,
    settings,
    wheel,
)

from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import PublishableWheels
from envmatrix.sessions.wheels.plan import check_published, plan_repair

ADDED = PublishableWheels(requirements="added")
ARM = "cuda13.5-debian12-aarch64"


def complaints(error: pytest.ExceptionInfo[EnvmatrixError]) -> list[str]:
    return [f"{problem.message} ({problem.hint})" for problem in error.value.problems]


def test_a_wheel_gets_the_platform_of_its_cell_and_loads_cuda_from_its_projects(
    tmp_path: Path,
) -> None:
    contents = read(tmp_path, wheel(requires=["nvidia-cuda-runtime"]))
    repair = plan_repair(contents, settings())
    assert repair.platform == "manylinux_2_36_x86_64"
    assert repair.excluded == ("libcudart.so.13",)
    assert repair.directories == {"libcudart.so.13": "nvidia/cu13/lib"}
    assert repair.requirements == ()


@pytest.mark.parametrize(
    ("cell", "requirement", "project"),
    [
        ("cuda13.5-debian12-x86_64", "cuda-toolkit[cudart]>=13.5,<14", "nvidia-cuda-runtime"),
        ("cuda12.4-debian12-x86_64", "cuda-toolkit[cudart]>=12.4,<13", "nvidia-cuda-runtime-cu12"),
        ("cuda11.8-debian12-x86_64", "cuda-toolkit[cudart]>=11.8,<12", "nvidia-cuda-runtime-cu11"),
    ],
)
def test_a_requirement_that_is_missing_is_named(
    tmp_path: Path, cell: str, requirement: str, project: str
) -> None:
    with pytest.raises(EnvmatrixError) as error:
        plan_repair(read(tmp_path), settings(cell=cell))
    (complaint,) = complaints(error)
    assert f"is loaded with `libcudart.so.13`, and does not require `{project}`" in complaint
    assert f"add `{requirement}` or `{project}` to the `dependencies`" in complaint


@pytest.mark.parametrize(
    ("requirement", "is_met"),
    [
        ("nvidia_cuda.runtime~=13.5", True),
        ("cuda-toolkit[cudart]==13.*", True),
        ("cuda-toolkit[all]", True),
        ("cuda-toolkit[cublas]", False),
        ("cuda-toolkit", False),
        ("nvidia-cuda-runtime; sys_platform == 'linux'", True),
        ("nvidia-cuda-runtime; python_version < '3.12'", True),
        ("nvidia-cuda-runtime; python_version < '3.11'", False),
        ("nvidia-cuda-runtime; sys_platform == 'win32'", False),
        ("nvidia-cuda-runtime; extra == 'cuda'", False),
        ("nvidia-cuda-runtime; python_version < 'new'", False),
    ],
)
def test_a_requirement_counts_if_each_installation_has_it(
    tmp_path: Path, requirement: str, *, is_met: bool
) -> None:
    contents = read(tmp_path, wheel(requires=[requirement]))
    added = plan_repair(contents, settings(ADDED)).requirements
    assert added == (() if is_met else ("cuda-toolkit[cudart]<14,>=13.5",))


def test_requirements_of_one_project_are_added_as_one(tmp_path: Path) -> None:
    names = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libnccl.so.2")
    contents = read(tmp_path, wheel(files={EXTENSION: shared_object(*names)}))
    assert plan_repair(contents, settings(ADDED)).requirements == (
        "cuda-toolkit[cublas,cudart]<14,>=13.5",
        "nvidia-nccl-cu13<3,>=2",
    )


def test_the_driver_is_excluded_and_never_required(tmp_path: Path) -> None:
    contents = read(tmp_path, wheel(files={EXTENSION: shared_object("libcuda.so.1")}))
    repair = plan_repair(contents, settings())
    assert (repair.excluded, repair.directories) == (("libcuda.so.1",), {})


def test_other_projects_provide_what_the_matrix_says(tmp_path: Path) -> None:
    wheels = PublishableWheels(provided={"torch": ("libtorch*.so", "libc10.so")})
    files = {EXTENSION: shared_object("libtorch_cuda.so", "libc10.so")}
    with pytest.raises(EnvmatrixError) as error:
        plan_repair(read(tmp_path, wheel(files=files)), settings(wheels))
    (complaint,) = complaints(error)
    assert "`libc10.so`, `libtorch_cuda.so`, and does not require `torch`" in complaint
    repair = plan_repair(read(tmp_path, wheel(files=files, requires=["torch"])), settings(wheels))
    assert repair.excluded == ("libc10.so", "libtorch_cuda.so")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    files = {
        EXTENSION: shared_object("libcutensor.so.2", versions={"libc.so.6": ["GLIBC_2.34"]}),
        "a/arm.so": elf(183),
        "a/c.cpython-313t-x86_64-linux-gnu.so": elf(62),
    }
    with pytest.raises(EnvmatrixError) as error:
        plan_repair(
            read(tmp_path, wheel(files=files)),
            settings(PublishableWheels(platform="manylinux_2_28")),
        )
    text = "\n".join(complaints(error))
    assert text.count(f"`{NAME}` cannot be published: ") == text.count("\n") + 1 == 4
    assert "`a/arm.so` is for aarch64, the cell for x86_64" in text
    assert (
        "`a/c.cpython-313t-x86_64-linux-gnu.so` is for `cp313t`, the wheel is tagged `cp31" in text
    )
    assert "loaded with `libcutensor.so.2`, and it is not known which project has that" in text
    assert "`wheels: {provided: {project: ['libcutensor.so.2']}}`" in text
    assert f"`{EXTENSION}` needs glibc 2.34, newer than `manylinux_2_28` has" in text
    assert "or ask for `platform: manylinux_2_34`" in text


@pytest.mark.parametrize(
    ("name", "file", "complaint"),
    [
        ("a-1.0-cp313-cp313t-linux_x86_64.whl", "a.cpython-313t-x86_64-linux-gnu.so", None),
        ("a-1.0-cp313-cp313-linux_x86_64.whl", "a.cpython-313t-x86_64-linux-gnu.so", "`cp313t`"),
        ("a-1.0-cp39-abi3-linux_x86_64.whl", "a.abi3.so", None),
        ("a-1.0-cp39-abi3-linux_x86_64.whl", "a.cpython-311-x86_64-linux-gnu.so", "`cp311`"),
        ("a-1.0-py3-none-linux_x86_64.whl", "a.abi3.so", "needs CPython"),
        ("a-1.0-py3-none-linux_x86_64.whl", "liba.so", None),
        (NAME, "a.cpython-311-aarch64-linux-gnu.so", "named for aarch64"),
    ],
)
def test_tags_are_those_of_the_extensions(
    tmp_path: Path, name: str, file: str, complaint: str | None
) -> None:
    contents = read(tmp_path, wheel(name, {file: elf(62)}), name)
    if complaint is None:
        plan_repair(contents, settings())
        return
    with pytest.raises(EnvmatrixError, match=complaint):
        plan_repair(contents, settings())


def test_a_wheel_for_another_architecture_is_repaired_from_its_directories(tmp_path: Path) -> None:
    name = NAME.replace("x86_64", "aarch64")
    files = {EXTENSION.replace("x86_64", "aarch64"): shared_object("libc.so.6", machine=183)}
    repair = plan_repair(read(tmp_path, wheel(name, files), name), settings(cell=ARM))
    assert (repair.platform, repair.machine) == ("manylinux_2_36_aarch64", "aarch64")
    assert "/usr/aarch64-linux-gnu/lib" in repair.search


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (PUBLISHED, None),
        (
            "a-1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_36_x86_64.whl",
            "it is tagged `manylinux2014_x86_64`, and needs glibc 2.34",
        ),
        (NAME, "it is tagged `linux_x86_64`, not `manylinux_2_36_x86_64`"),
        (NAME.replace("linux", "manylinux_2_38"), "it is tagged `manylinux_2_38_x86_64`"),
        (PUBLISHED.replace("x86_64", "i686"), "it is tagged `manylinux_2_36_i686`"),
    ],
)
def test_a_published_wheel_has_the_platform_that_was_asked_for(
    tmp_path: Path, name: str, complaint: str | None
) -> None:
    contents = read(tmp_path, wheel(name, requires=["nvidia-cuda-runtime"]), name)
    if complaint is None:
        check_published(contents, settings())
        return
    with pytest.raises(EnvmatrixError) as error:
        check_published(contents, settings())
    assert complaint in error.value.problems[0].message


@pytest.mark.parametrize("tag", ["manylinux1", "manylinux2010", "manylinux2014", "manylinux_2_17"])
def test_older_names_of_platforms_are_known(tmp_path: Path, tag: str) -> None:
    name = f"a-1.0-cp311-cp311-{tag}_x86_64.whl"
    code = shared_object("libc.so.6", versions={"libc.so.6": ["GLIBC_2.2.5"]})
    check_published(read(tmp_path, wheel(name, {EXTENSION: code}), name), settings())


def test_a_published_wheel_has_the_tags_of_its_name(tmp_path: Path) -> None:
    content = wheel(NAME, {"a.py": b""})
    with pytest.raises(EnvmatrixError, match="not those in its `WHEEL`"):
        check_published(read(tmp_path, content, PUBLISHED), settings())


def test_a_published_wheel_needs_what_it_requires(tmp_path: Path) -> None:
    with pytest.raises(EnvmatrixError, match="does not require `nvidia-cuda-runtime`"):
        check_published(read(tmp_path, wheel(PUBLISHED), PUBLISHED), settings(ADDED))


@pytest.mark.parametrize("file", [b"", elf(190)])
def test_a_wheel_without_code_of_a_machine_stays_what_it_is(tmp_path: Path, file: bytes) -> None:
    name = "a-1.0-py3-none-any.whl"
    contents = read(tmp_path, wheel(name, {"a.cubin": file}), name)
    assert not contents.is_of_platform
    check_published(contents, settings())


def test_names_from_wheels_are_printed_safely(tmp_path: Path) -> None:
    files = {"a/\x1b[31m.so": elf(183), EXTENSION: CUDA}
    with pytest.raises(EnvmatrixError) as error:
        plan_repair(read(tmp_path, wheel(files=files)), settings(ADDED))
    assert "\x1b" not in error.value.message
