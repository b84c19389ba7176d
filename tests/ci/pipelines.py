"""What becomes of a pipeline: in each engine, by the same commands without one, and by
`envmatrix test` on one machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.adopter import Adopter, machine

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.model import Pipeline, PipelineJob, pipeline_of
from envmatrix.pipeline.outcomes import outcome_of

CI = Path("build/ci")


@dataclass(frozen=True)
class Ended:
    """The end of a pipeline: the states of its jobs by id, whether its required check is green, all
    that was printed, and the store with its results."""

    states: Mapping[str, str]
    is_green: bool
    log: str
    store: Path


def states_of(directory: Path) -> Mapping[str, str]:
    """Return the states of jobs by the outcomes in a directory of a pipeline: those of their last
    attempts, as artifacts have earlier ones too."""
    outcomes = []
    for file in directory.rglob("outcome.json"):
        with suppress(ConfigurationError):
            outcomes.append(outcome_of(file.read_text(), str(file)))
    outcomes.sort(key=lambda outcome: outcome.attempt)
    return {outcome.id: outcome.state for outcome in outcomes}


def planned(adopter: Adopter, *arguments: str) -> Pipeline:
    """Return the plan of a pipeline in the repository, as no engine reads it."""
    done = adopter.run("ci", "plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return pipeline_of(done.stdout, "plan.json")


def ids_of(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the ids of jobs by their names."""
    return {job.name: job.id for job in pipeline.jobs}


@dataclass
class Nodes:
    """Machines that run the commands of a pipeline, each in a checkout and for a user of its own.
    They have nothing in common but the engine, and the `artifacts` that are carried between
    them."""

    adopter: Adopter
    directory: Path
    log: list[str] = field(default_factory=list)

    def node(self, name: str) -> Adopter:
        """Return the user of a node, with a checkout."""
        home = self.directory / name
        root = home / "checkout"
        if not root.exists():
            home.mkdir(parents=True)
            self.adopter.clone(root)
            machine(home)
        own = {"XDG_CONFIG_HOME": str(home / "machine/configuration")}
        return Adopter(root, self.adopter.wheels, {**self.adopter.variables, **own})

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts"

    @property
    def pipeline(self) -> Pipeline:
        return pipeline_of((self.artifacts / "plan.json").read_text(), "plan.json")

    def plan(self, *arguments: str) -> Pipeline:
        planner = self.node("plan")
        done = self._run(planner, "plan", *arguments)
        assert done.returncode == 0, done.stderr
        self._keep(planner, "plan.json")
        return self.pipeline

    def attempt(self, job: PipelineJob, attempt: int = 1) -> int:
        """Do a job on a node of its own; return the exit code."""
        node = self.node(f"{attempt}-{job.id[:12]}")
        self._take(node, job.id, *job.needs)
        done = self._run(node, "run", job.id, f"--attempt={attempt}")
        self._keep(node, f"jobs/{job.id}")
        return done.returncode

    def again(self) -> Sequence[PipelineJob]:
        """Return the jobs that are worth a second attempt."""
        node = self.node("again")
        self._take(node, *self.pipeline.by_id)
        rows = json.loads(self._run(node, "again", "--json").stdout)
        return [self.pipeline.by_id[row["id"]] for row in rows]

    def report(self) -> Ended:
        node = self.node("report")
        self._take(node, *self.pipeline.by_id)
        is_green = self._run(node, "report").returncode == 0
        states = {**skipped(self.pipeline), **states_of(self.artifacts)}
        store = node.root / ".envmatrix/results.sqlite"
        return Ended(states, is_green, "\n".join(self.log), store)

    def _run(self, node: Adopter, *words: str) -> subprocess.CompletedProcess[str]:
        done = node.run("ci", *words)
        self.log.append(f"{done.stdout}\n{done.stderr}")
        return done

    def _take(self, node: Adopter, *keys: str) -> None:
        """Put the plan, and what these jobs wrote, into a checkout."""
        for name in ("plan.json", *(f"jobs/{key}" for key in keys)):
            _copy(self.artifacts / name, node.root / CI / name)

    def _keep(self, node: Adopter, name: str) -> None:
        """Keep what a node wrote, in place of what is kept."""
        shutil.rmtree(self.artifacts / name, ignore_errors=True)
        _copy(node.root / CI / name, self.artifacts / name)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def to_do(pipeline: Pipeline) -> Sequence[PipelineJob]:
    return [job for job in pipeline.jobs if job.prospect == "to do"]


def by_hand(nodes: Nodes, *arguments: str) -> Ended:
    """Do what engines do: plan, run each job, try again what is worth it, and report."""
    for job in to_do(nodes.plan(*arguments)):
        nodes.attempt(job)
    for job in nodes.again():
        nodes.attempt(job, 2)
    return nodes.report()


def skipped(pipeline: Pipeline) -> Mapping[str, str]:
    """Return the states of jobs that a plan has and that no engine runs."""
    return {job.id: job.prospect for job in pipeline.jobs if job.prospect != "to do"}


def local(adopter: Adopter, ids: Mapping[str, str]) -> Ended:
    """Test all on one machine. `ids` are those of jobs by their names."""
    done = adopter.run("test", "--json")
    rows: list[dict[str, Any]] = json.loads(done.stdout)["jobs"]
    names = {f"{row['kind']} {' '.join(row['subject'])}": row["state"] for row in rows}
    states = {ids[name]: state for name, state in names.items() if name in ids}
    adopter.run("report")
    store = adopter.root / ".envmatrix/results.sqlite"
    return Ended(states, done.returncode == 0, f"{done.stdout}\n{done.stderr}", store)
