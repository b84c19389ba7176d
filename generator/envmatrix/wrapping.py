"""Lines of text in the width of a terminal. Pure."""

from __future__ import annotations

import re

# Commands and names to copy: what is quoted, and a command that has a column to itself.
_WHOLE = re.compile(r"`[^`]*`|(?:(?<=  )|^)envmatrix .*")
# What is before a column, if that is not the first one.
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")
# Stands for a space at which no line is broken.
_JOINT = "\0"
_INDENTATION = 2


def wrap_lines(text: str, width: int) -> str:
    """Break lines that are wider than a terminal between words. What follows begins below the last
    column in the first half of the terminal; columns in the second half are not aligned then."""
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    from textwrap import wrap

    text = line.lstrip()
    indent = len(line) - len(text)
    line = " " * (indent if indent <= width // 2 else _INDENTATION) + text
    joined = _WHOLE.sub(lambda whole: whole[0].replace(" ", _JOINT), line)
    below = _indentation(joined, width)
    lines = wrap(
        joined[:below] + _GAP.sub("  ", joined[below:]),
        width,
        subsequent_indent=" " * below,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_JOINT, " ")


def _indentation(line: str, width: int) -> int:
    """Return the indentation of what follows: less than that of a column where that has no room for
    the longest word."""
    starts = [gap.end() for gap in _GAP.finditer(line)]
    indent = len(line) - len(line.lstrip()) + _INDENTATION
    below = max((start for start in starts if start <= width // 2), default=indent)
    return below if max(map(len, line.split())) <= width - below else _INDENTATION
