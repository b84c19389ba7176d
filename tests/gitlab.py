"""Pipelines of GitLab CI, run by gitlab-ci-local, each job in a copy of the checkout of its own.

It is not GitLab's runner. What it lacks has stand-ins here, as GitLab documents it: `retry`, jobs
that take artifacts from the parent of their pipeline, and the state of the job that triggers a
child. Exit codes come from the jobs themselves.

https://docs.gitlab.com/ci/yaml/
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from tests.tools import node_packages, path_with

from envmatrix.records import dataclass

# The version of Node.js that gitlab-ci-local needs is newer than Debian's.
PACKAGES = ("gitlab-ci-local@4.75.1", "node@22.23.3")
FILE = ".gitlab-ci.yml"
STATE = ".gitlab-ci-local"
CHILD_STATE = ".gitlab-ci-local-child"
_LONGEST_DIRECTORY = 255 - 17
_KEYWORDS = {"workflow", "stages", "variables", "default", "include", "spec"}

State = Literal["success", "failed", "skipped"]
Contents = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RanJob:
    """What became of a job: the exit codes of its attempts, and all that it printed; its checkout
    afterwards, and a directory with its artifacts."""

    state: State
    codes: Sequence[int]
    log: str
    checkout: Path
    artifacts: Path


@dataclass(frozen=True, slots=True)
class RanPipeline:
    """What became of the jobs of a pipeline, and of the child that a job triggered."""

    jobs: Mapping[str, RanJob]
    child: RanPipeline | None = None

    @property
    def state(self) -> State:
        """The state of the pipeline: no job has `allow_failure`, so one that failed fails it."""
        states = [job.state for job in self.jobs.values()]
        states += [self.child.state] if self.child else []
        return "success" if set(states) == {"success"} else "failed"


def run_pipeline(
    root: Path, variables: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> RanPipeline:
    """Run the pipeline of `.gitlab-ci.yml` in a checkout with a commit, and the child that it
    triggers; return what became of the jobs.

    `variables` are those of GitLab and of the project, such as `CI_PIPELINE_SOURCE`; `environment`
    is that of the runner, added to that of this process.
    """
    runner = _Runner(root, {**os.environ, **(environment or {})})
    values = {"CI_PIPELINE_SOURCE": "web", **variables}
    contents = runner.expanded(root / FILE, values, STATE)
    triggers = [row["trigger"] for row in jobs_of(contents).values() if "trigger" in row]
    parent = RanPipeline(runner.run(contents, values, STATE, {}))
    if not triggers or parent.state != "success":
        return parent
    (trigger,) = triggers
    (include,) = trigger["include"]
    assert trigger["strategy"] == "depend"
    own = {**values, "CI_PIPELINE_SOURCE": "parent_pipeline"}
    file = parent.jobs[include["job"]].artifacts / include["artifact"]
    child = runner.expanded(file, own, CHILD_STATE)
    return replace(parent, child=RanPipeline(runner.run(child, own, CHILD_STATE, parent.jobs)))


def planned_jobs(root: Path, variables: Mapping[str, str]) -> Sequence[str]:
    """Return the names of the jobs of the pipeline that GitLab would start with `variables`."""
    done = _Runner(root, os.environ).call(root / FILE, ["--list-json"], variables, STATE)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return [job["name"] for job in json.loads(done.stdout) if job["when"] != "never"]


def expanded(root: Path) -> Contents:
    """Return the file of a checkout with its includes."""
    return _Runner(root, os.environ).expanded(root / FILE, {}, STATE)


def jobs_of(contents: Contents) -> Mapping[str, Contents]:
    """Return the jobs of a file of GitLab CI by name."""
    return {
        name: row
        for name, row in contents.items()
        if name not in _KEYWORDS and not name.startswith(".")
    }


def errors_of(contents: Contents) -> Sequence[str]:
    """Return what GitLab's own schema has against a file."""
    schema = files("check_jsonschema") / "builtin_schemas/vendor/gitlab-ci.json"
    validator = Draft7Validator(json.loads(schema.read_text("utf-8")))
    return [error.message for error in validator.iter_errors(contents)]


