from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.conftest import REPOSITORY

from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.runners import RunnerClass
from envmatrix.matrix.selection import find_cell
from envmatrix.pipeline.machines import Machines, host_of, runners_of
from envmatrix.pipeline.model import Runner

MATRIX = load_matrix(REPOSITORY)
X86, ARM = (find_cell(MATRIX, f"cuda13.5-debian12-{arch}") for arch in ("x86_64", "aarch64"))
LIBRARY = Library("ops")
HOPPER = replace(X86, toolchain=replace(X86.toolchain, sm=("90",)))  # it runs on newer GPUs alone
GB = 10**9


def machines(*runners: Runner) -> Machines:
    return Machines(MATRIX, {runner.name: runner for runner in runners})


def name_of(choice: Runner | str) -> str:
    return choice if isinstance(choice, str) else choice.name


SMALL = Runner("small", "amd64", memory=8 * GB)
LARGE = Runner("large", "amd64", memory=64 * GB)
ANY = Runner("any", "amd64")
T4 = Runner("t4", "amd64", gpus=1, gpu="t4", memory=16 * GB)
H100 = Runner("h100", "amd64", gpus=1, gpu="h100")
H100S = Runner("h100s", "amd64", gpus=8, gpu="H100 NVL")
UNKNOWN = Runner("unknown", "amd64", gpus=1)


@pytest.mark.parametrize(
    ("memory", "name"), [(0, "small"), (8 * GB, "small"), (9 * GB, "large"), (65 * GB, "any")]
)
def test_a_job_is_done_by_the_smallest_class_that_has_its_memory(memory: int, name: str) -> None:
    assert name_of(machines(ANY, LARGE, SMALL).for_processors("amd64", memory)) == name


def test_a_job_that_fits_no_class_is_not_done_and_says_why() -> None:
    choice = machines(SMALL, LARGE, H100).for_processors("amd64", 65 * GB)
    reason = "it takes 65000 MB, and no class of runners of amd64 has as much"
    assert choice == reason
    assert machines(SMALL).for_processors("arm64", 0) == "there is no class of runners of arm64"


def test_a_machine_with_a_gpu_does_other_jobs_only_if_there_is_no_other() -> None:
    assert name_of(machines(T4, ANY).for_processors("amd64", 0)) == "any"
    assert name_of(machines(H100, T4).for_processors("amd64", 0)) == "t4"


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        (Requirement(), "t4"),
        (Requirement(gpu=("h100",)), "h100"),
        (Requirement(gpu=("h100", "t4")), "t4"),
        (Requirement(sm=">=80"), "h100"),
        (Requirement(gpus=2), "h100s"),
        (Requirement(memory=20000), "h100"),
        (Requirement(driver=">=550"), "t4"),
    ],
)
def test_a_requirement_is_fulfilled_by_the_smallest_class_that_does(
    requirement: Requirement, name: str
) -> None:
    choice = machines(H100S, H100, T4, ANY).for_requirement(requirement, LIBRARY, X86, "amd64")
    assert name_of(choice) == name


def test_a_gpu_whose_model_is_not_named_fulfils_only_what_any_gpu_does() -> None:
    classes = machines(UNKNOWN)
    assert name_of(classes.for_requirement(Requirement(), LIBRARY, X86, "amd64")) == "unknown"
    for requirement in (Requirement(gpu=("t4",)), Requirement(sm="75"), Requirement(gpus=2)):
        choice = classes.for_requirement(requirement, LIBRARY, X86, "amd64")
        assert choice == f"needs {requirement}: no class of runners has that"


def test_what_no_machine_can_do_is_told_as_it_is_on_a_machine_of_people() -> None:
    choice = machines(H100).for_requirement(Requirement(gpu=("t4",)), LIBRARY, ARM, "amd64")
    assert choice == f"needs t4: programs of `{ARM.id}` are emulated on this machine"
    reason = machines(T4).for_requirement(Requirement(gpu=("t4",)), LIBRARY, HOPPER, "amd64")
    assert isinstance(reason, str)
    assert "compiled for 90, which has nothing that runs on 75" in reason


def test_tests_run_beside_a_gpu_that_runs_their_code() -> None:
    classes = machines(T4, H100, ANY)
    assert name_of(classes.for_gpu(LIBRARY, X86, "amd64")) == "t4"
    assert name_of(classes.for_gpu(LIBRARY, HOPPER, "amd64")) == "h100"
    assert classes.uses_gpu(LIBRARY, HOPPER, "amd64", of_tests=True)
    assert not classes.uses_gpu(LIBRARY, HOPPER, "amd64", of_tests=False)
    assert not machines(T4, ANY).uses_gpu(LIBRARY, HOPPER, "amd64", of_tests=True)
    assert not classes.uses_gpu(LIBRARY, ARM, "amd64", of_tests=True)  # they are emulated
    without = replace(LIBRARY, cuda="none")
    assert not classes.uses_gpu(without, X86, "amd64", of_tests=True)


def test_everything_runs_beside_a_gpu_where_no_machine_is_without() -> None:
    assert machines(T4).uses_gpu(replace(LIBRARY, cuda="none"), X86, "amd64", of_tests=False)


def test_the_jobs_of_a_cell_run_on_its_own_machines_or_are_crossed() -> None:
    assert host_of(ARM, {"amd64", "arm64"}) == "arm64"
    assert host_of(ARM, {"amd64"}) == "amd64"
    assert host_of(X86, {"arm64"}) == "amd64"  # nothing does them


def test_classes_are_those_of_an_engine() -> None:
    rows = {
        "x86": RunnerClass(github=("ubuntu-24.04",), gitlab=(), memory=16000),
        "arm": RunnerClass(arch="aarch64", github=("ubuntu-24.04-arm",)),
        "gpu": RunnerClass(gpu="h100", gpus=2, jenkins="h100"),
    }
    matrix = replace(MATRIX, runners=rows)
    assert [*runners_of(matrix, "github")] == ["x86", "arm"]
    assert [*runners_of(matrix, "gitlab")] == ["x86"]
    assert [*runners_of(matrix, "jenkins")] == ["gpu"]
    assert [*runners_of(matrix, None).values()] == [
        Runner("x86", "amd64", memory=16 * GB, github=("ubuntu-24.04",)),
        Runner("arm", "arm64", github=("ubuntu-24.04-arm",)),
        Runner("gpu", "amd64", gpus=2, gpu="h100", jenkins="h100"),
    ]
    assert [*runners_of(MATRIX, "jenkins")] == ["x86_64"]
