"""A command in a comment on a pull request, in act, with a stand-in for `gh`, which asks GitHub."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.adopter import SIX, Adopter, adopter
from tests.ci.engines import on_site
from tests.ci.names import MARK
from tests.github import Machine, run_file

from envmatrix.render.github_comments import FILE

# Writes down its arguments and its input; answers with the pull request of the test.
GH = """\
#!{python}
import json, pathlib, sys

here = pathlib.Path(__file__).parent
words = sys.argv[1:]
text = sys.stdin.read() if "--body-file=-" in words else ""
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([words, text]) + "\\n")
if words[0] == "api":
    print((here / "change.json").read_text())
"""
REPOSITORY = {"full_name": "team/project", "fork": False}


@pytest.fixture(scope="module")
def repository(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    directory = tmp_path_factory.mktemp("comments")
    return adopter(directory, wheels, SIX[:1], engines=("comments",))


@pytest.fixture
def user(repository: Adopter, tmp_path: Path) -> Adopter:
    return on_site(repository, tmp_path)


def calls_after(
    user: Adopter, text: str, branch: str = "topic", association: str = "MEMBER"
) -> Sequence[tuple[Sequence[str], str]]:
    """Return what `gh` was called with, and its input, after a comment on the pull request of a
    branch."""
    place = user.root.parent
    head = {"ref": branch, "repo": REPOSITORY}
    change = {"number": 7, "state": "open", "head": head, "base": {"repo": REPOSITORY}}
    program = place / "bin/gh"
    program.parent.mkdir()
    program.write_text(GH.format(python=sys.executable))
    program.chmod(0o755)
    (place / "bin/change.json").write_text(json.dumps(change))
    variables = {**user.variables, "PATH": f"{place}/bin:{os.environ['PATH']}"}
    machine = Machine(place / "artifacts", place / "tools", variables, {"GITHUB_TOKEN": "token"})
    jobs = run_file(user.root, FILE, "issue_comment", event(text, association), machine)
    assert [job.result for job in jobs if job.result != "success"] == [], jobs
    calls = place / "bin/calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [tuple(json.loads(line)) for line in lines]


def event(text: str, association: str) -> Mapping[str, Any]:
    person = {"login": "ana", "id": 1, "type": "User"}
    comment = {"id": 2, "body": text, "user": person, "author_association": association}
    issue = {"number": 7, "state": "open", "user": person, "pull_request": {"url": "x"}}
    return {"action": "created", "issue": issue, "comment": comment, "repository": REPOSITORY}


def test_a_command_starts_the_pipeline_of_the_branch_and_is_answered(user: Adopter) -> None:
    branch = f"t'\"$(touch {MARK})`touch {MARK}`${{{{x}}}}"
    request, start, answer = calls_after(user, "/envmatrix only cuda13.5-debian12-x86_64", branch)
    assert request[0][0] == "api"
    assert request[0][1].endswith("/pulls/7")  # of a repository that act names by its path
    cells = "--raw-field=cells=cuda13.5-debian12-x86_64"
    assert start[0][:4] == ["workflow", "run", "envmatrix.yml", f"--ref={branch}"]
    assert cells in start[0]
    assert answer[0] == ["pr", "comment", "7", "--body-file=-"]
    assert answer[1]
    assert not [*user.root.parent.rglob(MARK)]


def test_others_are_answered_and_start_nothing(user: Adopter) -> None:
    calls = calls_after(user, "/envmatrix run", association="NONE")
    assert [words[0] for words, _ in calls] == ["api", "pr"]


def test_a_comment_without_a_command_asks_for_nothing(user: Adopter) -> None:
    assert calls_after(user, "a comment") == []
