"""Waivers of failures, each with an owner, a bug and a day of expiry: waivers.yaml, waivers.d."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from envmatrix.documents import load_document
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.matrix.scalars import Some, Text
from envmatrix.matrix.validation import read_document
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Place
from envmatrix.text import one_line

FILE = "waivers.yaml"
# Each file in it has waivers as well: branches that add files do not conflict.
DIRECTORY = "waivers.d"

# What YAML reads as the same text without quotes, also between braces, where a date is none.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_OTHER_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
# How names of tests tell the step that they are of, and the machine that they ran on.
_STEP = re.compile(r"[a-z][a-z0-9._-]*: ")
_ON = " on "
# The most characters of a bug in the name of a file.
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A failure that fails nothing until its day has passed. `test` matches the names of tests, and
    of steps that failed as `step:compile`; names may be globs. With a `machine`, `test` is the name
    without the step and the machine that are part of it, and `machine` a glob of the machines that
    are meant, or of a word of their names, in any case; `*` means all. A `note` is for people."""

    test: Text
    library: Text = "*"
    cell: Text = "*"
    machine: Text | None = None
    owner: Text
    bug: Text
    expires: date
    note: Text | None = None
    position: Annotated[Position, Place()]

    def covers(self, library: str, cell: str, test: str) -> bool:
        if not (fnmatchcase(library, self.library) and fnmatchcase(cell, self.cell)):
            return False
        if self.machine is None:
            return fnmatchcase(test, self.test)
        return any(
            fnmatchcase(name, self.test) and fnmatchcase(word, self.machine.lower())
            for name, machine in _parts(test)
            for word in (machine, *machine.split("-"))
        )

    def has_expired(self, today: date) -> bool:
        return today > self.expires


@dataclass(frozen=True, slots=True)
class WaiverFile:
    """The waivers of a repository."""

    version: Literal["1"]
    waivers: Some[Waiver]


def load_waivers(root: Path) -> tuple[Waiver, ...]:
    """Return the waivers of the repository in the order of its files; none without a file."""
    files = [root / FILE] if (root / FILE).exists() else []
    files += sorted(path for path in (root / DIRECTORY).glob("*.yaml") if path.name[0] != ".")
    waivers, problems = list[Waiver](), [*_misnamed(root)]
    for file in files:
        document = load_document(file, file.relative_to(root).as_posix())
        reading = read_document(WaiverFile, document)
        problems += reading.document.problems
        waivers += reading.contents.waivers if reading.contents else ()
    if problems:
        raise ConfigurationError(*problems)
    return tuple(waivers)


def _misnamed(root: Path) -> Iterator[Problem]:
    """Yield the files of the directory that would be left out because of their names."""
    for path in sorted((root / DIRECTORY).glob("*.yml")):
        name = f"{DIRECTORY}/{path.name}"
        yield Problem(f"`{one_line(name)}` is not read", hint="name it `*.yaml`")


def waivers_text(waivers: Iterable[Waiver]) -> str:
    """Return a file of waivers: one in a line, sorted, so that versions can be merged."""
    lines = sorted({f"  - {_line(waiver)}\n" for waiver in waivers})
    return f'version: "1"\nwaivers:\n{"".join(lines)}'


def file_of(waiver: Waiver) -> str:
    """Return the name of a file of its own for a waiver, which no other waiver has."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"^https?://", "", waiver.bug.lower()), re.ASCII)
    name = "-".join(words)[:_LONGEST_NAME].strip("-") or "bug"
    identity = "\0".join((waiver.test, waiver.library, waiver.cell, waiver.machine or ""))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return f"{DIRECTORY}/{name}-{digest}.yaml"


def _line(waiver: Waiver) -> str:
    """Return a waiver as a mapping in one line, without what it has by default."""
    values = {
        "test": waiver.test,
        "library": waiver.library if waiver.library != "*" else None,
        "cell": waiver.cell if waiver.cell != "*" else None,
        "machine": waiver.machine,
        "owner": waiver.owner,
        "bug": waiver.bug,
        "expires": waiver.expires.isoformat(),
        "note": waiver.note,
    }
    fields = (f"{key}: {_scalar(key, value)}" for key, value in values.items() if value)
    return f"{{{', '.join(fields)}}}"


def _scalar(key: str, text: str) -> str:
    if key == "expires" or (_PLAIN.fullmatch(text) and text.lower() not in _OTHER_WORDS):
        return text
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(character: str) -> str:
    """Return a character as YAML has it within quotes, where people see all that is there."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _parts(test: str) -> Iterator[tuple[str, str]]:
    """Yield what the name of a test may consist of: its name without a step, and a machine."""
    for name in dict.fromkeys((test, _STEP.sub("", test, count=1))):
        yield name, ""
        bare, on, machine = name.rpartition(_ON)
        if on:
            yield bare, machine


def waiver_of(
    waivers: Sequence[Waiver], library: str, cell: str, test: str, today: date
) -> Waiver | None:
    """Return the first waiver that covers a failure and has not expired."""
    covering = (waiver for waiver in waivers if waiver.covers(library, cell, test))
    return next((waiver for waiver in covering if not waiver.has_expired(today)), None)
