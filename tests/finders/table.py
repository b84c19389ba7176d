"""The table of docs/discovery.md: what build systems look for, by how they are invoked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROBES = Path(__file__).parent / "probes"
PAGE = Path(__file__).parents[2] / "docs/discovery.md"

# What a check found, by the status that it ended with.
WORDS = {0: "yes", 77: "—"}

_TABLE = re.compile(r"<!-- (?P<name>\w+) -->\n(?P<text>.*?)<!-- /(?P=name) -->", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """A way to invoke a build, with CUDA from one source."""

    source: str
    way: str

    def __str__(self) -> str:
        return f"{self.source}, {self.way}"


# The cells whose images have CUDA of a source.
ENVIRONMENTS = {"Debian": "cuda12.4-cudnn9.10-debian12", "wheels": "cuda13.5-cudnn9.28-debian12"}
WAYS = ("native", "cross", "emulated", "docker run", "docker run, cross", "dev container", "shell")
COLUMNS = tuple(Column(source, way) for source in ENVIRONMENTS for way in WAYS)


def checks() -> Mapping[str, str]:
    """Return the title of each check by its name."""
    return {
        file.stem: file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for file in sorted(PROBES.glob("checks/*.sh"))
    }


def word(status: int) -> str:
    return WORDS.get(status, "no")


def rendered(source: str, words: Mapping[Column, Mapping[str, str]]) -> str:
    """Return the table of one source, where what was not run stays empty."""
    columns = [column for column in COLUMNS if column.source == source]
    rows = [
        f"| {title} | {' | '.join(words.get(column, {}).get(name, '') for column in columns)} |"
        for name, title in checks().items()
    ]
    head = [
        f"| looked for | {' | '.join(column.way for column in columns)} |",
        f"|{'---|' * (len(columns) + 1)}",
    ]
    return "".join(f"{row}\n" for row in (*head, *rows))


def read(text: str) -> Mapping[Column, Mapping[str, str]]:
    """Return what a page says: by column, the word of each check."""
    page: dict[Column, dict[str, str]] = {}
    names = {title: name for name, title in checks().items()}
    for table in _TABLE.finditer(text):
        head, _, *rows = (cells(line) for line in table["text"].splitlines() or ["", ""])
        for title, *words in rows:
            for way, cell in zip(head[1:], words, strict=True):
                if title in names:
                    page.setdefault(Column(table["name"], way), {})[names[title]] = cell
    return page


def cells(line: str) -> Sequence[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def replaced(text: str, results: Mapping[Column, Mapping[str, int]]) -> str:
    """Return a page with `found` in its tables, and all else as it was."""
    words = dict(read(text))
    for column, statuses in results.items():
        words[column] = {name: word(status) for name, status in statuses.items()}
    return _TABLE.sub(
        lambda table: (
            f"<!-- {table['name']} -->\n{rendered(table['name'], words)}<!-- /{table['name']} -->"
        ),
        text,
    )
