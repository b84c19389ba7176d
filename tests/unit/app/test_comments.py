"""What `envmatrix ci comment` says about a comment, and how engines get it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pipeline.test_comment_events import CHANGE, FORK, GITHUB, GITLAB, MEMBER
from tests.unit.prompt import EARLY, Prompt

from envmatrix.app.comments import Reply, Sources, reply_to, users_of, write_outputs
from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.triggers import CELLS, TIER
from envmatrix.results.waivers import load_waivers


def github_event(body: str, **comment: object) -> Mapping[str, Any]:
    return {**GITHUB, "comment": {**GITHUB["comment"], "body": body, **comment}}


def reply(directory: Path, body: str, change: object = CHANGE, **comment: object) -> Reply:
    (directory / "event.json").write_text(json.dumps(github_event(body, **comment)))
    (directory / "change.json").write_text(json.dumps(change))
    sources = Sources(directory / "event.json", directory / "change.json")
    return reply_to("github", sources, EARLY)


def test_a_command_starts_a_pipeline_of_the_branch(tmp_path: Path) -> None:
    assert reply(tmp_path, "/envmatrix run cuda13*").document() == {
        "start": True,
        "change": 7,
        "branch": "topic",
        "inputs": {CELLS: "cuda13*", TIER: "weekly"},
        "answer": "`/envmatrix run` starts a pipeline of `topic` with "
        "`ENVMATRIX_CI_CELLS=cuda13*`, `ENVMATRIX_CI_TIER=weekly`.\n",
    }


def test_a_comment_without_a_command_has_no_answer(tmp_path: Path) -> None:
    assert reply(tmp_path, "what does /envmatrix run do?") == Reply()
    assert reply(tmp_path, "hello", author_association="NONE") == Reply()


def test_who_may_not_command_is_told_why_and_starts_nothing(tmp_path: Path) -> None:
    refused = reply(tmp_path, "/envmatrix run", author_association="CONTRIBUTOR")
    assert refused.inputs is None
    assert refused.branch is None
    assert refused.answer == (
        "Nothing was started: `ana` is neither a member nor a collaborator of the repository.\n"
    )


def test_a_fork_has_no_branch_to_start(tmp_path: Path) -> None:
    refused = reply(tmp_path, "/envmatrix rerun", FORK)
    assert refused.inputs is None
    assert "the change is of a fork" in refused.answer


def test_a_mistake_starts_nothing_and_shows_the_usage(tmp_path: Path) -> None:
    answered = reply(tmp_path, "/envmatrix rnu")
    assert answered.inputs is None
    assert answered.answer.startswith("There is no command `rnu`: did you mean `run`?\n\n- `/env")


def test_a_proposed_waiver_covers_its_test(tmp_path: Path) -> None:
    answer = reply(tmp_path, '/envmatrix waive BUG-1 "a.py::t[x y]" --cell cuda13*').answer
    (name,) = (word for word in answer.split("`") if word.startswith("waivers.d/bug-1-"))
    text = answer.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "waivers.d").mkdir()
    (tmp_path / name).write_text(text)
    (waiver,) = load_waivers(tmp_path)
    assert waiver.covers("any", "cuda13.0-debian12-x86_64", "a.py::t[x y]")
    assert (waiver.owner, waiver.bug, str(waiver.expires)) == ("ana", "BUG-1", "2026-01-31")


def test_a_waiver_of_the_past_is_none(tmp_path: Path) -> None:
    answer = reply(tmp_path, "/envmatrix waive BUG-1 t --until 2020-01-01").answer
    assert answer == "`2020-01-01` has passed: write a later day after `--until`.\n"


@given(st.text())
def test_an_answer_is_no_command_and_mentions_nobody(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    directory = tmp_path_factory.mktemp("comment")
    body = f"/envmatrix {text}\n/envmatrix waive {text} {text}"
    answer = reply(directory, body, user={"login": f"a{text}", "type": "User"}).answer
    assert not any(line.startswith("/envmatrix") for line in answer.splitlines())
    assert "\r" not in answer


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b"[]", b'{"a": ' * 50_000])
def test_what_is_no_event_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "event.json").write_bytes(content)
    with pytest.raises(ConfigurationError):
        reply_to("github", Sources(tmp_path / "event.json"), EARLY)


def parsed(text: str) -> dict[str, str]:
    """Return outputs as a runner of GitHub reads them."""
    values: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if line:
            name, _, delimiter = line.partition("<<")
            value = iter(lambda: next(lines), delimiter)
            values[name] = "\n".join(value)
    return values


def test_outputs_cannot_be_forged(tmp_path: Path) -> None:
    forged = 'end-1\nstart<<x\ntrue\nx\nanswer<<end-1\n"$(id)"'
    write_outputs(Reply(7, answer=forged), tmp_path / "output")
    values = parsed((tmp_path / "output").read_text())
    assert values == {
        "start": "false",
        "number": "7",
        **dict.fromkeys(("branch", "cells", "libraries", "tier", "rerun"), ""),
        "answer": forged,
    }


def test_each_value_has_a_delimiter_of_its_own(tmp_path: Path) -> None:
    write_outputs(Reply(7, "topic", {CELLS: "a b"}, "yes\n"), tmp_path / "output")
    text = (tmp_path / "output").read_text()
    assert parsed(text)["cells"] == "a b"
    delimiters = [line.partition("<<")[2] for line in text.splitlines() if "<<end-" in line]
    assert len(set(delimiters)) == len(delimiters) == 8


def test_users_are_separated_by_blanks_or_commas() -> None:
    assert users_of(" ana, bo\tcy ") == ["ana", "bo", "cy"]


def test_the_verb_reads_the_event_of_github(
    tmp_path: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "event.json").write_text(json.dumps(github_event("/envmatrix only a b")))
    (tmp_path / "change.json").write_text(json.dumps(CHANGE))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    answer = envmatrix("ci", "comment", "--change-file", str(tmp_path / "change.json"))
    assert answer.status == 0
    assert answer.out.splitlines() == ["ENVMATRIX_CI_CELLS=a b", "ENVMATRIX_CI_TIER=weekly"]
    assert "`/envmatrix only` starts a pipeline of `topic`" in answer.err
    assert parsed((tmp_path / "output").read_text())["start"] == "true"


def test_the_verb_reads_the_note_of_gitlab(
    tmp_path: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "payload").write_text(json.dumps(GITLAB))
    (tmp_path / "member.json").write_text(json.dumps(MEMBER))
    monkeypatch.setenv("TRIGGER_PAYLOAD", str(tmp_path / "payload"))
    arguments = ("ci", "comment", "--engine", "gitlab", "--json")
    refused = json.loads(envmatrix(*arguments).out)
    assert not refused["start"]
    assert "developer" in refused["answer"]
    started = json.loads(envmatrix(*arguments, "--member-file", str(tmp_path / "member.json")).out)
    assert (started["start"], started["branch"]) == (True, "topic")


def test_the_verb_has_users_on_jenkins(
    tmp_path: Path, envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "event.json").write_text(json.dumps(GITLAB))
    arguments = (
        "ci",
        "comment",
        "--engine",
        "jenkins",
        "--event-file",
        str(tmp_path / "event.json"),
    )
    assert "`ENVMATRIX_CI_USERS`" in envmatrix(*arguments).err
    monkeypatch.setenv("ENVMATRIX_CI_USERS", "bo, ana")
    assert envmatrix(*arguments).out == "ENVMATRIX_CI_TIER=pr\n"


def test_the_verb_needs_an_engine_and_an_event(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TRIGGER_PAYLOAD"):
        monkeypatch.delenv(name, raising=False)
    answer = envmatrix("ci", "comment")
    assert answer.status == 2
    assert answer.err.splitlines()[-1] == "hint: name it: `--engine github|gitlab|jenkins`"
    answer = envmatrix("ci", "comment", "--engine", "gitlab")
    assert (
        answer.err.splitlines()[-1] == "hint: name it: `--event-file FILE`, or `$TRIGGER_PAYLOAD`"
    )
