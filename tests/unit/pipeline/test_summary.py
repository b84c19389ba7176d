"""The page of a pipeline shows every name as it is, whatever it has in it."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.pipeline.summary import escaped


@given(st.text(max_size=300))
def test_text_is_page_as_it_is_and_means_nothing(text: str) -> None:
    page = escaped(text)
    assert not re.search(r"[<>`*|\[\]\\\n\r~!@:#$'\"]", re.sub(r"&#\d+;", "", page))
    if text.isalnum():
        assert page == text


def test_what_a_page_shows_is_the_text() -> None:
    for text in ("a|b", "<img src=x>", "`x`", "**x**", "[a](b)", "x86_64", "_x_", "@all", "::x"):
        assert html.unescape(escaped(text)) in (text, text.replace("::", "\\x3a:"))


def test_escapes_of_terminals_and_directions_are_words() -> None:
    assert "\x1b" not in escaped("\x1b[31m")
    assert "\u202e" not in escaped("a\u202eb")
