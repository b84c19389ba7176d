"""Completion, as bash, zsh and fish show it, and what it may not do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.unit.prompt import Prompt

from envmatrix.commands.completion_scripts import SHELLS, placement, script_of
from envmatrix.commands.completions import VARIABLE
from envmatrix.help_page import VERBS
from envmatrix.sessions.registration import cells_and_libraries

MATRIX = """\
version: "1"
axes:
  cuda: ["11.8", "12.4"]
  os: [debian12]
  arch: [x86_64, aarch64]
sm: ["80"]
libraries:
  solver: {path: solver, steps: {nvrtc: {commands: [./a]}, docs: {commands: [./b]}}}
  sparse: {path: sparse, variants: {std: ["14", "17"]}}
"""
# A directory whose name every shell has to quote.
AWKWARD = "a 'b' \"c\" $(touch d) *;"
# Programs that start with an interpreter of their own wait for it.
SECONDS = 60


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / AWKWARD
    root.mkdir()
    (root / "matrix.yaml").write_text(MATRIX)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the program, and the completion of each shell installed."""
    home = tmp_path / "home of 'me'"
    (home / "bin").mkdir(parents=True)
    program = home / "bin/envmatrix"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m envmatrix "$@"\n')
    program.chmod(0o755)
    for shell in SHELLS:
        run(["envmatrix", "completion", "install", shell], home)
    return home


def environment_of(home: Path) -> Mapping[str, str]:
    names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR", "DOCKER_CONFIG")
    others = {name: value for name, value in os.environ.items() if name not in names}
    return {**others, "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", "TERM": "dumb"}


def run(command: Sequence[str], home: Path) -> str:
    done = subprocess.run(
        command, env=environment_of(home), capture_output=True, text=True, check=False,
        timeout=SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


# Each prints what it would insert for the line in $LINE, one candidate a line.
BASH = """\
. ~/.bashrc
read -ra COMP_WORDS <<< "$LINE"
[[ $LINE == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { echo "compopt $*"; }
_envmatrix_completion envmatrix
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """\
compdef() { :; }
. ~/.zshrc
_describe() { print -l -- "${(@)completions_with_descriptions%%:*}"; }
compadd() { print -l -- "${completions[@]}"; }
_path_files() { print -- "path_files $*"; }
words=(${(s: :)LINE})
[[ $LINE == *' ' ]] && words+=("")
CURRENT=${#words}
_envmatrix_completion
"""
FISH = "complete -C $LINE | string split -f1 \\t"
COMMANDS = {
    "bash": ("bash", "--norc", "-c", BASH),
    "zsh": ("zsh", "-f", "-c", ZSH),
    "fish": ("fish", "-c", FISH),
}


def complete(shell: str, line: str, home: Path) -> list[str]:
    """Return what a real shell offers for a line."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        COMMANDS[shell], env={**environment_of(home), "LINE": line}, capture_output=True,
        text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stderr == ""
    return [candidate for candidate in done.stdout.splitlines() if candidate]


@pytest.mark.usefixtures("project")
def test_bash_splits_the_name_of_a_variant_and_replaces_its_end(home: Path) -> None:
    for words in ("sparse @ cx", "sparse @"):
        assert complete("bash", f"envmatrix test --library {words}", home) == ["@cxx17"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.usefixtures("project")
def test_a_real_shell_offers_what_can_follow(shell: str, home: Path) -> None:
    def offers(line: str) -> list[str]:
        return sorted(complete(shell, line, home))

    assert offers("envmatrix wh") == ["why"]
    assert offers("envmatrix why cuda12.4-d") == [
        "cuda12.4-debian12-aarch64",
        "cuda12.4-debian12-x86_64",
    ]
    assert offers("envmatrix run test cuda12-a") == ["cuda12-aarch64"]
    assert offers("envmatrix test --library s") == ["solver", "sparse", "sparse@cxx17"]
    assert offers("envmatrix why --library sparse@") == ["sparse@cxx17"]
    assert offers("envmatrix test --library solver --on ku") == ["kubernetes"]
    assert offers("envmatrix step --step ") == ["docs", "nvrtc"]
    assert offers("envmatrix run step n") == ["nvrtc"]
    assert offers("envmatrix import --os debian12,ubuntu26") == ["debian12,ubuntu26.04"]
    assert offers("envmatrix doctor --dr") == ["--dry-run"]
    assert offers("envmatrix why nothing-has-this-name") == []
    assert offers("envmatrix nosuch --x") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_repository_or_a_valid_matrix_nothing_is_offered_or_printed(
    shell: str, home: Path, project: Path
) -> None:
    (project / "matrix.yaml").write_text("axes: [")
    assert complete(shell, "envmatrix why cuda", home) == []
    (project / "matrix.yaml").unlink()
    assert complete(shell, "envmatrix why cuda", home) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_program_that_was_removed_says_nothing(shell: str, home: Path, project: Path) -> None:
    (home / "bin/envmatrix").write_text("#!/bin/sh\necho gone >&2; exit 127\n")
    assert complete(shell, "envmatrix why cuda", home) == []


def answer(words: str, number: int, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, VARIABLE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number),
        **variables,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "envmatrix"], env=environment, capture_output=True, text=True,
        check=False, timeout=SECONDS,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "envmatrix 'why",
        'envmatrix why "',
        "envmatrix why \\",
        "envmatrix \x00",
        "envmatrix run - =",
    ],
)
def test_a_line_that_is_not_complete_is_no_error(words: str, project: Path) -> None:
    done = answer(words.replace("\x00", "\x01"), 2)
    assert done.stderr == ""


