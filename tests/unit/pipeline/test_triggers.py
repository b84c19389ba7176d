from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.model import Trigger
from envmatrix.pipeline.triggers import ENGINES, Engine, engine_of, ignored_inputs, trigger_of

BASE = "ab" * 20
OURS = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REPOSITORY": "us/project"}


def pull_request(source: object, base: object = BASE) -> dict[str, Any]:
    return {"pull_request": {"head": {"repo": source}, "base": {"sha": base}}}


def of_github(name: str, **variables: str) -> Trigger:
    return trigger_of("github", {"GITHUB_EVENT_NAME": name, **variables}, {})


def of_gitlab(source: str, **variables: str) -> Trigger:
    return trigger_of("gitlab", {"CI_PIPELINE_SOURCE": source, **variables}, {})


@pytest.mark.parametrize(
    ("variables", "engine"),
    [
        ({"GITHUB_ACTIONS": "true"}, "github"),
        ({"GITLAB_CI": "true"}, "gitlab"),
        ({"JENKINS_URL": "https://jenkins.example/"}, "jenkins"),
        ({"CI": "true", "GITLAB_CI": ""}, None),
    ],
)
def test_an_engine_is_known_by_its_variable(
    variables: Mapping[str, str], engine: Engine | None
) -> None:
    assert engine_of(variables) == engine


def test_a_pull_request_has_the_cells_of_its_tier_that_its_change_affects() -> None:
    trigger = trigger_of("github", OURS, pull_request({"full_name": "us/project"}))
    assert trigger == Trigger("pull_request", "pr", BASE)


@pytest.mark.parametrize("source", [{"full_name": "them/project"}, {}, None, 3, {"full_name": 3}])
def test_a_pull_request_of_a_fork_or_of_unknown_origin_is_not_trusted(source: object) -> None:
    assert not trigger_of("github", OURS, pull_request(source)).is_trusted
    unnamed = {"GITHUB_EVENT_NAME": "pull_request"}
    assert not trigger_of("github", unnamed, pull_request(source)).is_trusted


@pytest.mark.parametrize(
    "base", ["0" * 40, "HEAD", "--upload-pack=x", f"{BASE}\n", "", None, [BASE]]
)
def test_a_base_that_is_no_commit_is_unknown(base: object) -> None:
    trigger = trigger_of("github", OURS, pull_request({"full_name": "us/project"}, base))
    assert (trigger.kind, trigger.base) == ("pull_request", None)


@pytest.mark.parametrize(
    ("name", "trigger"),
    [
        ("merge_group", Trigger("merge_group", "pr")),
        ("push", Trigger("push", "nightly")),
        ("schedule", Trigger("schedule", "weekly")),
        ("workflow_dispatch", Trigger("manual")),
    ],
)
def test_other_events_of_github_have_all_cells_of_their_tier(name: str, trigger: Trigger) -> None:
    assert of_github(name) == trigger


