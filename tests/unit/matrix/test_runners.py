from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.conftest import SMALL_AXES

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.runners import DEFAULT_RUNNERS, RunnerClass

LABELS = "write the labels that select one, such as `github: ubuntu-24.04`"
A_LABEL = "a label of machines: at most 200 printable characters of ASCII"


def matrix_with(runners: str) -> Matrix:
    text = f'{SMALL_AXES}sm: ["90"]\n{runners}'
    return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})


def problems_of(entry: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(f"ci: {{runners: {{a: {entry}}}}}\n")
    rows = caught.value.problems
    return [
        f"{row}{f' ({row.hint})' if row.hint else ''}".removeprefix("matrix.yaml:7:")
        for row in rows
    ]


def test_a_class_is_named_and_has_labels_of_engines() -> None:
    matrix = matrix_with(
        "ci:\n"
        "  runners:\n"
        "    x86_64: {github: [self-hosted, linux], gitlab: [], jenkins: linux && docker,"
        " memory: 64000}\n"
        "    arm: {arch: aarch64, github: ubuntu-24.04-arm}\n"
        "    h100: {gpu: h100, gpus: 2, jenkins: h100}\n"
    )
    assert matrix.runners == {
        "x86_64": RunnerClass(
            github=("self-hosted", "linux"), gitlab=(), jenkins="linux && docker", memory=64000
        ),
        "arm": RunnerClass(arch="aarch64", github=("ubuntu-24.04-arm",)),
        "h100": RunnerClass(gpu="h100", gpus=2, jenkins="h100"),
    }


def test_without_the_section_there_is_one_class() -> None:
    assert matrix_with("").runners == matrix_with("ci: {runners: {}}\n").runners == DEFAULT_RUNNERS


def test_the_model_of_a_gpu_means_one_of_it() -> None:
    counts = [row.gpu_count for row in (RunnerClass(), RunnerClass(gpu="t4"), RunnerClass(gpus=4))]
    assert counts == [0, 1, 4]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "{gpu: h10, github: x}",
            "25: unknown GPU `h10` (did you mean `h100`?)",
        ),
        (
            "{gpu: gb200, github: x}",
            "25: `gb200` is in machines of aarch64, not of x86_64 (write `arch: aarch64`)",
        ),
        (
            "{memory: 64000}",
            f"16: `ci.runners.a`: names no engine that has such machines ({LABELS})",
        ),
        (
            "{githb: x, gitlab: []}",
            "20: unknown key `ci.runners.a.githb` (did you mean `github`?)",
        ),
        (
            '{github: "a\\nb"}',
            f"28: `ci.runners.a.github` must be {A_LABEL}, not `a\\nb`",
        ),
        ("{github: []}", "28: `ci.runners.a.github` must not be empty"),
    ],
)
def test_a_wrong_class_is_an_error_with_its_place(entry: str, problem: str) -> None:
    assert problems_of(entry) == [problem]


@given(st.text())
def test_any_label_is_read_as_it_is_or_refused(label: str) -> None:
    try:
        matrix = matrix_with(f"ci: {{runners: {{a: {{jenkins: {json.dumps(label)}}}}}}}\n")
    except ConfigurationError:
        return
    assert matrix.runners["a"].jenkins == label
    assert label.isascii()
    assert label.isprintable()
