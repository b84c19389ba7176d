"""The workflow of GitHub Actions that runs the pipeline: a workflow, a reusable one for the rows of
a matrix, and an action. What they run is planned at run time. Pure.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import get_args

from jinja2 import Environment as Jinja
from jinja2 import PackageLoader, StrictUndefined

from envmatrix.matrix.tier_names import TIERS
from envmatrix.pipeline import pip
from envmatrix.pipeline.model import STAGES, Rerun, Stage
from envmatrix.records import dataclass

FILE = ".github/workflows/envmatrix.yml"
JOBS = ".github/workflows/envmatrix-jobs.yml"
ACTION = ".github/actions/envmatrix/action.yml"
# An action of the repository's own, which jobs run before they check the engine.
PREPARATION = ".github/actions/envmatrix-prepare/action.yml"

# By commit: a tag can move.
ACTIONS: Mapping[str, str] = {
    "checkout": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "upload": "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
    "download": "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
    "cosign": "sigstore/cosign-installer@6f9f17788090df1f26f669e9d70d6ae9567deba6 # v4.1.2",
    "sarif": "github/codeql-action/upload-sarif@8aad20d150bbac5944a9f9d289da16a4b0d87c1e # v4.36.2",
}

# The stages that a stage waits for; what of them failed is in the way of single jobs alone.
_NEEDS: Mapping[Stage, Sequence[str]] = {
    "images": ("plan",),
    "compile": ("plan", "images"),
    "test": ("plan", "compile"),
    "measure": ("plan", "compile", "test"),
}

# The environment of the repository's own script. Machines that stay keep the installed one.
_NOXW = 'echo "program=$(./noxw --path)/envmatrix" >> "$GITHUB_OUTPUT"'
_INSTALL = """\
tools=$RUNNER_TOOL_CACHE
[ -w "$tools" ] || tools=$RUNNER_TEMP
home=$tools/envmatrix/@KEY@
mkdir -p "$home"
(
  flock 9
  if [ ! -e "$home/ready" ]; then
    python3 -m venv --clear "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check @ARGUMENTS@
    touch "$home/ready"
  fi
) 9> "$home.lock"
echo "program=$home/bin/envmatrix" >> "$GITHUB_OUTPUT"
"""
# The configuration of the machine's client stays as it is.
_LOG_IN = """\
[ -n "$PASSWORD" ] || exit 0
config=$RUNNER_TEMP/docker
mkdir -m 700 -p "$config"
cp -R "${DOCKER_CONFIG:-$HOME/.docker}/." "$config" 2> /dev/null || true
echo "config=$config" >> "$GITHUB_OUTPUT"
printf '%s' "$PASSWORD" |
  docker --config "$config" login "$REGISTRY" --username "$USERNAME" --password-stdin
"""
_OPEN_ID = """\
if [ -n "$AUDIENCE" ]; then
  authorization="Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN"
  PASSWORD=$(curl --silent --show-error --fail --header "$authorization" \\
    "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$AUDIENCE" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["value"])')
  echo "::add-mask::$PASSWORD"
fi
"""
# First what to keep, in case the step is cancelled: a pattern keeps names of directories. Later
# jobs may need earlier ones. A cancelled run ends the command, which removes its containers.
_RUN = """\
for part in files= outputs=/outputs outcomes=/outcome.json; do
  echo "${part%%=*}<<end"
  printf "build/ci/jobs/%s*${part#*=}\\n" $ALL
  echo end
done >> "$GITHUB_OUTPUT"
worst=0
for id in $IDS; do
  code=0
  "$ENVMATRIX" ci run "$id" --attempt "$ATTEMPT" &
  job=$!
  trap 'kill -TERM "$job"; wait "$job"; exit 130' INT TERM
  wait "$job" || code=$?
  [ "$code" = 0 ] || worst=$code
  if [ "$code $ATTEMPT" = "75 1" ]; then
    echo "again=true" >> "$GITHUB_OUTPUT"
    break
  fi
done
exit "$worst"
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the files take from a repository: the labels of the machines that plan and report; the
    `version` that pip installs, None where `noxw` has envmatrix, and from where; the host of the
    registry, whether it takes the token of a job, as GitHub's does, and whether its images are
    signed; whether the repository prepares machines itself."""

    runner: Sequence[str]
    version: str | None
    registry: str | None = None
    takes_token: bool = False
    is_signed: bool = False
    has_preparation: bool = False
    install: str | None = None


def files(settings: Settings, banner: str) -> Mapping[str, str]:
    """Return the texts of the generated files by path."""
    own_password = "github.token" if settings.takes_token else None
    values = {
        **ACTIONS,
        "banner": banner,
        "runner": _list(settings.runner),
        "registry": settings.registry,
        "signed": settings.is_signed,
        "prepares": settings.has_preparation,
        "own_password": own_password,
        "username": "github.actor" if own_password else "vars.ENVMATRIX_REGISTRY_USERNAME",
        "install": _install(settings).rstrip(),
        "login": (_LOG_IN if own_password else f"{_OPEN_ID}{_LOG_IN}").rstrip(),
        "run": _RUN.rstrip(),
        "tiers": _list(TIERS),
        "reruns": _list(get_args(Rerun)),
        "stages": STAGES,
        "needs_of": {stage: _list(_NEEDS[stage]) for stage in STAGES},
        "permissions_of": {stage: _permissions(settings, stage) for stage in STAGES},
        "attempts": _ATTEMPTS,
    }
    templates = {FILE: "workflow.yml", JOBS: "jobs.yml", ACTION: "action.yml"}
    return {
        path: _jinja().get_template(f"github/{template}").render(values)
        for path, template in templates.items()
    }


@dataclass(frozen=True, slots=True)
class _Attempt:
    id: str
    attempt: int
    rows: str
    needs: str | None = None
    suffix: str = ""


_ATTEMPTS = (
    _Attempt("first", 1, "fromJSON(inputs.rows)"),
    _Attempt(
        "second",
        2,
        "fromJSON(needs.review.outputs.again || '[[]]')[0]",
        "review",
        " (second attempt)",
    ),
)


def _permissions(settings: Settings, stage: Stage) -> str:
    """Return the permissions of a stage, and the reason for them as a comment."""
    pushes = stage == "images" and settings.registry is not None
    permissions, reasons = {"contents": "read"}, ["of the checkout"]
    if settings.takes_token:
        permissions["packages"] = "write" if pushes else "read"
        reasons.append("of images")
    if pushes and (settings.is_signed or not settings.takes_token):
        permissions["id-token"] = "write"
        reasons.append("to log in to the registry and to sign")
    words = ", ".join(f"{name}: {access}" for name, access in permissions.items())
    return f"{{{words}}} # {', '.join(reasons)}"


def _install(settings: Settings) -> str:
    if settings.version is None:
        return _NOXW
    words = settings.version, settings.install
    return _INSTALL.replace("@KEY@", pip.key(*words)).replace("@ARGUMENTS@", pip.arguments(*words))


def _list(items: Sequence[str]) -> str:
    return f"[{', '.join(map(_scalar, items))}]"


def _scalar(text: str) -> str:
    """Return a text as a scalar of YAML's flow style, quoted unless it is a plain word."""
    is_word = text.replace("-", "").isalnum() and text[:1].isalpha()
    return text if is_word and text.isascii() else json.dumps(text)


@cache
def _jinja() -> Jinja:
    """Return templates whose delimiters are none of GitHub's."""
    return Jinja(
        loader=PackageLoader("envmatrix.render"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 -- YAML, not HTML
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