def test_the_last_of_several_cells_is_completed(project: Path) -> None:
    done = answer("envmatrix build --select cuda12,cuda11-a", 3)
    assert done.stdout.split() == ["plain,cuda12,cuda11-aarch64"]


def test_what_nox_listed_of_a_repository_does_not_replace_its_names(project: Path) -> None:
    cells_and_libraries(project)
    assert answer("envmatrix why cuda12-a", 2).stdout.split() == ["plain,cuda12-aarch64"]


def test_nothing_of_the_repository_is_executed(project: Path, tmp_path: Path) -> None:
    for name in ("noxfile.py", "conftest.py", "sitecustomize.py", "click.py", "docker"):
        (project / name).write_text("#!/bin/sh\nraise SystemExit('executed')\n")
        (project / name).chmod(0o755)
    search = {"PYTHONSAFEPATH": "1"}
    assert "cuda12.4-debian12-x86_64" in answer("envmatrix why cuda12", 2, **search).stdout
    assert answer("envmatrix test --on ", 3, **search).stdout.split() == ["plain,kubernetes"]


def test_contexts_of_docker_are_places(project: Path, tmp_path: Path) -> None:
    for number, text in enumerate(('{"Name": "far"}', "{", "[]")):
        file = tmp_path / f"docker/contexts/meta/{number}/meta.json"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    done = answer("envmatrix test --on ", 3, DOCKER_CONFIG=str(tmp_path / "docker"))
    assert done.stdout.split() == ["plain,kubernetes", "plain,far"]


@pytest.mark.parametrize("verb", VERBS)
def test_options_of_every_verb_are_offered(verb: str, project: Path) -> None:
    assert answer(f"envmatrix {verb} --hel", 2).stdout.split() == ["plain,--help"]


def test_it_is_installed_once(home: Path) -> None:
    before = {file: file.read_text() for file in (home / ".bashrc", home / ".zshrc")}
    output = run(["envmatrix", "completion", "install", "bash"], home)
    assert output.splitlines()[-1] == "open a new shell to use it"
    assert {file: file.read_text() for file in before} == before
    assert (home / ".config/fish/completions/envmatrix.fish").is_file()


def test_the_shell_is_that_of_the_user(
    envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert envmatrix("completion", "install").status == 0
    assert (tmp_path / ".config/fish/completions/envmatrix.fish").is_file()
    monkeypatch.setenv("SHELL", "/bin/csh")
    answer = envmatrix("completion", "install")
    assert answer.status == 2
    assert "$SHELL is `/bin/csh`" in answer.err
    assert "completion install bash" in answer.err
    monkeypatch.delenv("SHELL")
    answer = envmatrix("completion", "install")
    assert answer.status == 2
    assert "$SHELL is not set" in answer.err
    assert "bash`, or zsh, or fish" in answer.err


@pytest.mark.parametrize("home", ["/proc/nowhere", "relative/home", "/dev/null/a", "/" + "a" * 300])
def test_a_home_that_cannot_be_is_named(
    home: str, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    answer = envmatrix("completion", "install", "bash")
    assert answer.status in (1, 2)
    assert home[:50] in answer.err


def test_a_home_whose_name_is_not_utf_8_has_one_line(
    envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", f"{tmp_path}/\udcff")
    for _ in range(2):
        assert envmatrix("completion", "install", "bash").status == 0
    (startup,) = tmp_path.glob("*/.bashrc")
    (line,) = startup.read_bytes().split(b"\n")[1:-1]
    assert b"\xff/.local/share/envmatrix/completion.bash" in line


def test_a_startup_file_that_is_a_pipe_is_an_error(
    envmatrix: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    os.mkfifo(tmp_path / ".bashrc")
    answer = envmatrix("completion", "install", "bash")
    assert answer.status == 1
    assert f"{tmp_path}/.bashrc" in answer.err


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_clicks_and_silent(shell: str, envmatrix: Prompt) -> None:
    assert f"{VARIABLE}={shell}_complete" in script_of(shell)
    assert "2>/dev/null" in script_of(shell)
    assert envmatrix("completion", shell).out == f"{script_of(shell)}\n"


def test_a_home_of_any_name_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/a b'c")
    line = placement("bash", {"HOME": "/home/a b'c"}).line
    assert """'/home/a b'"'"'c/.local/share/envmatrix/completion.bash'""" in line
