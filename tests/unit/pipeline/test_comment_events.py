"""Events with comments, and who may command."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.comment_events import Author, comment_of, refusal
from envmatrix.pipeline.triggers import Engine

GITHUB: dict[str, Any] = {
    "action": "created",
    "issue": {"number": 7, "pull_request": {"url": "x"}, "user": {"login": "eve"}},
    "comment": {
        "body": "/envmatrix run",
        "author_association": "MEMBER",
        "user": {"login": "ana", "type": "User"},
    },
}
CHANGE: dict[str, Any] = {
    "number": 7,
    "head": {"ref": "topic", "repo": {"full_name": "team/solver"}},
    "base": {"repo": {"full_name": "team/solver"}},
}
FORK = {**CHANGE, "head": {"ref": "main", "repo": {"full_name": "eve/solver"}}}
GITLAB: dict[str, Any] = {
    "object_kind": "note",
    "user": {"id": 3, "username": "ana"},
    "object_attributes": {
        "note": "/envmatrix run",
        "noteable_type": "MergeRequest",
        "action": "create",
    },
    "merge_request": {
        "iid": 7,
        "author_id": 4,
        "source_branch": "topic",
        "source_project_id": 1,
        "target_project_id": 1,
    },
}
MEMBER = {"id": 3, "access_level": 30}


def test_a_comment_on_github_has_its_author_and_branch() -> None:
    comment = comment_of(GITHUB, CHANGE)
    assert comment
    assert (comment.body, comment.number, comment.branch) == ("/envmatrix run", 7, "topic")
    assert comment.author == Author("ana", association="MEMBER")


def test_a_comment_on_gitlab_has_its_author_and_branch() -> None:
    comment = comment_of(GITLAB, member=MEMBER)
    assert comment
    assert (comment.body, comment.number, comment.branch) == ("/envmatrix run", 7, "topic")
    assert comment.author == Author("ana", access_level=30)


@pytest.mark.parametrize("change", [None, FORK, {**CHANGE, "number": 8}, {}, [], {"number": 7}])
def test_without_a_branch_in_the_repository_there_is_none(change: object) -> None:
    comment = comment_of(GITHUB, change)
    assert comment
    assert comment.branch is None
    assert comment.is_of_fork == (change is FORK)


def test_whoever_wrote_a_fork_is_known() -> None:
    event = {**GITHUB, "comment": {**GITHUB["comment"], "user": {"login": "eve", "type": "User"}}}
    comment = comment_of(event, FORK)
    assert comment
    assert comment.author.wrote_fork
    of_others = {**FORK, "head": {**FORK["head"], "user": {"login": "ana"}}}
    owner = comment_of(GITHUB, of_others)
    assert owner
    assert owner.author.wrote_fork
    merge_request = {**GITLAB["merge_request"], "author_id": 3, "source_project_id": 9}
    of_gitlab = comment_of({**GITLAB, "merge_request": merge_request}, member=MEMBER)
    assert of_gitlab
    assert of_gitlab.author.wrote_fork
    assert of_gitlab.branch is None


@pytest.mark.parametrize(
    "event",
    [
        {**GITHUB, "action": "edited"},
        {**GITHUB, "action": "deleted"},
        {**GITHUB, "issue": {"number": 7}},
        {**GITLAB, "object_kind": "push"},
        {**GITLAB, "object_attributes": {**GITLAB["object_attributes"], "action": "update"}},
        {**GITLAB, "object_attributes": {**GITLAB["object_attributes"], "system": True}},
        {**GITLAB, "object_attributes": {**GITLAB["object_attributes"], "noteable_type": "Issue"}},
        {},
    ],
)
def test_other_events_have_no_comment(event: object) -> None:
    assert comment_of(event, CHANGE, MEMBER) is None


def test_what_is_no_event_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="is no mapping"):
        comment_of([])


@pytest.mark.parametrize("member", [None, {}, {"id": 4, "access_level": 50}, {"access_level": 50}])
def test_an_access_level_is_that_of_the_author(member: object) -> None:
    comment = comment_of(GITLAB, member=member)
    assert comment
    assert comment.author.access_level == 0


@pytest.mark.parametrize(
    ("engine", "author", "reason"),
    [
        ("github", Author("a", association="OWNER"), None),
        ("github", Author("a", association="COLLABORATOR"), None),
        ("github", Author("a", association="CONTRIBUTOR"), "neither a member"),
        ("github", Author("a", association="FIRST_TIMER", access_level=50), "neither a member"),
        ("github", Author("a"), "neither a member"),
        ("github", Author("a[bot]", association="OWNER", is_bot=True), "a program"),
        ("github", Author("a", association="MEMBER", wrote_fork=True), "in a fork"),
        ("gitlab", Author("a", access_level=30), None),
        ("gitlab", Author("a", access_level=50), None),
        ("gitlab", Author("a", access_level=20), "developer"),
        ("gitlab", Author("a", association="OWNER"), "developer"),
        ("jenkins", Author("ana"), None),
        ("jenkins", Author("eve", association="OWNER"), "ENVMATRIX_CI_USERS"),
        ("jenkins", Author("ana", is_bot=True), "a program"),
        ("jenkins", Author("`@all`"), "`` `@all` ``"),
    ],
)
def test_only_some_may_command(engine: Engine, author: Author, reason: str | None) -> None:
    answer = refusal(author, engine, {"ana"})
    if reason is None:
        assert answer is None
    else:
        assert answer
        assert reason in answer


@pytest.mark.parametrize(
    "name", ["project_12_bot", "group_4_bot_8f2", "service_account_x", "ci-bot"]
)
def test_accounts_of_tokens_are_bots_on_gitlab(name: str) -> None:
    comment = comment_of({**GITLAB, "user": {"id": 3, "username": name}}, member=MEMBER)
    assert comment
    assert comment.author.is_bot


@pytest.mark.parametrize(
    "user", [{"login": "a", "type": "Bot"}, {"login": "a[bot]", "type": "User"}, {"login": "a"}]
)
def test_others_than_users_are_bots_on_github(user: object) -> None:
    comment = comment_of({**GITHUB, "comment": {**GITHUB["comment"], "user": user}}, CHANGE)
    assert comment
    assert comment.author.is_bot


keys = st.sampled_from(
    (*GITHUB, *GITHUB["comment"], *GITLAB, *GITLAB["object_attributes"], "login", "id")
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4))


values = st.recursive(scalars, nested, max_leaves=12)


@given(values, values, values)
def test_nobody_is_authorised_by_a_malformed_event(
    event: object, change: object, member: object
) -> None:
    if not isinstance(event, dict):
        return
    for whole in (event, {**GITHUB, **event}, {**GITLAB, **event}):
        comment = comment_of(whole, change, member)
        if comment is not None and "comment" in event:
            assert refusal(comment.author, "github") or event["comment"] == GITHUB["comment"]
