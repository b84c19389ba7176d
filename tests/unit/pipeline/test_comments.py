"""Commands in comments: which lines are some, and what they mean."""

from __future__ import annotations

import re
import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.pipeline.comments import (
    LONGEST_COMMENT,
    LONGEST_WORD,
    MOST_COMMANDS,
    MOST_WORDS,
    Mistake,
    Start,
    Waive,
    code,
    commands_of,
    usage,
)
from envmatrix.pipeline.triggers import CELLS, LIBRARIES, RERUN, TIER


def only(text: str) -> Start | Waive | Mistake:
    (command,) = commands_of(text)
    return command


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("/envmatrix run", {TIER: "pr"}),
        ("/envmatrix run cuda13* cuda12.4-*", {CELLS: "cuda13* cuda12.4-*", TIER: "weekly"}),
        (
            "/envmatrix run --library rmm --tier=nightly --library cudf@asan",
            {LIBRARIES: "rmm cudf@asan", TIER: "nightly"},
        ),
        ("/envmatrix only cuda13-x86_64", {CELLS: "cuda13-x86_64", TIER: "weekly"}),
        ("/envmatrix rerun", {TIER: "pr", RERUN: "failed"}),
        ("/envmatrix rerun all", {TIER: "pr", RERUN: "all"}),
        ("/envmatrix reuse", {TIER: "pr", RERUN: "none"}),
        ("Thanks!\r\n/envmatrix\treuse  \r\nBye", {TIER: "pr", RERUN: "none"}),
    ],
)
def test_a_command_is_the_inputs_of_a_pipeline(text: str, inputs: dict[str, str]) -> None:
    command = only(text)
    assert isinstance(command, Start)
    assert command.inputs == inputs


def test_a_waiver_names_a_bug_and_a_test() -> None:
    text = (
        '/envmatrix waive https://bugs.example/1 "sums on h100" --cell cuda13* --until 2027-01-31'
    )
    assert only(text) == Waive(
        "https://bugs.example/1", "sums on h100", cell="cuda13*", until=date(2027, 1, 31)
    )
    assert only("/envmatrix waive BUG-1 `a.py::test[x y]` --library rmm") == Waive(
        "BUG-1", "a.py::test[x y]", library="rmm"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "please /envmatrix run",
        " /envmatrix run",
        "    /envmatrix run",
        "/envmatrixes run",
        "/Envmatrix run",
        "> /envmatrix run",
        "> quoted\n/envmatrix run",
        "```\n/envmatrix run\n```",
        "```sh\n/envmatrix run",
        "~~~\n```\n/envmatrix run\n~~~",
        "````\n```\n/envmatrix run\n````",
        "`code\n/envmatrix run\nthat ends here`",
        "<!-- invisible\n/envmatrix run\n-->",
        "text <!--\n/envmatrix run",
        "<pre>\n/envmatrix run\n</pre>",
        "<PRE>\n\n/envmatrix run\n",
        "\u2028/envmatrix run",
        "text\u2028/envmatrix run",
        "x" * LONGEST_COMMENT + "\n/envmatrix run",
    ],
)
def test_other_text_is_no_command(text: str) -> None:
    assert commands_of(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "> quoted\n\n/envmatrix run",
        "```\nx\n```\n/envmatrix run",
        "~~~ `x`\nx\n~~~~\n/envmatrix run",
        "<!-- a -->\n/envmatrix run",
        "<pre>x</pre>\n/envmatrix run",
        "one ` is no code\n/envmatrix run",
        "`a` and ``b``\n/envmatrix run\n`c`",
        "a\r/envmatrix run",
    ],
)
def test_a_command_after_other_text_is_one(text: str) -> None:
    assert only(text) == Start("run", {TIER: "pr"})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("/envmatrix", "`/envmatrix` needs a word", "`waive`"),
        ("/envmatrix rnu", "there is no command `rnu`", "did you mean `run`?"),
        ("/envmatrix only", "names no cell", "only CELL..."),
        ("/envmatrix rerun al", "takes no `al`", "did you mean `all`?"),
        ("/envmatrix rerun all failed", "takes no `failed`", "failed"),
        ("/envmatrix reuse cuda13*", "takes no `cuda13*`", "/envmatrix run"),
        ("/envmatrix run --teir pr", "has no option `--teir`", "did you mean `--tier`?"),
        ("/envmatrix run --tier", "`--tier` needs a value", "write"),
        ("/envmatrix run --tier --library", "`--tier` needs a value", "write"),
        ("/envmatrix run --tier weakly", "there is no tier `weakly`", "did you mean `weekly`?"),
        ("/envmatrix run --tier pr --tier pr", "`--tier` is there twice", "once"),
        ("/envmatrix reuse --tier pr", "has no option `--tier`", "it has no options"),
        ("/envmatrix run $(id)", "`$(id)` is no cell", "letters"),
        ("/envmatrix run 'a b'", "`a b` is no cell", "letters"),
        ("/envmatrix run -x", "`-x` is no cell", "letters"),
        ("/envmatrix run --library a;b", "`a;b` is no library", "letters"),
        ("/envmatrix run \u202etxt", "`\\u202etxt` is no cell", "letters"),
        ("/envmatrix run 'a", "a quote is open in `'a`", "close it"),
        ("/envmatrix run 'a'b", "a quote is open", "close it"),
        ("/envmatrix waive BUG-1", "takes a bug and a test", "in quotes"),
        ("/envmatrix waive BUG-1 a b", "takes a bug and a test", "in quotes"),
        ('/envmatrix waive "" a', "cannot be empty", "write"),
        ("/envmatrix waive B t --until 2027-02-30", "`2027-02-30` is no day", "2027-01-31"),
        ("/envmatrix waive B t --until 20270131", "`20270131` is no day", "2027-01-31"),
        (f"/envmatrix run {'a ' * (MOST_WORDS + 1)}", "words", f"{MOST_WORDS} at most"),
        (f"/envmatrix run {'a' * (LONGEST_WORD + 1)}", "too long", f"{LONGEST_WORD}"),
        ("/envmatrix reuse\n" * (MOST_COMMANDS + 1), "6 commands", "5 at most"),
        ("/envmatrix run\n/envmatrix reuse", "are in one comment", "each starts a pipeline"),
    ],
)
def test_a_mistake_is_explained(text: str, message: str, hint: str) -> None:
    mistake = commands_of(text)[-1]
    assert isinstance(mistake, Mistake)
    assert message in mistake.message
    assert hint in mistake.hint


