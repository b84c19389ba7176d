"""A pipeline as a child pipeline of GitLab CI. Pure.

A child pipeline cannot give results to its parent, so it ends with the job that reports; the parent
takes its state. The file is JSON, which is YAML, with one job on a line.

https://docs.gitlab.com/ci/pipelines/downstream_pipelines/, https://docs.gitlab.com/ci/yaml/
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from envmatrix.errors import ConfigurationError, Problem
from envmatrix.pipeline import pip
from envmatrix.pipeline.model import STAGES, Pipeline, PipelineJob, Runner, Trigger
from envmatrix.pipeline.outcomes import MOST_ATTEMPTS, TEMPORARY_FAILURE
from envmatrix.records import dataclass
from envmatrix.text import one_line

# Limits of GitLab's, which administrators may lower: jobs of a pipeline, bytes of its file, needs
# of a job, characters of its name.
MOST_JOBS = 2_000
MOST_BYTES = 2 * 1024 * 1024
MOST_NEEDS = 50
LONGEST_NAME = 255

DIRECTORY = "build/ci"
PLAN_FILE = f"{DIRECTORY}/plan.json"
CHILD_FILE = f"{DIRECTORY}/gitlab.yml"
# The job of the parent that has the plan; its pipeline is in a variable.
PLAN_JOB = "envmatrix-plan"
PARENT = "PARENT_PIPELINE_ID"
# Jobs of the child beside those of the plan. The last one is the verdict.
_PLAN = "plan"
_REPORT = "envmatrix"
_KEPT = "1 week"
# How GitLab finds the coverage in the log of an analysis: `summary.coverage_line`.
_COVERAGE = r"/^coverage +(\d+\.\d+) % of lines$/"

# Words that GitLab reads as something else than the name of a job.
_RESERVED = {
    *("after_script", "before_script", "cache", "default", "false", "image", "include", "nil"),
    *("pages", "pages:deploy", "services", "spec", "stages", "true", "types", "variables"),
    *("workflow", _PLAN, _REPORT),
}
_ID_DIGITS = 12
# For the installation and the artifacts; `envmatrix ci run` itself keeps to the limit of its job.
_MINUTES_AROUND = 10

_LIMIT = "only administrators of GitLab raise this limit, `ci_needs_size_limit`"
_FEWER = "plan fewer: set ENVMATRIX_CI_CELLS, ENVMATRIX_CI_LIBRARIES or ENVMATRIX_CI_TIER"

# The environment of the repository's own script. Machines that stay keep the installed one.
_NOXW = 'PATH="$(./noxw --path):$PATH"'
_INSTALL = """\
home="${XDG_CACHE_HOME:-$HOME/.cache}/envmatrix-ci/@KEY@"
mkdir -p "$home"
(
  flock 9
  if [ ! -e "$home/ready" ]; then
    python3 -m venv --clear "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check @ARGUMENTS@
    touch "$home/ready"
  fi
) 9> "$home.lock"
export PATH="$home/bin:$PATH"
"""
# The configuration of the machine's client stays as it is.
_DOCKER = f"{DIRECTORY}/docker"
_LOG_IN = f"""\
if [ @HOST@ = "${{CI_REGISTRY:-}}" ] && [ -z "${{ENVMATRIX_REGISTRY_PASSWORD:-}}" ]; then
  ENVMATRIX_REGISTRY_USERNAME=$CI_REGISTRY_USER
  ENVMATRIX_REGISTRY_PASSWORD=$CI_REGISTRY_PASSWORD
fi
password=${{ENVMATRIX_REGISTRY_PASSWORD:-${{REGISTRY_ID_TOKEN:-}}}}
if [ -n "$password" ]; then
  mkdir -m 700 -p {_DOCKER}
  cp -R "${{DOCKER_CONFIG:-$HOME/.docker}}/." {_DOCKER} 2> /dev/null || true
  export DOCKER_CONFIG="$PWD/{_DOCKER}"
  printf '%s' "$password" |
    docker login @HOST@ --username "${{ENVMATRIX_REGISTRY_USERNAME:-envmatrix}}" --password-stdin
fi
unset password ENVMATRIX_REGISTRY_PASSWORD REGISTRY_ID_TOKEN
"""
# The compiler cache of a project is of a trust group of its own.
_SHARED_CACHE = """\
if [ -n "${ENVMATRIX_SHARED_CACHE:-}" ]; then
  export ENVMATRIX_TRUST_GROUP="${ENVMATRIX_TRUST_GROUP:-gitlab-$CI_PROJECT_ID}"
