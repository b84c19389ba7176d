"""What newcomers get wrong: each mistake is explained where it is, with what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.prompt import Prompt

MATRIX = """\
version: "1"
axes:
  cuda: ["13.0"]
  os: [debian12]
  arch: [x86_64]
sm: ["90"]
libraries:
  mine: {path: mine}
"""
OS, ARCH, SM, CUDA, PATH = "[debian12]", "[x86_64]", '["90"]', '["13.0"]', "path: mine"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("right", "wrong", "place", "hint"),
    [
        (OS, "[bookworm]", "4:8", "did you mean `debian12`?"),
        (OS, "[debian-12]", "4:8", "did you mean `debian12`?"),
        (OS, '["Debian 12"]', "4:8", "did you mean `debian12`?"),
        (OS, "[ubuntu2204]", "4:8", "did you mean `ubuntu22.04`?"),
        (OS, "[jammy]", "4:8", "did you mean `ubuntu22.04`?"),
        (OS, "[rocky9]", "4:8", "did you mean `rockylinux9`?"),
        (OS, "[el9]", "4:8", "did you mean `rhel9`?"),
        (OS, "[alpine]", "4:8", "it can be debian12, debian13"),
        (ARCH, "[amd64]", "5:10", "did you mean `x86_64`?"),
        (ARCH, "[arm64]", "5:10", "did you mean `aarch64`?"),
        (ARCH, "[x86-64]", "5:10", "did you mean `x86_64`?"),
        (ARCH, "[x64]", "5:10", "did you mean `x86_64`?"),
        (ARCH, "[sbsa]", "5:10", "did you mean `aarch64`?"),
        (ARCH, "[riscv64]", "5:10", "it can be x86_64, aarch64"),
        (SM, "[sm_80]", "6:6", "did you mean `80`?"),
        (SM, '["8.0"]', "6:6", "did you mean `80`?"),
        (SM, "[compute_90a]", "6:6", "did you mean `90a`?"),
        (SM, '"90"', "6:5", 'write `["90"]`'),
        (SM, '["42"]', "6:6", "it can be 75, 80"),
        (CUDA, '["13"]', "3:10", "did you mean `13.x`?"),
        (CUDA, "[cuda13.0]", "3:10", "did you mean `13.0`?"),
        (CUDA, "[v13.0]", "3:10", "did you mean `13.0`?"),
        (CUDA, '["14.0"]', "3:10", "did you mean `13.0`?"),
        (CUDA, "[newest]", "3:10", "did you mean `latest`?"),
        (CUDA, '"13.0"', "3:9", 'write `["13.0"]`'),
        ("libraries:", "librarys:", "7:1", "did you mean `libraries`?"),
        ('version: "1"\n', "", "1:1", 'write `version: "1"`'),
        (PATH, "dir: mine", "8:3", "give the `path` of it in the repository"),
        (PATH, "path: nothere", "8:16", "correct its `path`"),
        (PATH, "path: mine, build: {system: cmakee}", "8:38", "did you mean `cmake`?"),
        (PATH, "path: mine, build: cmake", "8:29", "write `{system: cmake}`"),
        (PATH, "path: mine, build: {options: -DX=1}", "8:39", 'write `["-DX=1"]`'),
        (PATH, "path: mine, build: {presets: x}", "8:30", "did you mean `preset`?"),
        (PATH, "path: mine, packages: {dep: [x-dev]}", "8:33", "did you mean `deb`?"),
        (PATH, "path: mine, packages: {deb: x-dev}", "8:38", 'write `["x-dev"]`'),
        (PATH, "path: mine, archives: {g: {sdists: g}}", "8:37", "did you mean `sdist`?"),
        (PATH, "path: mine, test: pytest", "8:28", "write `{framework: pytest}`"),
        (PATH, 'path: mine, artifacts: "*.so"', "8:33", 'write `["*.so"]`'),
        (PATH, "path: mine, components: [cublass]", "8:35", "did you mean `cublas`?"),
        ("  mine:", "  My Lib:", "8:3", "did you mean `my-lib`?"),
        ("  os:", "\tos:", "4:1", "indent with spaces"),
    ],
)
def test_a_mistake_in_the_matrix_is_told_with_its_place_and_a_remedy(
    repository: Path, envmatrix: Prompt, right: str, wrong: str, place: str, hint: str
) -> None:
    (repository / "matrix.yaml").write_text(MATRIX.replace(right, wrong, 1))
    answer = envmatrix("plan", "--jobs")
    assert (answer.status, answer.out) == (2, "")
    assert f"error: matrix.yaml:{place}: " in answer.err
    assert f"hint: {hint}" in answer.err
    assert [path.name for path in repository.iterdir() if path.name.startswith(".env")] == []


@pytest.mark.parametrize(
    ("wrong", "place", "words"),
    [
        ("", "1:1", "the file is empty"),
        (MATRIX.replace(OS, "[debian12"), "5:7", "expected ',' or ']'"),
        (f"{MATRIX}sm: []\n", "9:1", "key `sm` is already given"),
        (MATRIX.replace(PATH, "path: ../x"), "8:16", "stays inside the repository"),
        (MATRIX.replace(PATH, "path: mine, build: {system: script}"), "8:22", "`build.commands`"),
        (MATRIX.replace(SM, "[]"), "6:5", "must not be empty"),
    ],
)
def test_a_mistake_that_says_itself_what_to_do_is_told_with_its_place(
    repository: Path, envmatrix: Prompt, wrong: str, place: str, words: str
) -> None:
    (repository / "matrix.yaml").write_text(wrong)
    answer = envmatrix("plan", "--jobs")
    assert answer.status == 2
    assert f"error: matrix.yaml:{place}: " in answer.err
    assert words in answer.err


@pytest.mark.parametrize(
    ("arguments", "status", "hint"),
    [
        ("tets", 2, "did you mean `envmatrix test`?"),
        ("run", 2, "see `envmatrix run --help`"),
        ("shell", 2, "see `envmatrix shell --help`"),
        ("exec cuda13-x86_64", 2, "see `envmatrix exec --help`"),
        ("why cuda13-amd64", 2, "did you mean `cuda13-x86_64`?"),
        ("why nope", 2, "there are `cuda13.0-debian12-x86_64`"),
        ("test cuda99", 3, "there are `cuda13-x86_64`"),
        ("test --library nope", 2, "it has `mine`"),
        ("compile --tier nope", 2, "see `envmatrix compile --help`"),
        ("plan", 4, "make it: `envmatrix lock`"),
        ("generate", 4, "make it: `envmatrix lock`"),
        ("perf", 2, "name it in matrix.yaml"),
        ("push", 2, "write `registry: {repository: registry.example/team/images}`"),
        ("init", 2, "change it, or remove it first"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_mistake_on_the_command_line_is_told_with_a_remedy(
    envmatrix: Prompt, arguments: str, status: int, hint: str
) -> None:
    answer = envmatrix(*arguments.split())
    assert answer.status == status
    assert f"hint: {hint}" in answer.err


def test_a_matrix_of_another_name_is_told(repository: Path, envmatrix: Prompt) -> None:
    (repository / "matrix.yaml").rename(repository / "matrix.yml")
    assert "hint: rename `matrix.yml`" in envmatrix("plan").err
