"""How messages name pages of the documentation, of which a wheel has no file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import envmatrix
from envmatrix.documentation import page, site_among

PACKAGE = Path(envmatrix.__file__).parent
PAGES = PACKAGE.parents[1] / "docs"
# Comments and docstrings are for readers of the source.
_STRING = re.compile(r"""(?<!")"[^"\n]*\bdocs/[\w/-]+\.md[^"\n]*"(?!")""")


def test_a_page_has_the_address_of_the_site_or_its_name() -> None:
    assert page("matrix") == "the page `matrix` of the documentation"
    urls = ("Source, https://code.example/x", "Documentation, https://docs.example/x/")
    assert site_among(urls) == "https://docs.example/x/"
    assert site_among(urls[:1]) is None


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.name)
def test_no_message_names_a_file_that_a_wheel_lacks(file: Path) -> None:
    text = file.read_text("utf-8")
    assert not _STRING.findall(text)
    for name in re.findall(r"\bpage\('([\w/-]+)'\)", text):
        assert (PAGES / f"{name}.md").exists()
