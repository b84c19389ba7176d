"""Lists of tests with conditions of machines, as libraries and back."""

from __future__ import annotations

import yaml

from envmatrix.adoption.imports.formats import parse_source
from envmatrix.adoption.imports.test_db import Listing, libraries_of, lists_of, suits
from envmatrix.adoption.imports.text import matrix_text
from envmatrix.app.adoption import matrix_of
from envmatrix.facts.model import load_facts
from envmatrix.matrix.model import Matrix

# As in tests/integration/test_lists/test-db of NVIDIA/TensorRT-LLM, with names of our own.
LIST = """\
version: 0.0.1
l0_h100:
- condition:
    ranges: {system_gpu_count: {gte: 2, lte: 2}}
    wildcards:
      gpu: ['*h100*']
      linux_distribution_name: ubuntu*
      cpu: x86_64
    terms: {stage: pre_merge, backend: pytorch}
  tests:
  # comment
  - accuracy/test_a.py::TestA::test_b[x=1-y] # why
  - unittest/test_c.py
- condition:
    ranges: {system_gpu_count: {gte: 1, lte: 1}}
    wildcards: {gpu: ['*h100*']}
    terms: {stage: post_merge, backend: pytorch}
  tests:
  - unittest/test_c.py -m "part0"
  - unittest/test_d.py -m "part0"
  - unittest/test_c.py -m "not part0" TIMEOUT (90)
"""
MATRIX = """\
version: "1"
axes: {cuda: ["12.9"], os: [ubuntu24.04], arch: [x86_64, aarch64]}
sm: ["90"]
"""


def converted(text: str, needed: str | None = None) -> Listing:
    return libraries_of([parse_source(text.encode(), "l0.yml")], needed, load_facts().gpus)


def matrix_with(listing: Listing) -> Matrix:
    text = matrix_text({"reason": "tests", "libraries": listing.libraries}, [])
    return matrix_of({"matrix.yaml": MATRIX, "matrix.d/tests.yaml": text})


def reasons(listing: Listing) -> list[tuple[int, str, str]]:
    rows = sorted(listing.remainders, key=lambda row: row.position)
    return [(row.position.line, row.what, row.reason) for row in rows]


def test_a_block_is_a_library_for_each_kind_of_options() -> None:
    listing = converted(LIST)
    assert {name: library["test"] for name, library in listing.libraries.items()} == {
        "l0_h100.pytorch": {
            "framework": "pytest",
            "run": [
                "tests/integration/defs/accuracy/test_a.py::TestA::test_b[x=1-y]",
                "tests/unittest/test_c.py",
            ],
            "runs_on": {"gpu": "h100", "gpus": "2", "cells": "*-ubuntu*-x86_64"},
        },
        "l0_h100.pytorch.2": {
            "framework": "pytest",
            "run": ["tests/unittest/test_c.py", "tests/unittest/test_d.py"],
            "options": ["-m", "part0"],
            "runs_on": {"gpu": "h100", "tier": "nightly"},
        },
        "l0_h100.pytorch.3": {
            "framework": "pytest",
            "run": ["tests/unittest/test_c.py"],
            "options": ["-m", "not part0"],
            "runs_on": {"gpu": "h100", "tier": "nightly"},
        },
    }
    assert (listing.count, listing.converted) == (5, 5)
    assert reasons(listing) == [
        (
            21,
            'unittest/test_c.py -m "not part0": TIMEOUT (90)',
            "a library has one time for all of its tests: `test.timeout`",
        )
    ]


def test_the_matrix_reads_what_is_written() -> None:
    matrix = matrix_with(converted(LIST))
    (requirement,) = next(
        row for row in matrix.libraries if row.name == "l0_h100.pytorch"
    ).tested_on
    assert (requirement.gpu, requirement.gpus, requirement.tier) == (("h100",), 2, "pr")


def test_libraries_need_the_one_that_is_tested() -> None:
    listing = converted(LIST, "llm")
    assert all(library["needs"] == ["llm"] for library in listing.libraries.values())