@pytest.mark.parametrize("name", ["pull_request_target", "issue_comment", ""])
def test_there_is_no_pipeline_for_events_that_others_cause_with_secrets(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no pipeline for "):
        of_github(name)


def test_an_event_that_is_said_to_be_another_one_is_trusted_no_more() -> None:
    fork = pull_request({"full_name": "them/project"})
    assert trigger_of("github", OURS, fork, "push") == Trigger("push", "nightly", is_trusted=False)
    comment = {"GITHUB_EVENT_NAME": "issue_comment"}
    assert trigger_of("github", comment, {}, "manual") == Trigger("manual", is_trusted=False)
    assert trigger_of(None, {}, {}, "schedule") == Trigger("schedule", "weekly")


def test_a_merge_request_of_gitlab_is_compared_with_the_base_of_its_diff() -> None:
    variables = {
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": BASE,
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "7",
        "CI_PROJECT_ID": "7",
    }
    assert of_gitlab("merge_request_event", **variables) == Trigger("pull_request", "pr", BASE)
    fork = {**variables, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "8"}
    assert not of_gitlab("merge_request_event", **fork).is_trusted
    assert not of_gitlab("merge_request_event").is_trusted
    train = {**variables, "CI_MERGE_REQUEST_EVENT_TYPE": "merge_train"}
    assert of_gitlab("merge_request_event", **train) == Trigger("merge_group", "pr")


def test_a_pull_request_from_another_host_is_not_trusted() -> None:
    variables = {"CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_SHA": BASE}
    trigger = of_gitlab("external_pull_request_event", **variables)
    assert trigger == Trigger("pull_request", "pr", BASE, is_trusted=False)


@pytest.mark.parametrize(
    ("source", "trigger"),
    [
        ("push", Trigger("push", "nightly")),
        ("schedule", Trigger("schedule", "weekly")),
        ("web", Trigger("manual")),
    ],
)
def test_other_pipelines_of_gitlab_have_all_cells_of_their_tier(
    source: str, trigger: Trigger
) -> None:
    assert of_gitlab(source) == trigger


def test_a_change_request_of_jenkins_is_compared_with_its_target() -> None:
    variables = {"CHANGE_ID": "12", "CHANGE_TARGET": "release/1.x"}
    base = "refs/remotes/origin/release/1.x"
    assert trigger_of("jenkins", variables, {}) == Trigger("pull_request", "pr", base)
    fork = trigger_of("jenkins", {**variables, "CHANGE_FORK": "them"}, {})
    assert not fork.is_trusted


@pytest.mark.parametrize(
    "target", ["", "a..b", "a b", "a\nb", "a^{/x}", "a@{1}", "a:b", "\x1b[31m"]
)
def test_a_target_that_is_no_branch_is_an_unknown_base(target: str) -> None:
    trigger = trigger_of("jenkins", {"CHANGE_ID": "12", "CHANGE_TARGET": target}, {})
    assert (trigger.kind, trigger.base) == ("pull_request", None)


def test_a_build_of_jenkins_is_a_push_or_what_a_person_chose() -> None:
    assert trigger_of("jenkins", {"BRANCH_NAME": "main"}, {}) == Trigger("push", "nightly")
    unchanged = {"ENVMATRIX_CI_TIER": "", "ENVMATRIX_CI_RERUN": "none"}
    assert trigger_of("jenkins", unchanged, {}) == Trigger("push", "nightly")
    inputs = {"ENVMATRIX_CI_TIER": "pr"}
    assert trigger_of("jenkins", inputs, {}) == Trigger("manual", "pr")


def test_a_person_chooses_cells_libraries_the_tier_and_what_runs_again() -> None:
    trigger = of_github(
        "workflow_dispatch",
        ENVMATRIX_CI_CELLS=" cuda12* \n cuda13-aarch64 ",
        ENVMATRIX_CI_LIBRARIES="own own@debug",
        ENVMATRIX_CI_TIER="nightly",
        ENVMATRIX_CI_RERUN="all",
    )
    cells = ("cuda12*", "cuda13-aarch64")
    assert trigger == Trigger("manual", "nightly", None, cells, ("own", "own@debug"), "all")


def test_inputs_do_not_count_where_nobody_chose_them() -> None:
    assert of_github("push", ENVMATRIX_CI_CELLS="cuda12*") == Trigger("push", "nightly")


def test_all_wrong_inputs_are_told_with_what_is_right() -> None:
    inputs = {"ENVMATRIX_CI_TIER": "nightlie", "ENVMATRIX_CI_RERUN": "$(reboot)\n::error::"}
    with pytest.raises(ConfigurationError) as caught:
        of_github("workflow_dispatch", **inputs)
    assert [(problem.message, problem.hint) for problem in caught.value.problems] == [
        ("`$ENVMATRIX_CI_TIER` is `nightlie`", "did you mean `nightly`?"),
        (
            "`$ENVMATRIX_CI_RERUN` is `$(reboot)\\n::error::`",
            "write one of none, failed, all",
        ),
    ]


NAMES = (
    *("GITHUB_EVENT_NAME", "GITHUB_REPOSITORY", "CI_PIPELINE_SOURCE", "CI_PROJECT_ID"),
    *("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "CI_MERGE_REQUEST_DIFF_BASE_SHA", "CHANGE_ID"),
    *("CHANGE_TARGET", "CHANGE_FORK", "ENVMATRIX_CI_CELLS", "ENVMATRIX_CI_LIBRARIES"),
    *("ENVMATRIX_CI_TIER", "ENVMATRIX_CI_RERUN"),
)
values = st.sampled_from(["pull_request", "merge_request_event", "push", BASE]) | st.text()
anything = st.none() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


def tables(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return documents with some of the keys, or anything else."""
    return anything | st.fixed_dictionaries({}, optional={**keys, "other": anything})


documents = tables(
    head=tables(repo=tables(full_name=values | anything)), base=tables(sha=values | anything)
)


@given(
    st.sampled_from(ENGINES),
    st.dictionaries(st.sampled_from(NAMES), values),
    st.dictionaries(st.just("pull_request"), documents),
)
def test_whatever_an_event_says_it_is_read_or_refused(
    engine: Engine, variables: dict[str, str], event: dict[str, Any]
) -> None:
    try:
        trigger = trigger_of(engine, variables, event)
    except ConfigurationError:
        return
    assert trigger.base is None or not trigger.base.startswith("-")
    assert trigger.tier in ("pr", "nightly", "weekly", None)
    if trigger.kind == "pull_request" and engine == "github" and trigger.is_trusted:
        name = event["pull_request"]["head"]["repo"]["full_name"]
        assert name == variables["GITHUB_REPOSITORY"]


def test_inputs_of_people_that_a_change_does_not_take_are_named() -> None:
    inputs = {
        "ENVMATRIX_CI_CELLS": "cuda13*",
        "ENVMATRIX_CI_TIER": " ",
        "ENVMATRIX_CI_RERUN": "none",
    }
    assert ignored_inputs(Trigger("pull_request"), inputs) == ["ENVMATRIX_CI_CELLS"]
    assert not ignored_inputs(Trigger("manual"), inputs)
