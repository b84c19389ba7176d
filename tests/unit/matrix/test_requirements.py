"""What libraries require of the machines that run their tests, benchmarks and steps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.library import Library
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.requirement_rules import requirement_verdicts, runs_on
from envmatrix.matrix.requirements import Requirement, is_within
from envmatrix.matrix.selection import find_cell

HEAD = """\
version: "1"
axes: {cuda: ["11.8", "12.4", "13.5"], os: [debian12], arch: [x86_64, aarch64]}
sm: ["80", "90"]
libraries:
"""
OLD, NEW, ARM = (f"cuda{name}" for name in ("11.8-x86_64", "13.5-x86_64", "13.5-aarch64"))


def matrix_with(library: str, head: str = HEAD) -> Matrix:
    """Return the matrix of a library, whose first line is line 6 of the file."""
    lines = "".join(f"    {line}\n" for line in ("path: ops", *library.splitlines()))
    text = f"{head}  ops:\n{lines}"
    return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})


def problems(library: str, head: str = HEAD) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(library, head)
    texts = (
        f"{problem} ({problem.hint})" if problem.hint else str(problem)
        for problem in caught.value.problems
    )
    return [text.removeprefix("matrix.yaml:") for text in texts]


def library_with(library: str, head: str = HEAD) -> Library:
    (only,) = matrix_with(library, head).libraries
    return only


def runs_on_of(text: str) -> tuple[Requirement, ...]:
    tests = library_with(f"test: {{framework: ctest, runs_on: {text}}}").test
    assert tests
    return tuple(replace(row, position=None) for row in tests.runs_on)


def test_the_model_of_a_gpu_stands_for_a_requirement() -> None:
    h100, t4 = Requirement(gpu=("h100",)), Requirement(gpu=("t4",), gpus=2)
    assert runs_on_of("h100") == (h100,)
    assert runs_on_of("{gpu: h100}") == (h100,)
    assert runs_on_of("[h100]") == (h100,)
    assert runs_on_of("[h100, {gpu: [t4], gpus: 2}]".replace("t4", "a100")) == (
        h100,
        replace(t4, gpu=("a100",)),
    )


@pytest.mark.parametrize(
    ("text", "label", "meaning"),
    [
        ("h100", "h100", "h100"),
        ("{gpu: [L4, RTX A6000]}", "l4-or-rtx-a6000", "L4 or RTX A6000"),
        ('{sm: "90"}', "sm90", "a GPU of compute capability 90"),
        ('{sm: ">=80"}', "sm80-up", "a GPU of compute capability 80 or later"),
        ("{gpus: 2}", "2gpus", "a GPU, 2 GPUs"),
        ("{gpus: 1}", "gpu", "a GPU"),
        ("{driver: R580}", "r580", "a GPU, a driver of branch 580"),
        (
            '{gpu: h100, gpus: 2, memory: 80000, driver: ">=580", compat: off}',
            "h100-80000mb-2gpus-r580-up-compat-off",
            "h100 with 80000 MB, 2 GPUs, a driver of branch 580 or later, no forward compatibility",
        ),
    ],
)
def test_a_requirement_has_a_short_name_and_a_meaning(text: str, label: str, meaning: str) -> None:
    (requirement,) = runs_on_of(text)
    assert (requirement.label, str(requirement)) == (label, meaning)


@pytest.mark.parametrize("runs_on", ["{gpu: a100, memory: 80000}", "{gpu: h100, memory: 85000}"])
def test_the_memory_of_the_largest_edition_can_be_required(runs_on: str) -> None:
    assert runs_on_of(runs_on)


@pytest.mark.parametrize(
    ("runs_on", "problem"),
    [
        ("h10",
         "7:39: unknown GPU `h10` (did you mean `h100`?)"),
        ("{gpu: [h100, b20]}",
         "7:52: unknown GPU `b20` (did you mean `b200`?)"),
        ("{gpu: t4}",
         ("7:45: no cell of library `ops` can run there: compiled for 80, 90, which has nothing"
         " that runs on 75 (t4) (the last one is `cuda13.5-debian12-x86_64`)")),
        ('{sm: "75"}',
         ("7:44: no cell of library `ops` can run there: compiled for 80, 90, which has nothing"
         " that runs on 75 (the last one is `cuda13.5-debian12-x86_64`)")),
        ('{gpu: h100, sm: "80"}',
         "7:55: no h100 has `sm: 80` (h100 has 90)"),
        ("{gpu: h100, memory: 120000}",
         "7:59: no h100 has `memory: 120000` (h100 has at most 94000)"),
        ('{sm: "79"}',
         "7:44: no CUDA release compiles for compute capability `79` (the nearest one is `80`)"),
        ("{driver: 551}",
         "7:48: unknown branch of drivers `551` (the nearest one is `550`)"),
        ("{gpu: h100, compat: on}",
         "7:59: images have no forward compatibility (write `policy: {cuda_compat: on}`)"),
        ("{gpu: jetson-orin}",
         ("7:45: no cell of library `ops` can run there: jetson-orin is in machines of jetson, "
         "not of x86_64 (the last one is `cuda13.5-debian12-x86_64`)")),
        ("[h100, {gpu: H100}]",
         "7:46: `h100` is already listed at matrix.yaml:7:40 (leave one of them out)"),
        ("[h100, NVIDIA H100 PCIe]",
         "7:46: `nvidia-h100-pcie` is already listed at matrix.yaml:7:40 (leave one of them out)"),
        ("[{gpu: [h100, h200]}, {gpu: [h200, H-100]}]",
         ("7:61: `h200-or-h-100` is already listed at matrix.yaml:7:40 (leave one of them out)")),
        ("{gpu: h100, cells: cuda14*}",
         "7:58: `cuda14*` matches no cell (did you mean `cuda13-x86_64`?)"),
        ("{gpus: -1}",
         "7:46: `libraries.ops.test.runs_on.gpus` must be a number from 0 to 999999, not `-1`"),
        ("{sm: 8.0}",
         ("7:44: `libraries.ops.test.runs_on.sm` must be a compute capability such as `90`, or "
         "at least one, `>=80`, not `8.0` (did you mean `80`?)")),
        ('{sm: "90a"}',
         ("7:44: `libraries.ops.test.runs_on.sm` must be a compute capability such as `90`, or "
         "at least one, `>=80`, not `90a` (did you mean `90`?)")),
        ("{driver: 550.54.15}",
         ("7:48: `libraries.ops.test.runs_on.driver` must be a branch of drivers such as `550` "
         "or `R550`, or at least one, `>=535`, not `550.54.15` (did you mean `550`?)")),
        ("{model: h100}",
         "7:40: unknown key `libraries.ops.test.runs_on.model`"),
        ("[]",
         "7:39: `libraries.ops.test.runs_on` must not be empty"),
    ],
)  # fmt: skip
def test_what_no_machine_can_fulfil_is_an_error_with_its_place(runs_on: str, problem: str) -> None:
    assert problems(f"test: {{framework: ctest, runs_on: {runs_on}}}") == [problem]


def test_a_driver_is_too_old_only_where_no_cell_runs_with_it() -> None:
    only_13 = HEAD.replace('"11.8", "12.4", ', "")
    text = "test: {framework: ctest, runs_on: {gpu: h100, driver: 550}}"
    (problem,) = problems(text, only_13)
    assert "CUDA 13.5 needs branch 580 or later, without forward compatibility" in problem
    assert matrix_with(text).libraries[0].requirements


def verdicts(text: str, cell: str, head: str = HEAD) -> dict[str, bool]:
    matrix = matrix_with(f"test: {{framework: ctest, runs_on: {text}}}", head)
    (library,) = matrix.libraries
    assert library.test
    (requirement,) = library.test.runs_on
    rows = requirement_verdicts(requirement, library, find_cell(matrix, cell), matrix)
    return {row.rule: row.passed for row in rows}


def test_each_rule_has_a_verdict_in_a_cell() -> None:
    text = "{gpu: h100, driver: 550}"
    assert verdicts(text, OLD) == {"machine": True, "code": True, "driver": True}
    assert verdicts(text, NEW) == {"machine": True, "code": True, "driver": False}
    assert verdicts("gh200", ARM) == {"machine": True, "code": True}
    assert verdicts("gh200", NEW) == {"machine": False, "code": True}


def test_what_needs_no_cuda_requires_no_gpu() -> None:
    text = "cuda: none\ntest: {framework: ctest, runs_on: h100}"
    (problem,) = problems(text)
    assert "nothing uses a GPU there" in problem


def test_forward_compatibility_lets_an_older_driver_run_a_newer_cuda() -> None:
    with_compat = HEAD.replace("libraries:", "policy: {cuda_compat: on}\nlibraries:")
    with_compat = with_compat.replace('"11.8", "12.4", ', "").replace(
        "libraries:", "sources: [{source: redist, os: debian12}]\nlibraries:"
    )
    matrix = matrix_with("cells: '*'")
    library, cell = matrix.libraries[0], find_cell(matrix, NEW)
    matrix = replace(matrix, cuda_compat=True)
    for gpu, compat, passed in (
        ("h100", None, True),
        ("h100", "on", True),
        ("h100", "off", False),
        ("rtx4090", "on", False),
    ):
        required = Requirement(gpu=(gpu,), driver="550", compat=compat)  # type: ignore[arg-type]
        *_, driver = requirement_verdicts(required, library, cell, matrix)
        assert (driver.rule, driver.passed) == ("driver", passed)


@pytest.mark.parametrize(
    ("code", "capability", "runs"),
    [
        (["80"], 80, True),
        (["80"], 89, True),
        (["80"], 90, True),  # by PTX
        (["90"], 80, False),
        (["86"], 80, False),
        (["90a"], 90, True),
        (["90a"], 100, False),
        (["100f"], 103, True),
        (["100f"], 120, False),
        (["75", "120"], 100, True),
        ([], 80, False),
    ],
)
def test_a_gpu_runs_machine_code_of_its_major_and_ptx_of_older_ones(
    code: list[str], capability: int, runs: bool
) -> None:
    assert runs_on(code, capability) == runs


@given(st.integers(10, 999), st.integers(10, 999))
def test_a_bound_is_a_number_or_the_least_one(bound: int, value: int) -> None:
    assert is_within(str(bound), value) == (bound == value)
    assert is_within(f">={bound}", value) == (value >= bound)
    assert is_within(None, value)


MODELS = st.sampled_from(["h100", "H100", "NVIDIA H200", "l4", "RTX A6000", "", "x", "[", "y: z"])
VALUES = st.one_of(
    MODELS,
    st.lists(MODELS, max_size=3),
    st.sampled_from(["90", ">=80", "0", "2", "R550", ">=535", "on", "off", "pr", "weekly"]),
    st.integers(-1, 1000).map(str),
)
KEYS = st.sampled_from(["gpu", "sm", "memory", "gpus", "driver", "compat", "cells", "tier", "z"])
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)


def refusals(library: str) -> list[str]:
    try:
        matrix_with(library)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


@given(st.one_of(MODELS, TABLES, st.lists(st.one_of(MODELS, TABLES), max_size=3)))
def test_any_runs_on_is_read_or_refused_with_its_place(value: object) -> None:
    text = f"test: {{framework: ctest, runs_on: {json.dumps(value)}}}"
    if places := refusals(text):
        assert all(place.startswith("matrix.yaml:7:") for place in places)
        return
    library = library_with(text)
    assert library.test
    labels = [row.label for row in library.test.runs_on]
    assert len({*labels}) == len(labels) > 0
    assert all(label.replace("-", "").isalnum() for label in labels)


def test_a_benchmark_and_steps_have_requirements_too() -> None:
    library = library_with(
        "benchmark: {program: bin/bench, runs_on: [h100, a100]}\n"
        "steps: {nvrtc: {commands: [./nvrtc], runs_on: h100}}"
    )
    (benchmark,) = library.benchmark
    assert benchmark.program == "bin/bench"
    assert [*library.requirements] == [("benchmark",), ("steps", "nvrtc")]
    (plain,) = library_with("benchmark: bin/bench").benchmark
    assert (plain.program, plain.runs_on) == ("bin/bench", ())


def test_each_of_several_benchmarks_has_machines_of_its_own() -> None:
    library = library_with(
        "benchmark:\n- bin/any\n- {program: bin/host, runs_on: {gpus: 0}}\n"
        "- {program: bin/both, runs_on: [{gpus: 0}, h100]}"
    )
    any_gpu, host, h100 = library.measured_on
    assert any_gpu is None
    assert (str(host), str(h100)) == ("no GPU", "h100")
    assert [row.program for row in library.benchmarks_on(any_gpu)] == ["bin/any"]
    assert [row.program for row in library.benchmarks_on(host)] == ["bin/host", "bin/both"]
    assert [row.program for row in library.benchmarks_on(h100)] == ["bin/both"]
    assert [*library.requirements] == [("benchmark", 1), ("benchmark", 2)]


def test_a_machine_without_a_gpu_has_nothing_that_a_gpu_has() -> None:
    text = "benchmark: {program: b, runs_on: {gpus: 0, sm: 80, driver: 550}}"
    assert [problem.split(": ", 1)[1] for problem in problems(text)] == [
        "`sm` requires a GPU, `gpus: 0` none (leave it out, or `gpus: 0`)",
        "`driver` requires a GPU, `gpus: 0` none (leave it out, or `gpus: 0`)",
    ]


STEPS = """\
steps:
  nvrtc: {commands: [./nvrtc], runs_on: h100, cells: "cuda13*"}
  docs: {commands: [make docs], after: nothing, environment: {A: b}, tier: nightly}
  install:
    commands: ["cmake --install . --prefix /build/prefix", "cmake -S /src/consumer -B consumer"]
    junit: reports/*.xml
variants:
  std: ["17", "20"]
  named: {lean: {definitions: {LEAN: "ON"}, steps: [docs]}, bare: {sm: ["90"], steps: []}}
"""


def test_a_variant_has_the_steps_of_its_library_or_those_that_it_lists() -> None:
    variants = {row.name: [*row.steps] for row in matrix_with(STEPS).variants}
    assert variants == {
        "ops": ["nvrtc", "docs", "install"],
        "ops@cxx20": ["nvrtc", "docs", "install"],
        "ops@lean": ["docs"],
        "ops@bare": [],
    }


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("{test: {commands: [a]}}",
         "7:13: envmatrix has a step `test` of its own (choose another name)"),
        ("{a: {commands: []}}",
         "7:27: `libraries.ops.steps.a.commands` must not be empty"),
        ("{a: {}}",
         "7:16: `libraries.ops.steps.a.commands` is missing"),
        ("{a: {commands: [b, b]}}",
         "7:31: `b` is already listed at matrix.yaml:7:28"),
        ("{a: {commands: [b], cells: x}}",
         "7:39: `x` matches no cell (there are "),
        ("{a: {commands: [b], image: cross}}",
         "7:39: `libraries.ops.steps.a.image` must be `devel` or `runtime`, not `cross`"),
        ("{a: {commands: [b], junit: ../x}}",
         ("7:39: `libraries.ops.steps.a.junit` must be a relative path that stays inside the "
         "repository: `../x`")),
        ("{a: {commands: [b]}, a.2: {commands: [b]}}",
         "7:33: step `a.2` would have the files of step `a` (choose another name: "),
        ("{a.2-on-t4: {commands: [b]}, a: {commands: [b]}}",
         "7:13: step `a.2-on-t4` would have the files of step `a` (choose another name: "),
        ("{install: {commands: [b], runs_on: h100}}",
         "7:13: envmatrix has a step `install` of its own (choose another name)"),
        ("{A: {commands: [b]}}",
         ("7:13: `libraries.ops.steps.A` must be a name of lower-case words joined by `-`, `_` "
         "or `.`, not `A` (did you mean `a`?)")),
    ],
)  # fmt: skip
def test_wrong_steps_are_errors_with_their_place(steps: str, problem: str) -> None:
    (text,) = problems(f"steps: {steps}")
    assert text.startswith(problem)


def test_a_variant_names_steps_that_its_library_has() -> None:
    text = STEPS.replace("steps: [docs]", "steps: [doc]")
    assert problems(text) == ["15:57: library `ops` has no step `doc` (did you mean `docs`?)"]


def test_gpu_architectures_are_filled_into_steps() -> None:
    library = library_with('steps: {a: {commands: ["nvcc {gencode}"], environment: {SM: "{sm}"}}}')
    step = library.with_sm(["90"]).steps["a"]
    assert step.commands == ("nvcc -gencode=arch=compute_90,code=sm_90",)
    assert step.environment == {"SM": "90"}


@pytest.mark.parametrize(
    ("runs_on", "expected"),
    [
        ("{memory: 999999}", "no GPU has `memory: 999999` (b300 has at most 288000)"),
        (
            '{sm: "75", memory: 90000}',
            "no GPU of compute capability 75 has `memory: 90000` (t4 has at most 16000)",
        ),
        (
            '{sm: ">=120", memory: 999999}',
            (
                "no GPU of compute capability >=120 has `memory: 999999` "
                "(rtxpro6000 has at most 96000)"
            ),
        ),
        (
            '{gpu: h100, sm: "90", memory: 200000}',
            "no h100 has `memory: 200000` (h100 has at most 94000)",
        ),
        ('{gpu: "\\u202Et4"}', "unknown GPU `\\u202et4` (did you mean `t4`?)"),
    ],
)
def test_a_machine_that_no_model_makes_is_refused(runs_on: str, expected: str) -> None:
    (problem,) = problems(f"test: {{framework: ctest, runs_on: {runs_on}}}")
    assert problem.partition(": ")[2] == expected


@pytest.mark.parametrize("runs_on", ["{memory: 250000}", '{sm: "90", memory: 144000}'])
def test_a_memory_that_some_model_has_can_be_required(runs_on: str) -> None:
    assert runs_on_of(runs_on)
