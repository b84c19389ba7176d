"""The scripts of the action for GitHub, run by bash with stand-ins for the programs that they
call."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from envmatrix.render.github import ACTION, Settings, files

PIPELINE = Settings(("ubuntu-24.04",), "1.2.3", "registry.example:5000")
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")  # as GitHub starts it


def script(step: str, settings: Settings = PIPELINE) -> str:
    action = yaml.safe_load(files(settings, "")[ACTION])
    (text,) = (row["run"] for row in action["runs"]["steps"] if row.get("name") == step)
    return str(text)


class Machine:
    """Directories of a runner, and programs that note how they are called."""

    def __init__(self, root: Path) -> None:
        self.root, self.programs = root, root / "programs"
        self.programs.mkdir()
        (root / "home").mkdir()
        (root / "temporary").mkdir()
        self.output = root / "output"
        self.variables = {
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(root / "home"),
            "GITHUB_OUTPUT": str(self.output),
            "RUNNER_TEMP": str(root / "temporary"),
            "RUNNER_TOOL_CACHE": str(root / "tools"),
        }

    def program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.root}/calls\n{text}\n')
        path.chmod(0o755)
        return path

    @property
    def calls(self) -> list[str]:
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run(self, text: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*BASH, "-c", text],
            cwd=self.root,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


PYTHON = 'case "$2" in venv) mkdir -p "$4/bin" && cp {pip} "$4/bin/pip" ;; esac'


@pytest.mark.parametrize("keeps_tools", [False, True])
def test_a_version_is_installed_once_where_tools_stay(machine: Machine, keeps_tools: bool) -> None:
    pip = machine.program("pip", "")
    machine.program("python3", PYTHON.format(pip=pip))
    if keeps_tools:
        (machine.root / "tools").mkdir()
    for _ in range(2):
        assert machine.run(script("Install envmatrix"), {}).returncode == 0
    home = machine.root / ("tools" if keeps_tools else "temporary") / "envmatrix/1.2.3"
    assert machine.output.read_text() == f"program={home}/bin/envmatrix\n" * 2
    assert [line.split()[-1] for line in machine.calls] == [str(home), "envmatrix==1.2.3"]


def test_an_installation_that_failed_is_begun_anew(machine: Machine) -> None:
    pip = machine.program("pip", "exit 1")
    machine.program("python3", PYTHON.format(pip=pip))
    assert machine.run(script("Install envmatrix"), {}).returncode == 1
    assert not machine.output.exists()
    machine.program("pip", "")
    assert machine.run(script("Install envmatrix"), {}).returncode == 0


DOCKER = 'read -r password; echo "$password" > "$2/password"; echo "{}" > "$2/config.json"'
LOGIN = {"REGISTRY": "registry.example:5000", "USERNAME": "team", "PASSWORD": "hunter2"}


def test_a_login_leaves_the_configuration_of_the_machine_alone(machine: Machine) -> None:
    machine.program("docker", DOCKER)
    own = machine.root / "home/.docker"
    own.mkdir()
    (own / "config.json").write_text('{"proxies": {}}')
    done = machine.run(script("Log in to the registry"), {**LOGIN, "AUDIENCE": ""})
    config = machine.root / "temporary/docker"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.output.read_text() == f"config={config}\n"
    assert (config / "password").read_text() == "hunter2\n"
    assert config.stat().st_mode & 0o777 == 0o700
    assert (own / "config.json").read_text() == '{"proxies": {}}'
    assert "hunter2" not in "".join(machine.calls)


def test_without_a_password_nobody_logs_in(machine: Machine) -> None:
    machine.program("docker", DOCKER)
    variables = {**LOGIN, "PASSWORD": "", "AUDIENCE": ""}
    assert machine.run(script("Log in to the registry"), variables).returncode == 0
    assert machine.calls == []
    assert not machine.output.exists()


def test_a_registry_takes_an_identity_token_that_the_log_hides(machine: Machine) -> None:
    machine.program("docker", DOCKER)
    machine.program("curl", """echo '{"value": "e.y.J"}'""")
    variables = {
        **LOGIN,
        "PASSWORD": "",
        "AUDIENCE": "registry.example",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://tokens.example/?v=1",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "abc",
    }
    done = machine.run(script("Log in to the registry"), variables)
    assert done.stdout == "::add-mask::e.y.J\n"
    assert (machine.root / "temporary/docker/password").read_text() == "e.y.J\n"
    assert machine.calls[0].endswith("https://tokens.example/?v=1&audience=registry.example")


def test_a_registry_without_a_token_fails_the_job(machine: Machine) -> None:
    machine.program("docker", DOCKER)
    machine.program("curl", "exit 22")
    variables = {
        **LOGIN,
        "AUDIENCE": "registry.example",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "",
    }
    assert machine.run(script("Log in to the registry"), variables).returncode
    assert [line.split()[0] for line in machine.calls] == ["curl"]


def jobs(program: Path, attempt: int) -> Mapping[str, str]:
    ids = "aa bb cc"
    return {"ENVMATRIX": str(program), "IDS": ids, "ALL": ids, "ATTEMPT": str(attempt)}


@pytest.mark.parametrize(
    ("code", "attempt", "status", "ran", "again"),
    [
        (0, 1, 0, "aa bb cc", False),
        (1, 1, 1, "aa bb cc", False),
        (75, 1, 75, "aa bb", True),
        (75, 2, 75, "aa bb cc", False),
        (4, 1, 4, "aa bb cc", False),
    ],
)
def test_jobs_run_in_order_until_one_is_worth_a_second_attempt(
    machine: Machine, code: int, attempt: int, status: int, ran: str, *, again: bool
) -> None:
    program = machine.program("envmatrix", f'[ "$3" != bb ] || exit {code}')
    done = machine.run(script("Do the jobs"), jobs(program, attempt))
    assert done.returncode == status, done.stderr
    assert machine.calls == [f"envmatrix ci run {key} --attempt {attempt}" for key in ran.split()]
    lines = machine.output.read_text().splitlines()
    assert ("again=true" in lines) == again
    assert "build/ci/jobs/aa*" in lines
    assert "build/ci/jobs/cc*/outputs" in lines
    assert "build/ci/jobs/bb*/outcome.json" in lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_job_ends_its_command_and_waits_for_it(
    machine: Machine, number: signal.Signals
) -> None:
    note = "trap 'echo ended >> {0}/calls; exit 130' TERM; touch {0}/begun; sleep 60 & wait"
    program = machine.program("envmatrix", note.format(machine.root))
    started = subprocess.Popen(
        [*BASH, "-c", script("Do the jobs")],
        cwd=machine.root,
        env={**machine.variables, **jobs(program, 1)},
        stderr=subprocess.DEVNULL,
    )
    while not (machine.root / "begun").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(number)
    assert started.wait(30) == 130
    assert machine.calls == ["envmatrix ci run aa --attempt 1", "ended"]


def test_the_script_of_a_repository_says_where_envmatrix_is(machine: Machine) -> None:
    (machine.root / "noxw").write_text("#!/bin/sh\necho /venv/bin\n")
    (machine.root / "noxw").chmod(0o755)
    settings = Settings(("ubuntu-24.04",), None)
    assert machine.run(script("Install envmatrix", settings), {}).returncode == 0
    assert machine.output.read_text() == "program=/venv/bin/envmatrix\n"
