"""Why a CI engine runs a pipeline, by its variables and the document of its event. Whoever opens a
pull request chooses much of both. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from envmatrix.errors import ConfigurationError, Problem
from envmatrix.matrix.tier_names import TIERS
from envmatrix.pipeline.model import Rerun, Trigger, TriggerKind
from envmatrix.suggestions import did_you_mean
from envmatrix.text import one_line

Engine = Literal["github", "gitlab", "jenkins"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
# The variable that each engine sets.
_MARKS: Mapping[Engine, str] = {
    "github": "GITHUB_ACTIONS",
    "gitlab": "GITLAB_CI",
    "jenkins": "JENKINS_URL",
}
# The cells of each event; people choose them for manual pipelines.
TIER_OF: Mapping[TriggerKind, str] = {
    "pull_request": "pr",
    "merge_group": "pr",
    "push": "nightly",
    "schedule": "weekly",
}
# The inputs of manual pipelines.
CELLS, LIBRARIES = "ENVMATRIX_CI_CELLS", "ENVMATRIX_CI_LIBRARIES"
TIER, RERUN = "ENVMATRIX_CI_TIER", "ENVMATRIX_CI_RERUN"
_INPUTS = (CELLS, LIBRARIES, TIER, RERUN)

_DEFAULT_RERUN: Rerun = "none"

_COMMIT = re.compile(r"(?!0+$)([0-9a-f]{40}|[0-9a-f]{64})")
# What git accepts in the name of a branch, and this program in that of a revision.
_BRANCH = re.compile(r"(?!.*(\.\.|@\{))[^\x00-\x20\x7f~^:?*\[\\]+")

# Variables of the environment, and the document of an event.
Variables = Mapping[str, str]
Event = Mapping[str, object]


def engine_of(variables: Variables) -> Engine | None:
    """Return the engine that runs this process; None on a machine of people."""
    return next((engine for engine in ENGINES if variables.get(_MARKS[engine])), None)


def trigger_of(
    engine: Engine | None, variables: Variables, event: Event, kind: TriggerKind | None = None
) -> Trigger:
    """Return why a pipeline runs; as one of another `kind` it is trusted no more. Raise
    ConfigurationError for an event that no pipeline is for, and for inputs that mean nothing."""
    trigger = _READERS[engine](variables, event, kind) if engine else Trigger(kind or "manual")
    if kind and kind != trigger.kind:
        base = trigger.base if kind == "pull_request" else None
        trigger = replace(trigger, kind=kind, base=base)
    if trigger.kind == "manual":
        return _with_inputs(trigger, variables)
    return replace(trigger, tier=TIER_OF[trigger.kind])


def ignored_inputs(trigger: Trigger, variables: Variables) -> Sequence[str]:
    """Return the inputs of people that a pipeline of this kind does not take."""
    if trigger.kind == "manual":
        return ()
    return [name for name in _INPUTS if variables.get(name, "").strip() not in ("", _DEFAULT_RERUN)]


def _with_inputs(trigger: Trigger, variables: Variables) -> Trigger:
    values = {name: variables.get(name, "").strip() for name in _INPUTS}
    rerun = _DEFAULT_RERUN
    problems = list[Problem]()
    if values[TIER] and values[TIER] not in TIERS:
        problems.append(_unknown(TIER, values[TIER], TIERS))
    for word in get_args(Rerun):
        rerun = word if word == values[RERUN] else rerun
    if values[RERUN] and values[RERUN] != rerun:
        problems.append(_unknown(RERUN, values[RERUN], get_args(Rerun)))
    if problems:
        raise ConfigurationError(*problems)
    return replace(
        trigger,
        tier=values[TIER] or None,
        cells=(*values[CELLS].split(),),
        libraries=(*values[LIBRARIES].split(),),
        rerun=rerun,
    )


def _unknown(name: str, value: str, values: Sequence[str]) -> Problem:
    hint = did_you_mean(value, values) or f"write one of {', '.join(values)}"
    return Problem(f"`${name}` is `{one_line(value[:80])}`", hint=hint)


def _of_github(variables: Variables, event: Event, kind: TriggerKind | None) -> Trigger:
    """Return the trigger of GitHub Actions.

    https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
    """
    name = variables.get("GITHUB_EVENT_NAME", "")
    if name == "pull_request":
        source = _text(event, "pull_request", "head", "repo", "full_name")
        is_trusted = source is not None and source == variables.get("GITHUB_REPOSITORY")
        base = _commit(_text(event, "pull_request", "base", "sha"))
        return Trigger("pull_request", base=base, is_trusted=is_trusted)
    kinds: Mapping[str, TriggerKind] = {
        "merge_group": "merge_group",
        "push": "push",
        "schedule": "schedule",
        "workflow_dispatch": "manual",
        "repository_dispatch": "manual",
    }
    return _of_name(kinds, ("GITHUB_EVENT_NAME", name), kind)


def _of_gitlab(variables: Variables, _: Event, kind: TriggerKind | None) -> Trigger:
    """Return the trigger of GitLab CI.

    https://docs.gitlab.com/ci/variables/predefined_variables/
    """
    name = variables.get("CI_PIPELINE_SOURCE", "")
    if name == "merge_request_event":
        source = variables.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
        is_trusted = bool(source) and source == variables.get("CI_PROJECT_ID")
        if variables.get("CI_MERGE_REQUEST_EVENT_TYPE") == "merge_train":
            return Trigger("merge_group", is_trusted=is_trusted)
        base = _commit(variables.get("CI_MERGE_REQUEST_DIFF_BASE_SHA"))
        return Trigger("pull_request", base=base, is_trusted=is_trusted)
    if name == "external_pull_request_event":
        base = _commit(variables.get("CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_SHA"))
        return Trigger("pull_request", base=base, is_trusted=False)
    kinds: Mapping[str, TriggerKind] = {
        "push": "push",
        "schedule": "schedule",
        "api": "manual",
        "chat": "manual",
        "pipeline": "manual",
        "trigger": "manual",
        "web": "manual",
    }
    return _of_name(kinds, ("CI_PIPELINE_SOURCE", name), kind)


def _of_jenkins(variables: Variables, *_: object) -> Trigger:
    """Return the trigger of Jenkins: of a multibranch job, a change request or a branch. Its
    variables do not have the cause of a build; inputs are those of a person.

    https://www.jenkins.io/doc/book/pipeline/multibranch/#additional-environment-variables
    """
    if variables.get("CHANGE_ID"):
        target = variables.get("CHANGE_TARGET", "")
        base = f"refs/remotes/origin/{target}" if _BRANCH.fullmatch(target) else None
        is_trusted = not variables.get("CHANGE_FORK")
        return Trigger("pull_request", base=base, is_trusted=is_trusted)
    values = {variables.get(name, "").strip() for name in _INPUTS}
    return Trigger("manual" if values - {"", _DEFAULT_RERUN} else "push")


_READERS: Mapping[Engine, Callable[[Variables, Event, TriggerKind | None], Trigger]] = {
    "github": _of_github,
    "gitlab": _of_gitlab,
    "jenkins": _of_jenkins,
}


def _of_name(
    kinds: Mapping[str, TriggerKind], variable: tuple[str, str], kind: TriggerKind | None
) -> Trigger:
    """Return the trigger of an event with nothing more to read. One that is unknown may be of
    anybody, so it is not trusted, whatever kind it is said to be."""
    name, value = variable
    if value in kinds:
        return Trigger(kinds[value])
    if kind is None:
        message = f"there is no pipeline for `${name}` `{one_line(value[:80])}`"
        hint = f"run it for {', '.join(f'`{each}`' for each in kinds)} or pull requests"
        raise ConfigurationError(message, hint=f"{hint}, or say what it is: `--event manual`")
    return Trigger(kind, is_trusted=False)


def _text(event: object, *keys: str) -> str | None:
    """Return a text within a document of JSON, None where there is none."""
    for key in keys:
        event = event.get(key) if isinstance(event, Mapping) else None
    return event if isinstance(event, str) else None


def _commit(text: str | None) -> str | None:
    """Return the id of a commit, None of anything else, such as zeros."""
    return text if text and _COMMIT.fullmatch(text) else None
