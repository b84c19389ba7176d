"""`envmatrix import`: what it writes, what it replaces, and what it says."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from tests.unit.adoption.imports.converting import workflow
from tests.unit.adoption.imports.test_formats import CCCL, GITHUB
from tests.unit.prompt import Prompt

from envmatrix.adoption.imports.formats import FORMATS, LARGEST
from envmatrix.matrix.loading import load_matrix


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "solver"
    (root / "sparse").mkdir(parents=True)
    (root / "sparse/CMakeLists.txt").write_text("project(sparse)\nenable_testing()\n")
    (root / "ci").mkdir()
    (root / "ci/matrix.yaml").write_text(CCCL)
    (root / "ci.yml").write_text(workflow({"cuda": "12.4"}, {"cuda": "12.9", "python": "3.12"}))
    monkeypatch.chdir(root)
    return root


def test_a_matrix_is_written_and_the_rest_is_listed(repository: Path, envmatrix: Prompt) -> None:
    answer = envmatrix("import", "ci.yml")
    assert answer.status == 0
    assert answer.out == (
        "ci.yml:9:19: `python: 3.12`: releases of Python are not converted: add them to the axis "
        "`python`\n"
    )
    assert answer.err.splitlines() == [
        "wrote    matrix.yaml",
        "jobs     2 of 2 converted, in 2 cells",
        "next     envmatrix lock",
    ]
    matrix = load_matrix(repository)
    assert [cell.id for cell in matrix.cells] == [
        "cuda12.4-ubuntu22.04-x86_64",
        "cuda12.9-ubuntu22.04-x86_64",
    ]
    assert envmatrix().out.splitlines()[-1] == "next     envmatrix lock"


def test_the_same_file_is_the_same_matrix(repository: Path, envmatrix: Prompt) -> None:
    texts = []
    for name in ("a.yaml", "b.yaml"):
        assert envmatrix("import", "ci/matrix.yaml", "--output", name).status == 0
        texts.append(Path(name).read_text())
    assert texts[0] == texts[1]
    assert envmatrix("import", "ci/matrix.yaml", "-o", "-").out.strip() == texts[0].strip()


def test_workflows_and_systems_can_be_chosen(repository: Path, envmatrix: Prompt) -> None:
    arguments = ("--workflow", "pull_request,nightly", "--os", "ubuntu24.04")
    assert envmatrix("import", "ci/matrix.yaml", *arguments).status == 0
    matrix = load_matrix(repository)
    assert matrix.axes["os"] == ("ubuntu24.04",)
    assert {library.name: library.path for library in matrix.libraries} == {
        "solver": ".",
        "sparse": "sparse",
    }


def test_a_matrix_is_replaced_only_by_force(repository: Path, envmatrix: Prompt) -> None:
    (repository / "matrix.yaml").write_text("mine\n")
    answer = envmatrix("import", "ci.yml")
    assert answer.status == 2
    assert answer.err == (
        "error: there is a `matrix.yaml` here\n"
        "hint: replace it: `--force`; or write to another file: `--output FILE`\n"
    )
    assert (repository / "matrix.yaml").read_text() == "mine\n"
    assert envmatrix("import", "ci.yml", "--force").status == 0
    assert load_matrix(repository).cells


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_a_person_is_asked_whether_to_replace_a_matrix(
    repository: Path,
    envmatrix: Prompt,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    status: int,
) -> None:
    (repository / "matrix.yaml").symlink_to("nowhere")
    monkeypatch.setattr("sys.stdin", _Terminal(typed))
    answer = envmatrix("import", "ci.yml")
    assert (answer.status == 0) == (status == 0)
    assert "Replace matrix.yaml?" in answer.err
    assert (repository / "matrix.yaml").is_symlink() == (status != 0)


def test_the_rest_is_a_document_for_programs(repository: Path, envmatrix: Prompt) -> None:
    answer = envmatrix("import", "ci.yml", "--json")
    assert answer.status == 0
    assert json.loads(answer.out) == {
        "format": "github",
        "jobs": 2,
        "converted": 2,
        "cells": 2,
        "not_converted": [
            {
                "file": "ci.yml",
                "line": 9,
                "column": 19,
                "key": "python",
                "values": ["3.12"],
                "reason": "releases of Python are not converted: add them to the axis `python`",
                "rule": None,
                "jobs": 0,
            }
        ],
    }


def test_a_file_without_cuda_is_an_error_after_the_list(
    repository: Path, envmatrix: Prompt
) -> None:
    (repository / "lint.yml").write_text("jobs: {lint: {runs-on: ubuntu-latest}}\n")
    answer = envmatrix("import", "lint.yml")
    assert answer.status == 2
    assert answer.out == "lint.yml:1:14: `job: lint`: names no CUDA release [1 job]\n"
    assert answer.err == (
        "error: no job of `lint.yml` can be converted\nhint: the list names what each job lacks\n"
    )
    assert not (repository / "matrix.yaml").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xff", "is not UTF-8 text"),
        (b"a: [", "did not find expected node content"),
        (b"[" * 100, "values are nested more than 30 deep"),
        (b" " * (LARGEST + 1), f"has more than {LARGEST} bytes"),
        (b"a: b\n", "is no CI matrix that is known"),
        (b"- a\n", "is no CI matrix that is known"),
    ],
)
def test_files_that_are_none_are_errors(
    repository: Path, envmatrix: Prompt, content: bytes, message: str
) -> None:
    (repository / "ci.yml").write_bytes(content)
    answer = envmatrix("import", "ci.yml")
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err


def test_a_file_that_is_not_there_or_a_pipe_is_an_error(
    repository: Path, envmatrix: Prompt
) -> None:
    os.mkfifo(repository / "pipe")
    assert "`none.yml` does not exist" in envmatrix("import", "none.yml").err
    assert "`pipe` cannot be read" in envmatrix("import", "pipe").err
    assert "`ci` cannot be read" in envmatrix("import", "ci").err


def test_arguments_that_contradict_are_errors(repository: Path, envmatrix: Prompt) -> None:
    assert "both write to stdout" in envmatrix("import", "ci.yml", "--json", "-o", "-").err
    answer = envmatrix("import", "ci.yml", "--os", "ubuntu22")
    assert "unknown operating system `ubuntu22`" in answer.err
    assert "did you mean `ubuntu22.04`?" in answer.err
    answer = envmatrix("import", "ci.yml", "--workflow", "bulid")
    assert "there is no workflow or job `bulid`" in answer.err
    assert "did you mean `build`?" in answer.err
    answer = envmatrix("import", "ci.yml", "--workflow", "none-*,bulid")
    assert "there is no workflow or job `none-*`" in answer.err
    assert "there are `build`" in answer.err
    assert "there is no workflow or job `bulid`" in answer.err
    assert "there are `debian12`, `debian13`, " in envmatrix("import", "ci.yml", "--os", "x").err


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_another_format_is_refused_and_never_breaks(
    repository: Path, envmatrix: Prompt, name: str
) -> None:
    (repository / "github.yml").write_text(GITHUB)
    for file in ("github.yml", "ci/matrix.yaml"):
        answer = envmatrix("import", file, "--from", name, "--output", "x.yaml", "--force")
        assert answer.status in (0, 2)
        if answer.status == 2 and file == "github.yml":
            assert "is of the format `github`: leave out `--from`" in answer.err


def test_the_output_is_none_of_the_files_that_are_converted(
    repository: Path, envmatrix: Prompt
) -> None:
    before = (repository / "ci.yml").read_text()
    answer = envmatrix("import", "ci.yml", "--force", "--output", "./ci.yml")
    assert answer.status != 0
    assert "`ci.yml` would be replaced by its result" in answer.err
    assert (repository / "ci.yml").read_text() == before


@pytest.mark.parametrize("name", ["loop.yaml", "CMakeLists.txt"])
def test_a_link_in_the_tree_that_cannot_be_followed_is_passed_over(
    repository: Path, envmatrix: Prompt, name: str
) -> None:
    (repository / name).symlink_to(name)
    assert envmatrix("import", "ci.yml").status == 0


def test_an_output_below_a_link_to_itself_is_an_error(repository: Path, envmatrix: Prompt) -> None:
    (repository / "loop").symlink_to("loop")
    answer = envmatrix("import", "ci.yml", "--output", "loop/x")
    assert (answer.status, "internal" in answer.err) == (1, False)
