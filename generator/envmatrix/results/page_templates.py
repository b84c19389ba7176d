"""Templates of the dashboard's pages, and the texts in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from envmatrix.console import amount_of
from envmatrix.results import failure_groups, formats, page_paths, performance, summary
from envmatrix.results.records import Revision, Run
from envmatrix.sessions.outcomes import STATE_OF
from envmatrix.text import duration, number_of

_DIRECTORY = Path(__file__).parent / "templates"
ASSETS: Mapping[str, str] = {
    "style.css": "text/css; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
}
HTML = "text/html; charset=utf-8"
# The generator in the head of every page.
GENERATOR = '<meta name="generator" content="envmatrix">'

# The most texts of badges that are kept.
_BADGES = 1_024
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def asset(name: str) -> bytes:
    return (_DIRECTORY / name).read_bytes()


def render(template: str, **values: Any) -> str:
    """Return the page of a template; all values in it are escaped."""
    return _environment().get_template(template).render(generator=GENERATOR, **values)


@lru_cache(_BADGES)
def badge(state: str, word: str) -> Markup:
    """Return a word in the colours of a state."""
    return Markup('<span class="badge {}">{}</span>').format(state, word)


def moment(seconds: float) -> str:
    """Return a moment in seconds since 1970 as text."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def commit(revision: Revision, url: str | None) -> Markup:
    """Return the short name of a revision; a commit is a link if `url` has a place for it."""
    name = Markup("<code>{}</code>").format(summary.revision_text(revision))
    if url is None or not _COMMIT.fullmatch(revision.id):
        return name
    target = url.replace("{commit}", revision.id)
    return Markup('<a href="{}" rel="external noreferrer">{}</a>').format(target, name)


def command(run: Run) -> str:
    """Return the command line that does the same as a run."""
    shard = ("--shard", run.shard) if run.shard else ()
    step = run.part.split(" ")[:1] if run.verb == "step" else []
    return shlex.join(
        ("envmatrix", "run", run.verb, *step, run.cell, "--library", run.library, *shard)
    )


def tail(log: str, lines: int) -> str:
    """Return the last lines of a log, after the number of those before them."""
    rows = log.splitlines()
    if len(rows) <= lines:
        return log
    left_out = number_of(len(rows) - lines, "line")
    return "\n".join([f"… {left_out} before; `envmatrix serve` shows all", *rows[-lines:]])


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_DIRECTORY),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"badge": badge}
    environment.filters |= {
        "cell_page": page_paths.cell_page,
        "colour": STATE_OF.__getitem__,
        "command": command,
        "count": lambda count: f"{count:,}",
        "duration": duration,
        "effect": performance.effect_text,
        "first_line": failure_groups.first_line,
        "flakiness": formats.flakiness,
        "invalid": formats.invalid_rows_text,
        "moment": moment,
        "number_of": number_of,
        "revision": summary.revision_text,
        "size": lambda count: amount_of(count, "bytes"),
        "waived": formats.waiver_text,
    }
    return environment