fi
"""
WITHOUT_SECRETS = """\
unset ENVMATRIX_REGISTRY_PASSWORD REGISTRY_ID_TOKEN ENVMATRIX_SHARED_CACHE
unset ENVMATRIX_CI_SIGNING_KEY COSIGN_PASSWORD
"""
_WITHOUT_SIGNING_KEY = "unset ENVMATRIX_CI_SIGNING_KEY COSIGN_PASSWORD"
# Newer versions of GitLab count the attempts of a job; older ones say nothing, so that a second
# attempt calls itself the first.
_ATTEMPT = f"""\
attempt=1
[ "${{CI_JOB_RETRY_COUNT:-0}}" = 0 ] || attempt={MOST_ATTEMPTS}
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What jobs take from a repository: the `version` that pip installs, None where `noxw` has
    envmatrix; the host of the registry, whether an identity signs its images, and from where pip
    installs."""

    version: str | None
    registry: str | None = None
    is_signed: bool = False
    install: str | None = None

    @property
    def script(self) -> str:
        """Commands that put `envmatrix` on the path."""
        if self.version is None:
            return _NOXW
        words = self.version, self.install
        text = _INSTALL.replace("@KEY@", pip.key(*words))
        return text.replace("@ARGUMENTS@", pip.arguments(*words))


def control_runner(runners: Iterable[Runner]) -> Runner | None:
    """Return the class of runners that plans and reports: the first without a GPU."""
    return next(iter(sorted(runners, key=lambda runner: runner.gpus)), None)


def child_pipeline(pipeline: Pipeline, installation: Installation) -> str:
    """Return the file of a child pipeline; raise ConfigurationError where it exceeds a limit of
    GitLab's."""
    jobs = [job for stage in STAGES for job in pipeline.of_stage(stage)]
    names, needs = _names(jobs), _needs(pipeline)
    if problems := [*_problems(jobs, names, needs)]:
        raise ConfigurationError(*problems)
    tags = _tags(control_runner(pipeline.runners.values()))
    contents: Mapping[str, Mapping[str, object] | Sequence[str]] = {
        # Without a rule, a child of a pipeline of a merge request would have no job.
        "workflow": {"rules": [{"when": "always"}]},
        "stages": [_PLAN, *STAGES, "report"],
        ".envmatrix": _common(pipeline.trigger, installation),
        _PLAN: {**_RECEIVED_PLAN, **tags},
        **{
            names[job.id]: {
                **_job(job, pipeline, installation),
                "needs": [_PLAN, *(names[need] for need in needs[job.id])],
            }
            for job in jobs
        },
        _REPORT: {**_VERDICT, **tags},
    }
    lines = (f"{_dumped(key)}: {_dumped(value)}" for key, value in contents.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if (size := len(text.encode())) > MOST_BYTES:
        message = f"the child pipeline has {size:,} bytes, and GitLab takes {MOST_BYTES:,}"
        raise ConfigurationError(message, hint=_FEWER)
    return text


# The plan is an artifact of the parent, which a job can ask for only if it waits for no stage. So
# one job takes it over for all others.
_RECEIVED_PLAN: Mapping[str, object] = {
    "stage": _PLAN,
    "variables": {"GIT_STRATEGY": "none"},
    "needs": [{"pipeline": f"${PARENT}", "job": PLAN_JOB}],
    "script": [f"test -f {PLAN_FILE}"],
    "artifacts": {"paths": [PLAN_FILE], "expire_in": _KEPT},
}
# It waits for all stages, and has the artifacts of all jobs, also of those that failed.
_VERDICT: Mapping[str, object] = {
    "extends": ".envmatrix",
    "stage": "report",
    "when": "always",
    "script": ["envmatrix ci report"],
    "artifacts": {
        "when": "always",
        "paths": [f"{DIRECTORY}/{name}" for name in ("summary.md", "junit.xml", "findings.sarif")],
        "reports": {"codequality": f"{DIRECTORY}/code-quality.json"},
        "expire_in": _KEPT,
    },
}


def _common(trigger: Trigger, installation: Installation) -> Mapping[str, object]:
    """Return what all jobs share that run envmatrix. A newer push cancels those of a merge
    request."""
    return {
        "before_script": [
            *([] if trigger.is_trusted else [WITHOUT_SECRETS]),
            installation.script,
            *(_credentials(installation.registry) if trigger.is_trusted else []),
            _ATTEMPT,
        ],
        "after_script": [f"rm -rf {_DOCKER}"],
        "interruptible": trigger.kind == "pull_request",
    }


def _credentials(registry: str | None) -> Sequence[str]:
    log_in = [_LOG_IN.replace("@HOST@", shlex.quote(registry))] if registry else []
    return [_SHARED_CACHE, *log_in]


def _job(job: PipelineJob, pipeline: Pipeline, installation: Installation) -> Mapping[str, object]:
    directory = f"{DIRECTORY}/jobs/{job.id}"
    pushes = job.stage == "images" and pipeline.trigger.is_trusted
    return {
        "extends": ".envmatrix",
        "stage": job.stage,
        **_tags(pipeline.runners[job.runner]),
        "timeout": f"{job.minutes + _MINUTES_AROUND} minutes",
        "retry": {"max": MOST_ATTEMPTS - 1, "exit_codes": [TEMPORARY_FAILURE]},
        **({"id_tokens": _tokens(installation)} if pushes and installation.registry else {}),
        "script": [
            *([] if pushes else [_WITHOUT_SIGNING_KEY]),
            f'envmatrix ci run {job.id} --attempt "$attempt"',
        ],
        **({"coverage": _COVERAGE} if job.kind == "analyse" else {}),
        "artifacts": {
            "name": f"{job.stage}-{job.group}-{job.id[:_ID_DIGITS]}",
            "when": "always",
            "paths": [f"{directory}/"],
            "reports": {"junit": f"{directory}/junit.xml"},
            "expire_in": _KEPT,
        },
    }


def _tokens(installation: Installation) -> Mapping[str, object]:
    tokens = {"REGISTRY_ID_TOKEN": {"aud": f"https://{installation.registry}"}}
    return tokens | ({"SIGSTORE_ID_TOKEN": {"aud": "sigstore"}} if installation.is_signed else {})


def _tags(runner: Runner | None) -> Mapping[str, Sequence[str]]:
    return {"tags": runner.gitlab} if runner and runner.gitlab else {}


def _needs(pipeline: Pipeline) -> Mapping[str, Sequence[str]]:
    """Return the ids of the jobs to do whose results each job takes: those that it needs, and those
    that these need."""
    needs: dict[str, dict[str, None]] = {}
    for job in pipeline.jobs:
        needs[job.id] = {}
        for need in job.needs:
            needs[job.id] |= needs[need]
            if pipeline.by_id[need].prospect == "to do":
                needs[job.id][need] = None
    return {key: [*ids] for key, ids in needs.items()}


def _names(jobs: Sequence[PipelineJob]) -> Mapping[str, str]:
    """Return the unique names of jobs by id: those for people, unless GitLab reads one otherwise or
    another job has it."""
    labels = {job.id: one_line(job.name) for job in jobs}
    counts = Counter(labels.values())
    return {
        key: name if counts[name] == 1 and _is_plain(name) else _distinct_name(name, key)
        for key, name in labels.items()
    }


def _is_plain(name: str) -> bool:
    is_spaced = name != name.strip()
    return 0 < len(name) <= LONGEST_NAME and not (
        is_spaced or name.startswith(".") or name in _RESERVED
    )


def _distinct_name(name: str, key: str) -> str:
    suffix = f" {key[:_ID_DIGITS]}"
    return f"job {name}"[: LONGEST_NAME - len(suffix)] + suffix


def _problems(
    jobs: Sequence[PipelineJob], names: Mapping[str, str], needs: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    """Yield what exceeds limits of a pipeline and its jobs."""
    if (count := len(jobs) + len((_PLAN, _REPORT))) > MOST_JOBS:
        message = f"the child pipeline has {count:,} jobs, and GitLab takes {MOST_JOBS:,}"
        yield Problem(message, hint=_FEWER)
    for job in jobs:
        if (count := len([_PLAN, *needs[job.id]])) > MOST_NEEDS:
            message = f"`{names[job.id]}` needs {count} jobs, and GitLab takes {MOST_NEEDS}"
            hint = f"publish images beforehand, or divide `{job.library}`: {_LIMIT}"
            yield Problem(message, hint=hint)


# What a stream of YAML must not have, and lone surrogates, which no text may have.
_FORBIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _dumped(value: object) -> str:
    """Return a value as JSON that is YAML too, which has no pairs of surrogates."""
    text = _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    return _FORBIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