@dataclass(frozen=True, slots=True)
class _Runner:
    root: Path
    environment: Mapping[str, str]

    def expanded(self, file: Path, variables: Mapping[str, str], state: str) -> Contents:
        """Return a file with its includes, as gitlab-ci-local reads and validates it."""
        done = self.call(file, ["--preview"], variables, state)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        contents: Contents = yaml.load(done.stdout, Loader=yaml.CSafeLoader)
        return contents

    def run(
        self,
        contents: Contents,
        variables: Mapping[str, str],
        state: str,
        parents: Mapping[str, RanJob],
    ) -> Mapping[str, RanJob]:
        """Run the jobs of an expanded file, except those that trigger pipelines; `parents` are the
        jobs of the pipeline that triggered it."""
        jobs = {name: row for name, row in jobs_of(contents).items() if "trigger" not in row}
        with tempfile.TemporaryDirectory() as name:
            places = {job: Path(name) / str(number) for number, job in enumerate(jobs)}
            observed = {
                job: {**row, **_observed(row, job, places, parents)} for job, row in jobs.items()
            }
            others = {key: contents[key] for key in contents if key in _KEYWORDS}
            file = Path(name) / "pipeline.yml"
            file.write_text(json.dumps({**others, **observed}))
            # Jobs are started in turns, so that a turn is as many as the machine has processors.
            shell = ["--force-shell-executor", "--shell-isolation"]
            arguments = [*shell, f"--concurrency={os.cpu_count()}"]
            done = self.call(file, arguments, variables, state)
            assert "finished in" in done.stdout, f"{done.stdout}\n{done.stderr}"
            return {job: _ran(places[job], self.root / state, job) for job in jobs}

    def call(
        self, file: Path, arguments: Sequence[str], variables: Mapping[str, str], state: str
    ) -> subprocess.CompletedProcess[str]:
        packages = node_packages(*PACKAGES) / "node_modules"
        values = [f"--variable={name}={value}" for name, value in variables.items()]
        ignored = f"--ignore-predefined-vars={','.join(variables)}"
        programs = path_with("rsync").removesuffix(os.environ["PATH"])
        program = [packages / ".bin/node", packages / "gitlab-ci-local/dist/index.js"]
        return subprocess.run(
            [
                *program,
                f"--file={os.path.relpath(file, self.root)}",
                f"--state-dir={state}",
                ignored,
                *values,
                *arguments,
            ],
            cwd=self.root,
            env={**self.environment, "PATH": f"{programs}{self.environment['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )


# Each attempt begins without what the one before left; its exit code is a line of a file. Jobs that
# need one that failed are skipped: gitlab-ci-local would wait for them forever.
_ATTEMPTS = """\
for file in {needs}; do
  [ "$(tail -n 1 "$file" 2>/dev/null)" = 0 ] || exit 0
done
attempts=0
while :; do
  set +e
  (
    set -eo pipefail
    export CI_JOB_RETRY_COUNT=$attempts
{commands}
  ) > {log}.part 2>&1
  code=$?
  set -e
  cat {log}.part | tee -a {log}
  echo "$code" >> {codes}
  (
    :
{afterwards}
  )
  case " {again} " in *" $code "*) ;; *) exit "$code" ;; esac
  [ "$attempts" -lt {most} ] || exit "$code"
  attempts=$((attempts + 1))
  rm -rf {artifacts}
done
"""


def _observed(
    row: Contents, job: str, places: Mapping[str, Path], parents: Mapping[str, RanJob]
) -> Contents:
    """Return the scripts of a job that does what `row` says, and writes down how that ended."""
    place, retry, needs = places[job], row.get("retry", {"max": 0}), row.get("needs") or ()
    received = [
        f"cp -r {shlex.quote(str(parents[need['job']].artifacts))}/. ."
        for need in needs
        if "pipeline" in need
    ]
    own = [f"{places[need['job']]}.codes" for need in needs if "pipeline" not in need]
    commands = [*received, *_list(row.get("before_script")), *_list(row["script"])]
    paths = row.get("artifacts", {}).get("paths", ())
    script = _ATTEMPTS.format(
        needs=shlex.join(own),
        commands="\n".join(commands),
        afterwards="\n".join(_list(row.get("after_script"))),
        log=f"{place}.log",
        codes=f"{place}.codes",
        again=" ".join(map(str, retry.get("exit_codes", ()))),
        most=retry.get("max", 0),
        artifacts=shlex.join(paths) or "''",
    )
    # With a script of its own for afterwards, gitlab-ci-local would empty the checkout before it.
    scripts: Contents = {"before_script": [], "script": [script], "after_script": []}
    return {**scripts, "when": "always"} if own else scripts


def _list(value: str | Sequence[str] | None) -> Sequence[str]:
    return [value] if isinstance(value, str) else value or ()


def _ran(place: Path, state: Path, job: str) -> RanJob:
    codes_file, log = Path(f"{place}.codes"), Path(f"{place}.log")
    is_run = codes_file.exists()
    codes = [int(code) for code in codes_file.read_text().split()] if is_run else []
    name = _directory_name(job)
    return RanJob(
        "skipped" if not codes else "failed" if codes[-1] else "success",
        codes,
        log.read_text("utf-8", "replace") if is_run else "",
        state / "builds" / name,
        state / "artifacts" / name,
    )


def _directory_name(job: str) -> str:
    """Return how gitlab-ci-local names the directories of a job."""
    name = re.sub(r"(?a)[^\w-]+", lambda match: _base64(match[0]), job)
    if len(name) <= _LONGEST_DIRECTORY:
        return name
    digest = hashlib.sha256(job.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST_DIRECTORY - 1 - len(digest)]}-{digest}"


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
