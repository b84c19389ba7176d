"""Pages of the documentation site are in its navigation, and generated ones are up to date."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from website import pictures, reference
from website.messages import Message, messages
from website.staging import sources, stage

ROOT = Path(__file__).parents[2]
RECORDING = "terminal.svg"


class _Configuration(yaml.SafeLoader):
    """mkdocs.yml names functions of Python, which are not needed here."""


_Configuration.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def pages_of(entry: Any) -> Iterator[str]:
    """Yield the pages of an entry of the navigation."""
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry:
        if not isinstance(entry, str):
            yield from pages_of(inner)


def test_every_page_is_in_the_navigation_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    navigation = [*pages_of(yaml.load(text, _Configuration)["nav"])]  # noqa: S506
    assert sorted(navigation) == sorted(str(path) for path in sources(ROOT) if path.suffix == ".md")


def test_pages_keep_their_paths_and_earlier_copies_are_removed(tmp_path: Path) -> None:
    (tmp_path / "earlier.md").touch()
    stage(ROOT, tmp_path)
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {*sources(ROOT)}
    assert Path("docs/how-to/jetson.md") in files


@pytest.mark.parametrize(("name", "text"), reference.pages().items(), ids=lambda value: value[:30])
def test_a_page_of_the_reference_is_up_to_date(name: str, text: str) -> None:
    assert (reference.DIRECTORY / name).read_text("utf-8") == text, "write it: `./noxw -s docs`"


def test_the_reference_has_no_page_of_something_removed() -> None:
    files = reference.DIRECTORY.rglob("*.md")
    written = {str(path.relative_to(reference.DIRECTORY)) for path in files}
    assert written == reference.pages().keys()


@pytest.mark.parametrize(("name", "text"), pictures.pictures().items(), ids=lambda value: value[:9])
def test_a_picture_is_up_to_date(name: str, text: str) -> None:
    assert (pictures.DIRECTORY / name).read_text("utf-8") == text, "write it: `./noxw -s docs`"


def test_every_picture_is_drawn_and_used() -> None:
    files = {path.name for path in pictures.DIRECTORY.iterdir()}
    assert files == {*pictures.pictures(), RECORDING}
    text = "".join(
        (ROOT / page).read_text("utf-8") for page in sources(ROOT) if page.suffix == ".md"
    )
    assert {name for name in files if f"pictures/{name})" not in text} == set()


@pytest.mark.parametrize("name", [*pictures.pictures(), RECORDING])
def test_a_picture_is_small_and_loads_nothing(name: str) -> None:
    text = (pictures.DIRECTORY / name).read_text("utf-8")
    root = ElementTree.fromstring(text)  # noqa: S314
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    assert len(text) < 100_000
    assert not re.search(r"href|@import|url\((?!#)|<script|<image", text)


def test_the_recording_has_no_path_of_the_machine_that_made_it() -> None:
    text = (pictures.DIRECTORY / RECORDING).read_text("utf-8")
    assert not re.search(r"/(?:home|root|tmp|work)\b", text)
    assert "envmatrix test" in text


def test_messages_of_errors_have_their_hints_and_marks_for_what_varies() -> None:
    code = """
_HINT = "look twice"
def check(name):
    raise Wrong(f"there is no `{name}`", hint=_HINT)
    raise Wrong(name)
    raise Other("not one of these")
    Problem("a place is wrong", hint=f"see {name}")
"""
    rows = messages({"matrix.checks": ast.parse(code)}, {"Wrong"})
    assert rows == [
        Message("ConfigurationError", "matrix", "a place is wrong", "see …"),
        Message("Wrong", "matrix", "there is no `…`", "look twice"),
    ]
