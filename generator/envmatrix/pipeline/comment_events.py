"""Comments as engines tell of them, and who may command: documents of events. Pure.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment
https://docs.gitlab.com/user/project/integrations/webhook_events/#comment-events
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.comments import code
from envmatrix.pipeline.triggers import Engine
from envmatrix.records import dataclass

# Who may start pipelines: members of a repository on GitHub, developers of a project on GitLab.
ASSOCIATIONS = ("OWNER", "MEMBER", "COLLABORATOR")
LEAST_ACCESS_LEVEL = 30

# Names that GitLab gives to accounts of tokens.
_BOT_OF_GITLAB = re.compile(r"(project|group)_\d+_bot|service_account_|.*[-_]bot$")


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a comment: a name, and what the host of the repository knows of it. `association`
    is GitHub's word, `access_level` GitLab's number; `wrote_fork` tells that the change is of a
    fork, and of this author."""

    name: str
    association: str = ""
    access_level: int = 0
    is_bot: bool = False
    wrote_fork: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a change: a pull request or a merge request, by its number. `branch` is that of
    the change in the repository itself; None for a change of a fork, or where nothing tells."""

    body: str
    author: Author
    number: int
    branch: str | None
    is_of_fork: bool = False


def refusal(author: Author, engine: Engine, users: Collection[str] = ()) -> str | None:
    """Return why someone may not command, as Markdown; None for those who may."""
    name = code(author.name)
    if author.is_bot:
        return f"{name} is an account of a program, and commands are for people"
    if author.wrote_fork:
        return f"{name} wrote the change in a fork, and commands on it are for others"
    if engine == "jenkins":
        if author.name in users:
            return None
        return f"{name} is not among the users who may command (`ENVMATRIX_CI_USERS`)"
    if engine == "gitlab":
        if author.access_level >= LEAST_ACCESS_LEVEL:
            return None
        return f"{name} is not known to be at least a developer of the project"
    if author.association in ASSOCIATIONS:
        return None
    return f"{name} is neither a member nor a collaborator of the repository"


def comment_of(event: object, details: object = None, member: object = None) -> Comment | None:
    """Return the comment of an event of GitHub or GitLab; None if the event is another one than a
    new comment on a change. `details` is what GitHub answers about the pull request, `member` what
    GitLab answers about the author. Raise ConfigurationError if it is no event."""
    if not isinstance(event, Mapping):
        hint = "pass what the engine sends: `--event-file FILE`"
        raise ConfigurationError("the event is no mapping", hint=hint)
    if event.get("object_kind") == "note":
        return _of_gitlab(event, member)
    if "comment" in event and "issue" in event:
        return _of_github(event, details)
    return None


def _of_github(event: Mapping[str, object], details: object) -> Comment | None:
    if event.get("action") != "created" or not _has(event, "issue", "pull_request"):
        return None
    comment = _value(event, "comment")
    name = _text(comment, "user", "login")
    own = _text(details, "base", "repo", "full_name")
    source = _text(details, "head", "repo", "full_name")
    is_known = bool(own) and _number(details, "number") == _number(event, "issue", "number")
    is_of_fork = is_known and source != own
    owners = (_text(event, "issue", "user", "login"), _text(details, "head", "user", "login"))
    branch = _text(details, "head", "ref") if is_known and not is_of_fork else ""
    author = Author(
        name,
        association=_text(comment, "author_association"),
        is_bot=_text(comment, "user", "type") != "User" or name.endswith("[bot]"),
        wrote_fork=is_of_fork and name in owners,
    )
    number = _number(event, "issue", "number")
    return Comment(_text(comment, "body"), author, number, branch or None, is_of_fork)


def _of_gitlab(event: Mapping[str, object], member: object) -> Comment | None:
    note = _value(event, "object_attributes")
    # An earlier GitLab does not tell what was done with the comment.
    is_new = _text(note, "action") in ("", "create") and not _has(note, "updated_by_id")
    if _text(note, "noteable_type") != "MergeRequest" or not is_new or _is_true(note, "system"):
        return None
    change = _value(event, "merge_request")
    source, target = _number(change, "source_project_id"), _number(change, "target_project_id")
    is_of_fork = source != target or not source
    name = _text(event, "user", "username")
    user = _number(event, "user", "id")
    is_same = user > 0 and user == _number(member, "id")
    author = Author(
        name,
        access_level=_number(member, "access_level") if is_same else 0,
        is_bot=bool(_BOT_OF_GITLAB.match(name)) or _is_true(member, "bot"),
        wrote_fork=is_of_fork and user == _number(change, "author_id"),
    )
    branch = None if is_of_fork else _text(change, "source_branch") or None
    return Comment(_text(note, "note"), author, _number(change, "iid"), branch, is_of_fork)


def _value(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _has(value: object, *keys: str) -> bool:
    return bool(_value(value, *keys))


def _is_true(value: object, *keys: str) -> bool:
    return _value(value, *keys) is True


def _text(value: object, *keys: str) -> str:
    """Return a text of a document of JSON, without halves of characters; "" where there is none."""
    text = _value(value, *keys)
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else ""


def _number(value: object, *keys: str) -> int:
    number = _value(value, *keys)
    return number if type(number) is int and number >= 0 else 0
