"""What is printed of others' text: lines of printable characters, no secrets, no commands."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from envmatrix.text import (
    duration,
    first_line,
    leading_lines,
    leading_names,
    one_line,
    printable,
    redacted,
    rough_duration,
    safe,
    safe_json,
    safe_message,
    seconds_of,
)

HOSTILE = st.text(
    st.sampled_from("a:# \n\r\t\x1b[]0m\x9b\u202e\u2028\udc80\0gvso-+~^"), max_size=40
)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain äöü 漢字", "plain äöü 漢字"),
        ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31;1mred\x1b[0m\x1b[K", "red"),
        ("bell \x07, NUL \x00, C1 \x9b31m", r"bell \x07, NUL \x00, C1 \x9b31m"),
        ("title \x1b]0;x\x07", r"title \x1b]0;x\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("right \u202eto\u2066 left\u200f", r"right \u202eto\u2066 left\u200f"),
        ("a\u2028line\u2029", r"a\u2028line\u2029"),
        ("no UTF-8: \udcff, \ud800", r"no UTF-8: \xff, \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
    ],
)
def test_control_characters_are_printed_as_escapes(text: str, printed: str) -> None:
    assert printable(text) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("::error file=a::b", r"\x3a:error file=a::b"),
        ("first\n \t::set-output name=x::y", "first\n \t\\x3a:set-output name=x::y"),
        ("\x1b[0m::error::x", r"\x3a:error::x"),
        ("::er\x1b[0mror::x", r"\x3a:error::x"),
        ("\u3000::error::x", "\u3000\\x3a:error::x"),
        ("log ##[error]x", r"log #\x23[error]x"),
        ("log ##vso[task.setvariable variable=x]y", r"log #\x23vso[task.setvariable variable=x]y"),
        ("##teamcity[buildStop]", r"#\x23teamcity[buildStop]"),
        ("###vso[x]", r"##\x23vso[x]"),
        ("section_start:0:a\r\x1b[0Kx", r"section\x5fstart:0:a\rx"),
        (
            "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-a\n+b",
            " --- a/file\n +++ b/file\n@@ -1 +1 @@\n-a\n+b",
        ),
        ("~~~ group\n---\n", " ~~~ group\n ---\n"),
        ("^^^ +++", " ^^^ +++"),
        ("\x1b[0m--- group", " --- group"),
        ("---------- not one, --- nor this", "---------- not one, --- nor this"),
        ("std::vector and a ## heading", "std::vector and a ## heading"),
    ],
)
def test_nothing_printed_is_a_command_to_a_ci_system(text: str, printed: str) -> None:
    assert printable(text) == printed


@given(HOSTILE | st.text(max_size=40))
def test_whatever_is_printed_has_printable_characters_only(text: str) -> None:
    printed = printable(text)
    assert all(
        character in "\n\t" or unicodedata.category(character)[0] != "C" for character in printed
    )
    assert not re.search(r"^\s*::|##\w*\[", printed, re.MULTILINE)
    assert not re.search(r"^(---|\+\+\+|~~~|\^\^\^ \+\+\+)(\s|$)", printed, re.MULTILINE)
    assert printable(printed) == printed
    printed.encode()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("`a\x1b[31mb\x1b[0m` is no cell", r"`a\x1b[31mb\x1b[0m` is no cell"),
        (f"`{'a' * 199}b` and `c`", f"`{'a' * 199}b` and `c`"),
        (f"`start{'x' * 300}end` is long", f"`start{'x' * 94}…{'x' * 96}end` is long"),
        (f"`start {'x y' * 99} end` is long", f"`start {'x y' * 31}… y{'x y' * 31} end` is long"),
        (f"open {'x' * 300}: no", f"open {'x' * 100}…{'x' * 99}: no"),
        ("a long message of words " * 50, "a long message of words " * 50),
        ("`a` and `b` " * 50, "`a` and `b` " * 50),
    ],
)
def test_names_in_messages_are_escaped_and_shortened(text: str, printed: str) -> None:
    assert safe_message(text) == printed


@pytest.mark.parametrize("quote", ["`", ""])
def test_a_colour_in_a_name_is_an_escape(quote: str) -> None:
    assert one_line(f"{quote}\x1b[31mred{quote}") == rf"{quote}\x1b[31mred{quote}"


@given(HOSTILE)
def test_a_name_stays_in_its_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("https://user:secret@host/x", "https://***@host/x"),
        ("https://secret@host/x", "https://***@host/x"),
        ("https://me@corp.example:secret@host/x", "https://***@host/x"),
        ("https://user:sec@cret@host", "https://***@host"),
        ("https://user:sec/ret@host/x", "https://***@host/x"),
        ("git+https://secret:@host", "git+https://***@host"),
        ("oci://user:secret@host/a", "oci://***@host/a"),
        ("HTTP://USER:secret@HOST", "HTTP://***@HOST"),
        ("`https://u:secret@h`: 404", "`https://***@h`: 404"),
        ("postgresql+psycopg://results:secret@db/x", "postgresql+psycopg://results:***@db/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://h/x?password=secret&mode=1", "https://h/x?password=***&mode=1"),
        ("https://h/x?mode=1&X-Amz-Signature=secret", "https://h/x?mode=1&X-Amz-Signature=***"),
        ("https://h/x?private_token=secret#top", "https://h/x?private_token=***#top"),
        ("Authorization: Basic secret", "Authorization: Basic ***"),
        ("{'authorization': 'Bearer secret'}", "{'authorization': 'Bearer ***'}"),
        ("PRIVATE-TOKEN: secret", "PRIVATE-TOKEN: ***"),
        ("> x-api-key:secret\n> accept: x", "> x-api-key:***\n> accept: x"),
        ("{'Job-Token': 'secret'}", "{'Job-Token': '***'}"),
        ("authorization: bearer secret", "authorization: bearer ***"),
        ("AUTHORIZATION: Basic secret", "AUTHORIZATION: Basic ***"),
        ("BEARER secret", "BEARER ***"),
        ('{"Authorization": "Basic secret"}', '{"Authorization": "Basic ***"}'),
        ("AWS_SECRET_ACCESS_KEY=secret", "AWS_SECRET_ACCESS_KEY=***"),
        ("export TOKEN=secret; x", "export TOKEN=*** x"),
        ("PASSWORD='a secret' x", "PASSWORD='***' x"),
        ('MY_API_KEY="a secret"', 'MY_API_KEY="***"'),
        ('"DB_PASSWD=secret"', '"DB_PASSWD=***"'),
        ("cmake -DDEPLOY_TOKEN=secret -DA=1", "cmake -DDEPLOY_TOKEN=*** -DA=1"),
        ("CLIENT_SECRET=", "CLIENT_SECRET="),
        ("TOKEN == 5, token=5, TOKENS=5, SECRET: 5", "TOKEN == 5, token=5, TOKENS=5, SECRET: 5"),
        ("a.cpp:5: unexpected token: ;", "a.cpp:5: unexpected token: ;"),
        ("https://h/x?version=1.0", "https://h/x?version=1.0"),
    ],
)
def test_passwords_are_not_printed(text: str, printed: str) -> None:
    assert redacted(text) == printed
    assert "secret" not in safe(text)
    assert redacted(printed) == printed


def words(others: str) -> st.SearchStrategy[str]:
    """Return texts of letters, digits and some other characters."""
    characters = st.characters(categories=("L", "N"), include_characters=others)
    return st.text(characters, min_size=1, max_size=12)


@given(
    st.sampled_from(["https://{}:{}@host/path", "https://h/p?token={}{}", "http://{}:{}@h:1/"]),
    words("_.~%!$()*+-"),
    words("_.~%!$()*+-@:/"),
)
def test_no_password_of_a_url_survives(form: str, user: str, password: str) -> None:
    secret = f"{password}S3CR3T"
    assume(not re.match(r"[0-9]+/", secret))  # `host:8080/path@x`
    assert "S3CR3T" not in redacted(f"said: {form.format(user, secret)} (1)")


@pytest.mark.parametrize(
    "text", ['TOKEN="secret', 'TOKEN="a secret" x', "TOKEN='", 'https://h/?key=secret"', "TOKEN="]
)
def test_a_document_without_passwords_is_whole(text: str) -> None:
    document = {"TOKEN=": [text, "x"], "x": 'TOKEN="'}
    printed = safe_json(json.dumps(document))
    assert json.loads(printed).keys() == document.keys()
    assert "secret" not in printed


PARTS = (
    *("://", "@", "=", "=x", ":", ": x", "-", "?", "http://u:p@h/", "bearer x", "Authorization: x"),
    *("x-API-KEY", "TOKEN", "-Secret", "passwd", "\u017fecret", "ke\u212aey", "\\", '"', "a"),
)


@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=5).map("".join), max_size=3))
def test_a_document_loses_the_passwords_that_each_of_its_texts_loses(texts: list[str]) -> None:
    assert json.loads(safe_json(json.dumps(texts))) == [redacted(text) for text in texts]


@given(st.dictionaries(st.text(max_size=5), HOSTILE))
def test_a_document_says_the_same_without_commands(document: dict[str, str]) -> None:
    printed = safe_json(json.dumps(document, indent=2))
    assert json.loads(printed) == document
    assert printed.isascii()
    assert "##" not in printed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("0.5h", 1800),
        ("0s", 0),
        *((text, None) for text in ("", " ", "30", "m", "-1m", "1e3s", "1d", "30m1h", "\u0663m")),
        ("9" * 10 + "s", None),
    ],
)
def test_a_duration_is_read_as_users_write_it(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "line"),
    [("", ""), ("one", "one"), ("\n  assert 1 == 2 \n  +  where 1 = f()", "assert 1 == 2")],
)
def test_the_first_line_of_a_message_is_the_first_one_that_says_something(
    text: str, line: str
) -> None:
    assert first_line(text) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "1 s"), (6.51, "7 s"), (9.9, "10 s"), (12, "10 s"), (53, "55 s"), (58, "1 min")),
        *((120, "2 min"), (200, "3 min"), (1000, "15 min"), (3600, "1 h"), (4200, "1 h 10 min")),
    ],
)
def test_an_estimate_of_a_duration_has_few_digits(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text


@given(st.floats(0, 1e6))
def test_a_duration_is_read_as_it_is_printed(seconds: float) -> None:
    assert seconds_of(duration(seconds)) == pytest.approx(seconds, rel=0.02, abs=0.01)


def test_names_and_lines_after_the_first_ones_are_counted() -> None:
    assert leading_names([], 2) == ""
    assert leading_names(["a", "b"], 2) == "a, b"
    assert leading_names(["a", "b", "c"], 2) == "a, b and 1 more"
    assert leading_names(["a", "b", "c"], 1, "cell") == "a and 2 more cells"
    assert leading_lines(["a", "b"], 2) == ("a", "b")
    assert leading_lines(["a", "b", "c"], 1) == ("a", "and 2 more")
    assert leading_lines(["a", "b"], 1, "change") == ("a", "and 1 more change")
