from __future__ import annotations

from dataclasses import replace

import pytest

from envmatrix.facts.model import Facts
from envmatrix.matrix.cells import CudaSource, Toolchain, parse_cell
from envmatrix.matrix.compatibility import Verdict, check, trace


@pytest.mark.parametrize(
    ("cell_id", "gcc", "source", "cudnn_project"),
    [
        ("cuda11.8-debian12-x86_64", "11", "debian", None),
        ("cuda11.8-cudnn9.10-debian12-x86_64", "11", "debian", "nvidia-cudnn-cu11"),
        ("cuda12.4-debian12-aarch64", "12", "debian", None),
        ("cuda12.4-debian13-x86_64", "13", "debian", None),
        ("cuda12.4.1-debian13-x86_64", "13", "redist", None),
        ("cuda12.6-debian13-x86_64", "13", "redist", None),
        ("cuda12.6-cudnn9.10-debian12-aarch64", "12", "redist", "cudnn"),
        ("cuda12.4-cudnn9.10.2-debian12-aarch64", "12", "debian", "nvidia-cudnn-cu12"),
        ("cuda13.0-debian12-x86_64", "12", "pypi", None),
        ("cuda13.5-cudnn9.28-debian13-aarch64", "14", "pypi", "nvidia-cudnn-cu13"),
        ("cuda11.8-cudnn9.10-ubuntu22.04-aarch64", "11", "redist", "cudnn"),
        ("cuda12.2-ubuntu24.04-x86_64", "12", "redist", None),
        ("cuda12.4-ubuntu24.04-x86_64", "13", "redist", None),
        ("cuda12.9-ubuntu26.04-aarch64", "14", "redist", None),
        ("cuda13.0-ubuntu24.04-aarch64", "13", "pypi", None),
        ("cuda13.5-ubuntu26.04-x86_64", "15", "pypi", None),
    ],
)
def test_a_possible_cell_has_a_toolchain(
    facts: Facts, cell_id: str, gcc: str, source: str, cudnn_project: str | None
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    toolchain = check(cell, facts)
    assert isinstance(toolchain, Toolchain)
    assert (toolchain.gcc, toolchain.cuda.source) == (gcc, source)
    assert toolchain.cudnn_project == cudnn_project


@pytest.mark.parametrize(
    ("cell_id", "rule", "reason"),
    [
        ("cuda12.7-debian12-x86_64", "cuda", "unknown CUDA release `12.7`"),
        ("cuda12.4-plan9-x86_64", "os", "unknown operating system `plan9`"),
        ("cuda12.4-debian12-sparc", "arch", "unknown architecture `sparc`"),
        (
            "cuda11.8-debian13-x86_64",
            "host-compiler",
            "CUDA 11.8 takes GCC 6 to 11; debian13 has 12, 13, 14",
        ),
        ("cuda12.4-debian13-aarch64", "math-vector", "glibc 2.38 and later declare aarch64"),
        ("cuda12.4-ubuntu24.04-aarch64", "math-vector", "glibc 2.38 and later declare aarch64"),
        ("cuda13.0-ubuntu26.04-x86_64", "rsqrt", "glibc 2.42 and later declare rsqrt noexcept"),
        (
            "cuda13.0-cudnn9.10-debian12-x86_64",
            "cudnn",
            "CUDA 13.0 is supported by cuDNN 9.12 and later; the cell has 9.10",
        ),
        (
            "cuda11.8-cudnn9.28-debian12-x86_64",
            "cudnn",
            "CUDA 11.8 is supported by cuDNN 8.9.5 to 8.9.6 and 9.0 to 9.10; the cell has 9.28",
        ),
        (
            "cuda11.8-cudnn9.10-debian12-aarch64",
            "cudnn-arch",
            "cuDNN packages for CUDA 11.8: 9.0 to 9.10 for x86_64; the cell has 9.10 for aarch64",
        ),
    ],
)
def test_an_impossible_cell_has_a_rule_a_reason_and_its_source(
    facts: Facts, cell_id: str, rule: str, reason: str
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    verdict = check(cell, facts)
    assert isinstance(verdict, Verdict)
    assert verdict.rule == rule
    assert verdict.explanation.startswith(reason)
    assert verdict.ref


def test_a_named_source_is_the_only_one_that_counts(facts: Facts) -> None:
    cell = parse_cell("cuda11.8-cudnn9.10-debian12-aarch64")
    assert cell
    toolchain = check(cell, facts, "redist")
    assert isinstance(toolchain, Toolchain)
    assert (toolchain.cuda.source, toolchain.cudnn_source) == ("redist", "redist")
    verdict = check(cell, facts, "pypi")
    assert isinstance(verdict, Verdict)
    assert verdict.rule == "source"
    assert verdict.explanation == "CUDA 11.8 comes from debian, redist; the matrix names pypi"


@pytest.mark.parametrize(
    ("cell_id", "rule", "reason"),
    [
        ("cuda12.4.1-cudnn9.10-ubuntu22.04-aarch64", None, ""),
        ("cuda12.4-debian13-aarch64", "math-vector", ""),
        ("cuda11.8-ubuntu24.04-x86_64", None, ""),
        ("cuda11.8-debian13-x86_64", "host-compiler", "CUDA 11.8 takes GCC"),
        ("cuda13.0-cudnn8.9-debian12-x86_64", "cudnn", "CUDA 13.0 is supported by cuDNN"),
    ],
)
def test_what_is_in_an_image_is_held_to_all_other_rules(
    facts: Facts, cell_id: str, rule: str | None, reason: str
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    verdict = check(cell, facts, "image", ("nvcc", "nccl", "cublas-static"))
    if isinstance(verdict, Verdict):
        assert verdict.rule == rule
        assert verdict.explanation.startswith(reason)
    else:
        assert rule is None
        assert (verdict.cuda.source, verdict.cuda.suite) == ("image", None)
        assert verdict.cudnn_source == ("image" if cell.cudnn else None)


def test_an_image_is_not_asked_for_what_no_release_of_its_kind_has(facts: Facts) -> None:
    cell = parse_cell("cuda11.8-debian12-x86_64")
    assert cell
    verdict = check(cell, facts, "image", ("nvjitlink",))
    assert isinstance(verdict, Verdict)
    assert verdict.explanation == "component `nvjitlink` is not in CUDA 11.8: it is new in CUDA 12"


def test_packages_of_one_distribution_are_not_for_another(facts: Facts) -> None:
    cell = parse_cell("cuda12.4-ubuntu24.04-x86_64")
    assert cell
    verdict = check(cell, facts, "debian")
    assert isinstance(verdict, Verdict)
    assert verdict.rule == "source"
    assert verdict.explanation == (
        "CUDA 12.4 comes from debian, redist; the matrix names debian; "
        "packages of debian are made for debian alone"
    )


@pytest.mark.parametrize(
    ("cell_id", "rule", "reason"),
    [
        ("cuda12.4-debian12-x86_64", None, ""),
        ("cuda13.2-cudnn9.28-debian13-aarch64", None, ""),
        ("cuda12.4-debian12-aarch64", "arch", "CUDA 12.4 is packaged for x86_64"),
        (
            "cuda12.6-debian13-x86_64",
            "source",
            (
                "CUDA 12.6 comes from redist, nvidia-apt for debian12 and ubuntu2004 and "
                "ubuntu2204 and ubuntu2404; the matrix names nvidia-apt"
            ),
        ),
        ("cuda12.6.3-debian12-x86_64", None, ""),
        ("cuda11.1-ubuntu20.04-aarch64", "arch", "CUDA 11.1 is packaged for x86_64"),
        ("cuda12.6.3-cudnn9.5.1.17-debian12-x86_64", None, ""),
    ],
)
def test_nvidias_packages_are_for_the_systems_that_have_a_repository(
    facts: Facts, cell_id: str, rule: str | None, reason: str
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    verdict = check(cell, facts, "nvidia-apt")
    if isinstance(verdict, Verdict):
        assert (verdict.rule, verdict.explanation) == (rule, reason)
    else:
        assert rule is None
        assert verdict.cuda == CudaSource("nvidia-apt", cell.os)
        assert verdict.cudnn_source == ("nvidia-apt" if cell.cudnn else None)


def test_debian_has_one_patch_of_a_release(facts: Facts) -> None:
    cell = parse_cell("cuda12.4.1-debian12-x86_64")
    assert cell
    verdict = check(cell, facts, "debian")
    assert isinstance(verdict, Verdict)
    assert verdict.explanation == (
        "CUDA 12.4 comes from debian, redist, nvidia-apt for debian12; the matrix names debian, "
        "which cannot be asked for a patch"
    )


@pytest.mark.parametrize(
    ("cell_id", "components", "source"),
    [
        ("cuda13.0-debian12-x86_64", ("nvcc", "cublas"), "pypi"),
        ("cuda13.0-debian12-x86_64", ("nvcc", "gdb"), "redist"),
        ("cuda11.8-debian12-aarch64", ("nvcc", "cusparse"), "debian"),
        ("cuda11.8-debian12-aarch64", ("nvcc", "gdb"), "redist"),
        ("cuda13.0-debian12-x86_64", ("gdb", "nccl"), "nvidia-apt"),
    ],
)
def test_the_first_source_with_all_components_is_preferred(
    facts: Facts, cell_id: str, components: tuple[str, ...], source: str
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    toolchain = check(cell, facts, components=components)
    assert isinstance(toolchain, Toolchain)
    assert toolchain.cuda.source == source


@pytest.mark.parametrize(
    ("cell_id", "components", "source", "reason"),
    [
        (
            "cuda13.0-debian12-x86_64",
            ("gdb", "nvrtc"),
            "pypi",
            (
                "component `gdb` is not in pypi: there is no wheel of it; "
                "`sources` may name redist, nvidia-apt"
            ),
        ),
        (
            "cuda13.0-debian12-x86_64",
            ("cutensor", "nccl"),
            None,
            (
                "component `cutensor` is not in pypi: its wheels were not looked at; "
                "component `nccl` is not in redist: no manifest lists it; "
                "component `cutensor` is not in nvidia-apt: its packages were not looked at"
            ),
        ),
        (
            "cuda13.0-debian12-x86_64",
            ("compat",),
            "redist",
            (
                "component `compat` is not in redist: its manifests list it for Jetson only; "
                "`sources` may name nvidia-apt"
            ),
        ),
        (
            "cuda11.8-debian12-x86_64",
            ("nvjitlink",),
            None,
            "component `nvjitlink` is not in CUDA 11.8: it is new in CUDA 12",
        ),
    ],
)
def test_a_cell_whose_components_cannot_all_be_had_cannot_exist(
    facts: Facts, cell_id: str, components: tuple[str, ...], source: str | None, reason: str
) -> None:
    cell = parse_cell(cell_id)
    assert cell
    verdict = check(cell, facts, source, components)
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.explanation) == ("components", reason)
    assert verdict.ref


def test_a_component_without_a_recipe_is_absent_from_that_source(facts: Facts) -> None:
    npp = replace(facts.components["npp"], sources=("redist",))
    without = replace(facts, components={**facts.components, "npp": npp})
    cell = parse_cell("cuda13.0-debian12-x86_64")
    assert cell
    verdict = check(cell, without, "pypi", ("npp",))
    assert isinstance(verdict, Verdict)
    assert verdict.explanation.startswith(
        "component `npp` is not in pypi: there is no recipe for it"
    )


def test_a_trace_names_the_components_with_what_they_need(facts: Facts) -> None:
    cell = parse_cell("cuda12.4-debian12-x86_64")
    assert cell
    explanations = {
        step.rule: step.explanation for step in trace(cell, facts, components=("cusparse",))
    }
    assert explanations["components"] == "from debian: cusparse, nvjitlink"


def test_a_trace_tells_every_rule_also_after_one_that_failed(facts: Facts) -> None:
    cell = parse_cell("cuda11.8-cudnn9.28-debian13-aarch64")
    assert cell
    verdicts = trace(cell, facts)
    failed = [verdict.rule for verdict in verdicts if not verdict.passed]
    assert failed == ["host-compiler", "math-vector", "cudnn", "cudnn-arch"]
    assert all(verdict.explanation and verdict.ref for verdict in verdicts)