def test_of_two_commands_that_start_a_pipeline_none_does() -> None:
    commands = commands_of("/envmatrix run\n/envmatrix waive B t\n/envmatrix reuse")
    assert [type(command) for command in commands] == [Waive, Mistake]


def test_the_usage_has_every_command() -> None:
    assert all(f"/envmatrix {verb}" in usage() for verb in ("run", "only", "rerun", "waive"))


def is_one_line(text: str) -> bool:
    """Return whether nothing in a text but blanks is invisible."""
    return all(letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in text)


words = st.text(max_size=60)
comments = st.lists(
    st.one_of(
        words,
        st.sampled_from(("```", "~~~", "> x", "<!--", "-->", "`", "<pre>", "", "/envmatrix")),
        st.tuples(
            st.sampled_from(("run", "only", "rerun", "reuse", "waive", "x", "")),
            st.lists(st.one_of(words, st.sampled_from(("--tier", "pr", "--until", "'", '"')))),
        ).map(lambda parts: f"/envmatrix {parts[0]} {' '.join(parts[1])}"),
    )
).map("\n".join)


@given(comments)
def test_inputs_are_harmless_whatever_a_comment_has(text: str) -> None:
    for command in commands_of(text):
        if isinstance(command, Start):
            for value in command.inputs.values():
                assert re.fullmatch(r"[A-Za-z0-9*?\[\]._@! -]+", value, re.ASCII)
                assert not any(word.startswith("-") for word in value.split(" "))
        elif isinstance(command, Mistake):
            assert is_one_line(f"{command.message}{command.hint}")
        else:
            assert "\n" not in f"{command.bug}{command.test}"


@given(comments)
def test_quoted_comments_have_no_command(text: str) -> None:
    lines = re.split(r"\r\n|\n|\r", text)
    assert commands_of("\n".join(f"> {line}" for line in lines)) == ()


@given(st.text(max_size=200))
def test_code_has_all_text_between_its_marks(text: str) -> None:
    markdown = code(text)
    marks = re.match("`+", markdown)
    assert marks
    inner = markdown[marks.end() : -marks.end()]
    assert markdown.endswith(marks[0])
    assert marks[0] not in re.findall("`+", inner)
    assert is_one_line(markdown)
    assert inner.strip(" ") or inner == " "
