"""Conversion of lists of tests and of tests that are known to fail, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import yaml

from envmatrix.adoption.imports import test_db
from envmatrix.adoption.imports.formats import parse_source
from envmatrix.adoption.imports.jobs import Remainder, brief, merged
from envmatrix.adoption.imports.text import matrix_text
from envmatrix.app.imports import source_content
from envmatrix.errors import ConfigurationError, Problem
from envmatrix.facts.model import load_facts
from envmatrix.matrix.library import Library
from envmatrix.records import dataclass
from envmatrix.results import waives
from envmatrix.results.waivers import Waiver, load_waivers, waivers_text
from envmatrix.text import leading_names, number_of

WAIVES, TEST_DB = "waives", "test-db"
_SCHEMA = "./matrix.schema.json", "../matrix.d.schema.json"
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """What waivers need that lists do not have, and the library that tests are of."""

    owner: str | None = None
    expires: date | None = None
    library: str | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """A text, what it has, and what of the source is not in it."""

    text: str
    summary: str
    remainders: tuple[Remainder, ...]


def list_format(files: Sequence[Path]) -> str | None:
    """Return the format of files if they are lists of tests."""
    contents = {str(file): source_content(file) for file in files}
    if all(_is_waives(content) for content in contents.values()):
        return WAIVES
    try:
        sources = [parse_source(content, name) for name, content in contents.items()]
    except ConfigurationError:
        return None
    return TEST_DB if all(map(test_db.suits, sources)) else None


def import_list(files: Sequence[Path], format_name: str, terms: Terms, today: date) -> Conversion:
    """Convert lists of a format. Raise ConfigurationError where nothing of them can be."""
    contents = {str(file): source_content(file) for file in files}
    if format_name == WAIVES:
        return _import_waives(contents, terms, today)
    return _import_test_db(contents, terms.library)


def export_waives(root: Path) -> Conversion:
    """Return the waivers of a repository as waives.txt."""
    waivers = load_waivers(root)
    text, lost = waives.list_text(waivers)
    remainders = (Remainder("", (row.text,), row.reason, row.position, jobs=1) for row in lost)
    count = number_of(len(text.splitlines()), "test")
    return Conversion(text, f"{count} of {number_of(len(waivers), 'waiver')}", merged(remainders))


def export_test_db(libraries: Sequence[Library]) -> Conversion:
    """Return the tests of libraries as contexts of test-db."""
    contexts, remainders = test_db.lists_of(libraries)
    document = {"version": "0.0.1", **contexts}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)
    return Conversion(text, number_of(len(contexts), "context"), merged(remainders))


def _import_waives(contents: Mapping[str, bytes], terms: Terms, today: date) -> Conversion:
    owner, expires = _require_terms(terms, today)
    chosen = waives.Terms(owner, expires, terms.library or "*", load_facts().gpus)
    items = [
        item
        for name, content in contents.items()
        for item in waives.waivers_of(_text(content, name), name, chosen)
    ]
    waivers = [item for item in items if isinstance(item, Waiver)]
    lost = [item for item in items if isinstance(item, waives.Lost)]
    if not waivers:
        raise ConfigurationError(
            f"no line of `{next(iter(contents))}` can be a waiver",
            *(Problem(f"`{brief(row.text)}`: {row.reason}", row.position) for row in lost),
        )
    remainders = tuple(
        Remainder("", (row.text,), row.reason, row.position, jobs=int(row.is_whole)) for row in lost
    )
    left = sum(row.is_whole for row in lost)
    summary = f"{len(waivers)} of {number_of(len(waivers) + left, 'line')}"
    return Conversion(waivers_text(waivers), summary, remainders)


def _require_terms(terms: Terms, today: date) -> tuple[str, date]:
    """Return the owner and the last day of waivers; raise ConfigurationError without them."""
    problems = []
    if not terms.owner:
        problems.append(Problem("a waiver needs an owner", hint="name a person: `--owner ana`"))
    if terms.expires is None:
        hint = "name its last day: `--expires 2027-01-31`"
        problems.append(Problem("a waiver needs a day of expiry", hint=hint))
    elif terms.expires < today:
        problems.append(Problem(f"`--expires {terms.expires}` has passed"))
    if problems or terms.expires is None:
        raise ConfigurationError(*problems)
    return terms.owner or "", terms.expires


def _import_test_db(contents: Mapping[str, bytes], library: str | None) -> Conversion:
    sources = [parse_source(content, name) for name, content in contents.items()]
    problems = [problem for source in sources for problem in source.document.problems]
    if problems:
        raise ConfigurationError(*problems)
    listing = test_db.libraries_of(sources, library, load_facts().gpus)
    if not listing.libraries:
        raise ConfigurationError(
            f"no test of `{next(iter(contents))}` can be converted",
            *(Problem(f"`{row.what}`: {row.reason}", row.position) for row in listing.remainders),
        )
    names = leading_names([Path(name).name for name in contents], _MOST_NAMES)
    document = {"reason": f"the tests of {names}", "libraries": listing.libraries}
    text = matrix_text(document, [f"Converted by `envmatrix import` from {names}."])
    summary = f"{listing.converted} of {number_of(listing.count, 'test')}"
    return Conversion(text.replace(*_SCHEMA, 1), summary, merged(listing.remainders))


def _is_waives(content: bytes) -> bool:
    return waives.is_list(content.decode("utf-8-sig", "replace"))


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"`{name}` is no text in UTF-8") from error
