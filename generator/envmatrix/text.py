"""Text from outside, made safe to print: no control characters, no commands to a CI system, no
passwords, no tokens."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

_REDACTED = "***"

# Expressions are compiled when they are needed: most verbs need few.

# Colours and cursor movements as compilers print them: removed.
_ESCAPE_SEQUENCE = r"\x1b\[[0-?]*[ -/]*[@-~]"

# Names in messages: what is quoted, and other words. The most characters of one, without quotes.
_LONGEST_NAME = 200
_LONG_NAME = re.compile(rf"`[^`\n]*`|\S{{{_LONGEST_NAME + 1},}}")

# Text that a CI system interprets as a command in a log. GitHub: `::error::` at the beginning
# of a line, `##[error]` anywhere. Azure Pipelines: `##vso[`. TeamCity: `##teamcity[`. GitLab:
# `section_start:`.
_WORKFLOW_COMMAND = r"(?m)^(?P<space>\s*):(?=:)|##(?=\w*\[)|(?P<section>section)_(?=(?:start|end):)"

# Text that Buildkite interprets as the beginning of a group of lines, or as a command to open one.
_GROUP = r"(?m)^(?=(?:---|\+\+\+|~~~)(?:\s|$)|\^\^\^[ \t]+\+\+\+)"

# The part of a URL before its host; a password with a `/` that is not escaped as well, unless it
# reads as a port.
_USERINFO = (
    r"(?i)(?P<scheme>[a-z][\w+.-]*)://"
    r"(?P<userinfo>[^\s/?#:'\"`]*:(?![0-9]+(?:[/?#]|$))[^\s'\"`]*|[^\s/?#'\"`]*)@"
)
# The user of these is often a token; that of `ssh://git@` or of a database is a name.
_TOKEN_SCHEMES = ("http", "https", "oci")
_SECRET_PARAMETER = (
    r"(?i)(?P<name>[?&;#][\w.~%-]*(?:pass|pwd|token|secret|key|auth|sig|cred|jwt)[\w.~%-]*=)"  # noqa: S105
    r"[^\s&;#'\"`<>]+"
)
_AUTHORIZATION = (
    r"(?i)(?P<name>\bauthorization['\"]?:[ \t]*['\"]?(?:\w+[ \t]+)?|\bbearer[ \t]+)"
    r"(?P<value>[^\s'\"`,]+)"
)

_ENDINGS = "TOKEN|SECRET|PASSWORD|PASSWD|API.KEY|ACCESS.KEY|PRIVATE.KEY"
# A value after a quote may have spaces.
_VALUE = r"(?:(?<=\")[^\"\n]+|(?<=')[^'\n]+|[^\s'\"`]+)"
# `AWS_SECRET_ACCESS_KEY=...`, but not `TOKEN == ...`.
_ASSIGNMENT = rf"(?P<name>\b[A-Z0-9_]*(?:{_ENDINGS})=(?!=)['\"]?){_VALUE}"
# `PRIVATE-TOKEN: ...`, `x-api-key: ...`.
_HEADER = rf"(?i)(?P<name>(?<![\w-])[\w-]*-(?:{_ENDINGS})['\"]?:[ \t]*['\"]?){_VALUE}"
# Each text that one of these expressions matches has one of these, in any case.
_MARKS = ("://", "=", "authorization", "bearer", "token", "secret", "passw", "key")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'


def number_of(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 cell`, `2 cells`."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def leading_names(names: Sequence[str], most: int, noun: str = "") -> str:
    """Return the first `most` names and the number of the others: `a, b and 3 more cells`."""
    more = _number_left(names, most, noun)
    return f"{', '.join(names[:most])}{more and f' {more}'}"


def leading_lines(lines: Sequence[str], most: int, noun: str = "") -> tuple[str, ...]:
    """Return the first `most` lines, and one with the number of the others: `and 3 more cells`."""
    more = _number_left(lines, most, noun)
    return (*lines[:most], *([more] if more else []))


def _number_left(items: Sequence[str], most: int, noun: str) -> str:
    left = len(items) - most
    noun, plural = (f"more {noun}", None) if noun else ("more", "more")
    return f"and {number_of(left, noun, plural)}" if left > 0 else ""


def safe(text: str) -> str:
    """Return `text` without passwords, control characters and commands to a CI system."""
    return printable(redacted(text))


def safe_message(text: str) -> str:
    """Return a message of this program that is safe to print. All control characters are those of
    names in it: they are escaped, also in colours. Long names are shortened in the middle."""
    return _LONG_NAME.sub(_shortened, printable(_escape_colours(redacted(text))))


def _shortened(match: re.Match[str]) -> str:
    """Return a name without its middle, and with the quotes that it has."""
    half = _LONGEST_NAME // 2
    name = match[0]
    return name if len(name) <= _LONGEST_NAME + 2 else f"{name[:half]}…{name[-half:]}"


def safe_json(text: str) -> str:
    """Return a JSON document of ASCII characters, as `json.dumps` writes it, that is safe and
    equivalent."""
    if not _is_harmless(text):
        text = _without_passwords(text)
    return text.replace("##", "#\\u0023") if "#" in text else text


def _without_passwords(text: str) -> str:
    literals = set(re.findall(_STRING, text))  # most occur often
    safe_literals = {literal: _safe_string(literal) for literal in literals}
    if all(literal == safe_literal for literal, safe_literal in safe_literals.items()):
        return text
    return re.sub(_STRING, lambda match: safe_literals[match[0]], text)


def _is_harmless(text: str) -> bool:
    """Return whether a JSON document has nothing that a password could be recognised by."""
    if "\\" in text:  # an escape may be a letter that equals one of another case
        return False
    lower_case = text.lower()
    return not any(mark in lower_case for mark in _MARKS)


def _safe_string(literal: str) -> str:
    """Return a string of a JSON document without passwords."""
    text = json.loads(literal) if "\\" in literal else literal[1:-1]
    safe_text = redacted(text)
    return literal if safe_text == text else json.dumps(safe_text)


def printable(text: str) -> str:
    r"""Return `text` with control characters as escapes: `\x07`, `\u202e`.

    Line breaks stay. Commands to a CI system are escaped as well: `\x3a:error::`. A line that
    Buildkite interprets as the beginning of a group is indented, so that a diff can be read.
    """
    if not text.isprintable():
        text = re.sub(_ESCAPE_SEQUENCE, "", text.replace("\r\n", "\n"))
        text = "".join(map(_escape, text))
    if "::" in text or "##" in text or "section_" in text:
        text = re.sub(_WORKFLOW_COMMAND, _defuse, text)
    return re.sub(_GROUP, " ", text)


def one_line(text: str) -> str:
    """Return a name from outside, with line breaks, tabs and colours as escapes as well."""
    text = _escape_colours(text)
    return printable(text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r"))


def first_line(text: str) -> str:
    """Return the first line of a text that says something; "" where none does."""
    return text.strip().partition("\n")[0].rstrip()


def _escape_colours(text: str) -> str:
    return text.replace("\x1b", "\\x1b")


def _escape(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        code -= 0xDC00
    if code <= 0xFF:
        return "\\r" if character == "\r" else f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _defuse(command: re.Match[str]) -> str:
    if command["section"]:
        return f"{command['section']}\\x5f"
    return f"{command['space']}\\x3a" if command["space"] is not None else "#\\x23"


def redacted(text: str) -> str:
    """Return `text` with the passwords in URLs, HTTP headers and assignments as `***`."""
    if "://" in text and "@" in text:
        text = re.sub(_USERINFO, _without_password, text)
    if "=" in text:
        text = re.sub(_SECRET_PARAMETER, rf"\g<name>{_REDACTED}", text)
        text = re.sub(_ASSIGNMENT, rf"\g<name>{_REDACTED}", text)
    lower = text.lower()
    if "bearer" in lower or "authorization" in lower:
        text = re.sub(_AUTHORIZATION, rf"\g<name>{_REDACTED}", text)
    if ":" in text and "-" in text:
        text = re.sub(_HEADER, rf"\g<name>{_REDACTED}", text)
    return text


def _without_password(url: re.Match[str]) -> str:
    user, colon, _ = url["userinfo"].partition(":")
    if url["scheme"].lower().rpartition("+")[2] in _TOKEN_SCHEMES:
        user, colon = _REDACTED, ""
    return f"{url['scheme']}://{user}{f':{_REDACTED}' if colon else ''}@"


_DURATION = (
    r"(?a)(?:(?P<hours>\d{1,9}(?:\.\d{1,9})?) ?h)?"
    r" ?(?:(?P<minutes>\d{1,9}(?:\.\d{1,9})?) ?m(?:in)?)?"
    r" ?(?:(?P<seconds>\d{1,9}(?:\.\d{1,9})?) ?s)?"
)


def seconds_of(text: str) -> float | None:
    """Return the seconds of a duration: 90s, 30m, 1h30m, or as `duration` formats it; None of any
    other text."""
    match = re.fullmatch(_DURATION, text.strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds = (float(number or 0) for number in match.groups())
    return (hours * 60 + minutes) * 60 + seconds


def duration(seconds: float) -> str:
    """Format a duration: 0.25 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def rough_duration(seconds: float) -> str:
    """Format an estimate of a duration by one or two digits: 7 s, 50 s, 2 min, 1 h 10 min."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 55:
        return f"{round(seconds / 5) * 5} s"
    minutes = max(1, round(seconds / 60))
    if minutes > 10:
        minutes = round(minutes / 5) * 5
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest))
