from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes import matrix_of

from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import TARGETS, Target
from envmatrix.matrix.cells import Toolchain, parse_cell
from envmatrix.matrix.compatibility import HOST_RULES, Verdict, check, trace
from envmatrix.matrix.model import Matrix


@pytest.fixture(params=TARGETS.values(), ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    target: Target = request.param
    return target


def verdict(cell_id: str, facts: Facts, source: str | None = None) -> Toolchain | Verdict:
    cell = parse_cell(cell_id)
    assert cell
    return check(cell, facts, source)


def test_every_target_says_where_its_row_was_learnt(target: Target) -> None:
    assert len(target.ref) > 20
    assert target.last is None or len(target.last.ref) > 20


def test_a_target_has_cuda_or_says_why_not(target: Target) -> None:
    assert (target.cuda is None) == (target.host_only is not None)


def test_an_architecture_is_that_of_its_machine(target: Target) -> None:
    assert target.architecture is None or target.architecture.docker == target.machine


def test_files_and_images_of_two_targets_are_never_one() -> None:
    assert len({target.key for target in TARGETS.values()}) == len(TARGETS)
    crossed = [target.suffix for target in TARGETS.values() if target.crossed != "no"]
    assert len(set(crossed)) == len(crossed)


def test_what_only_its_own_hardware_runs_is_cross_compiled(target: Target) -> None:
    assert target.machine or target.crossed == "only"


def test_a_target_with_an_sdk_brings_no_compiler_of_its_own(target: Target) -> None:
    if target.sdk:
        assert target.packages == {"cross": ()}
        assert any(f"/opt/{target.sdk}/" in text for text in (target.c, *target.cmake))


@pytest.mark.parametrize(
    ("cell_id", "gcc", "source"),
    [
        ("cuda11.8-debian12-jetson", "11", "redist"),
        ("cuda12.4-debian12-jetson", "12", "redist"),
        ("cuda12.6-cudnn9.10-debian12-jetson", "12", "redist"),
        ("cuda12.9-ubuntu22.04-jetson", "11", "redist"),
        ("cuda11.8-debian12-ppc64le", "11", "redist"),
        ("cuda12.4-debian12-ppc64le", "12", "redist"),
        ("cuda12.4-rockylinux8-ppc64le", "13", "redist"),
        ("cuda12.4-debian13-windows", "13", "none"),
        ("cuda13.5-debian12-qnx", "12", "none"),
        ("cuda13.0-debian12-drive", "12", "none"),
    ],
)
def test_a_cell_beyond_servers_has_a_toolchain(
    facts: Facts, cell_id: str, gcc: str, source: str
) -> None:
    toolchain = verdict(cell_id, facts)
    assert isinstance(toolchain, Toolchain), toolchain
    assert (toolchain.gcc, toolchain.cuda.source) == (gcc, source)


@pytest.mark.parametrize(
    ("cell_id", "source", "rule", "reason"),
    [
        ("cuda13.0-debian12-jetson", None, "target", "is 12.9: CUDA 13 has one toolkit for Arm"),
        ("cuda12.4-debian12-jetson", "debian", "arch", "is packaged for x86_64, aarch64"),
        ("cuda12.4-debian12-ppc64le", "debian", "arch", "is packaged for x86_64, aarch64"),
        ("cuda12.6-debian12-ppc64le", None, "arch", "is packaged for x86_64, aarch64"),
        ("cuda12.4-debian13-jetson", None, "math-vector", "glibc 2.38 and later declare aarch64"),
        (
            "cuda12.4-cudnn9.10-debian12-windows",
            None,
            "cudnn-arch",
            "the cell has 9.10 for windows",
        ),
        ("cuda11.8-debian13-windows", None, "host-compiler", "debian13 has 12, 13, 14"),
    ],
)
def test_a_cell_beyond_servers_that_cannot_exist_says_why(
    facts: Facts, cell_id: str, source: str | None, rule: str, reason: str
) -> None:
    refusal = verdict(cell_id, facts, source)
    assert isinstance(refusal, Verdict), refusal
    assert refusal.rule == rule
    assert reason in refusal.explanation
    assert refusal.ref


@pytest.mark.parametrize(
    ("cell_id", "source", "hosts"),
    [
        ("cuda12.4-debian12-x86_64", None, "on itself, elsewhere under emulation"),
        ("cuda12.4-debian12-aarch64", None, "on x86_64 and on itself"),
        ("cuda12.4-debian12-ppc64le", None, "on itself, elsewhere under emulation"),
        ("cuda12.4-rockylinux9-aarch64", None, "on itself, elsewhere under emulation"),
        ("cuda12.4-ubuntu22.04-aarch64", "image", "on itself, elsewhere under emulation"),
        ("cuda12.4-debian12-jetson", None, "on x86_64 only"),
    ],
)
def test_a_cell_says_which_machines_compile_for_it(
    facts: Facts, cell_id: str, source: str | None, hosts: str
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    (verdict, *_) = trace(cell, facts, source, ())
    assert verdict.explanation.endswith(f"is compiled for {hosts}")


def test_an_image_of_l4t_is_for_its_own_architecture(facts: Facts) -> None:
    refusal = verdict("cuda12.4-ubuntu22.04-jetson", facts, "image")
    assert isinstance(refusal, Verdict)
    assert refusal.rule == "target"
    assert refusal.explanation.endswith("an image of L4T is one of `aarch64`")


def test_a_cell_without_cuda_is_asked_for_none_and_says_why(facts: Facts) -> None:
    cell = parse_cell("cuda12.4-debian12-windows")
    assert cell
    verdicts = trace(cell, facts, None, ("nvcc", "cublas"))
    assert len(verdicts) == len(HOST_RULES) + 2, "and cuDNN's"
    assert "by libraries that need no CUDA alone" in verdicts[0].explanation
    assert "MSVC" in verdicts[0].explanation


MatrixOf = Callable[[str], Matrix]
WINDOWS = "include: [{cuda: '12.4', os: debian12, arch: windows}]\n"


def problems_of(matrix_of: MatrixOf, rest: str) -> list[tuple[str, str | None]]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_of(rest)
    return [(str(problem), problem.hint) for problem in caught.value.problems]


def test_a_target_that_no_library_can_be_compiled_for_is_an_error(matrix_of: MatrixOf) -> None:
    ((problem, hint),) = problems_of(matrix_of, f"{WINDOWS}libraries: {{a: {{path: a}}}}\n")
    assert problem.startswith("matrix.yaml:6:11: no library can be compiled for `windows`: nvcc")
    assert hint == "say `cuda: none` of a library that needs no CUDA"


def test_a_library_without_cuda_is_compiled_for_every_target(matrix_of: MatrixOf) -> None:
    matrix = matrix_of(f"{WINDOWS}libraries: {{a: {{path: a}}, b: {{path: b, cuda: none}}}}\n")
    needs_cuda, needs_none = matrix.libraries
    with_cuda = ["x86_64", "aarch64", "ppc64le", "jetson"]
    assert [arch for arch in TARGETS if needs_cuda.suits(arch)] == with_cuda
    assert all(needs_none.suits(arch) for arch in TARGETS)


def test_a_library_that_needs_no_cuda_has_no_components(matrix_of: MatrixOf) -> None:
    library = "libraries: {a: {path: a, cuda: none, components: [cublas]}}\n"
    ((problem, _),) = problems_of(matrix_of, library)
    assert problem == (
        "matrix.yaml:6:38: `libraries.a`: the library needs no CUDA, and has `components` of it"
    )


def test_a_matrix_may_have_no_server(tmp_path: Path) -> None:
    axes = 'cuda: ["12.6"]\nos: [debian12]\narch: [qnx, jetson]'
    assert [cell.id for cell in matrix_of(tmp_path / "repository", axes).cells] == [
        "cuda12.6-debian12-jetson",
        "cuda12.6-debian12-qnx",
    ]