def test_what_the_matrix_has_no_word_for_is_told() -> None:
    text = """\
l0_x:
- condition:
    ranges: {system_gpu_count: {gte: 2, lte: 4}, compute_capability: {gte: "9.0"}, hops: {gte: 1}}
    wildcards: {gpu: ['*gb110*', '*b300*'], linux_distribution_name: '*', linux_version: '22*'}
    terms: {stage: nightly, supports_fp8: true}
    others: {}
  tests:
  - a.py SKIP (B)
  - b.py ISOLATION, TIMEOUT (90)
  - c.py NEWMARKER
  - "-m part0"
  - d.py -m "open
l0_none: nothing
"""
    listing = converted(text)
    (library,) = listing.libraries.values()
    assert library["test"] == {
        "framework": "pytest",
        "run": [f"tests/integration/defs/{name}.py" for name in "abc"],
        "runs_on": {"gpus": "2", "sm": ">=90", "gpu": "b300", "tier": "weekly"},
    }
    assert (listing.count, listing.converted) == (5, 3)
    assert [(line, what) for line, what, _ in reasons(listing)] == [
        (3, "system_gpu_count: lte 4"),
        (3, "hops: gte"),
        (4, "gpu: *gb110*"),
        (4, "linux_version: 22*"),
        (5, "stage: nightly"),
        (5, "supports_fp8: true"),
        (6, "condition.others"),
        (8, "a.py: SKIP (B)"),
        (9, "b.py: ISOLATION"),
        (9, "b.py: TIMEOUT (90)"),
        (10, "c.py: NEWMARKER"),
        (11, "-m part0"),
        (12, 'd.py -m "open'),
        (13, "l0_none"),
    ]


def test_a_block_of_unknown_gpus_is_left_out_and_counted() -> None:
    text = "l0:\n- condition: {wildcards: {gpu: ['*h9000*']}}\n  tests: [a.py, b.py]\n"
    listing = converted(text)
    assert not listing.libraries
    assert [row.jobs for row in listing.remainders] == [0, 2]


def test_tests_without_a_gpu_are_for_cells() -> None:
    text = """\
l0_cpu:
- condition:
    wildcards: {cpu: aarch64}
    ranges: {system_gpu_count: {gte: 0, lte: 0}}
    terms: {stage: post_merge}
  tests: [a.py]
"""
    listing = converted(text)
    assert listing.libraries["l0_cpu"]["cells"] == "*-aarch64"
    assert [reason for _, _, reason in reasons(listing)] == [
        "only tests with a machine have a tier: say it in `runs`"
    ]


def test_lists_are_the_same_after_a_round_trip() -> None:
    text = LIST.replace(" TIMEOUT (90)", "")
    contexts, remainders = lists_of(matrix_with(converted(text)).libraries)
    assert not remainders
    blocks = yaml.safe_load(text)["l0_h100"]
    grouped = [
        blocks[0],
        {**blocks[1], "tests": blocks[1]["tests"][:2]},
        {**blocks[1], "tests": blocks[1]["tests"][2:]},
    ]
    assert contexts == {"l0_h100": grouped}


def test_what_no_list_can_say_is_told() -> None:
    text = """\
version: "1"
reason: tests
libraries:
  built: {path: ., build: {system: script, commands: [make]}, test: none}
  tests:
    path: .
    build: {system: script, commands: ["true"]}
    test:
      framework: pytest
      run: [tests/test_a.py]
      runs_on:
        - {gpu: h100, driver: "550", memory: 1000, cells: ["*-x86_64", "*-aarch64"], tier: weekly}
        - {sm: "90"}
"""
    contexts, remainders = lists_of(
        matrix_of({"matrix.yaml": MATRIX, "matrix.d/tests.yaml": text}).libraries
    )
    assert [block["tests"] for block in contexts["tests"]] == [["tests/test_a.py"]] * 2  # type: ignore[attr-defined]
    assert [(row.key, *row.values) for row in remainders] == [
        ("built",),
        ("tests", "*-x86_64", "*-aarch64"),
        ("tests", "memory 1000"),
        ("tests", "driver 550"),
        ("tests", "weekly"),
        ("tests", "sm 90"),
    ]


def test_files_are_recognized() -> None:
    assert suits(parse_source(LIST.encode(), "l0.yml"))
    assert not suits(parse_source(b"jobs: {test: [{condition: x}]}", "ci.yml"))
