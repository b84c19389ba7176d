"""What the verbs that convert lists of tests have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.commands import display
from envmatrix.console import Console, output_document
from envmatrix.text import safe_message

if TYPE_CHECKING:
    from envmatrix.app.test_lists import Conversion

# What a list of each format becomes.
FILES: Mapping[str, str] = {"waives": "waivers.yaml", "test-db": "matrix.d/test-db.yaml"}


def write_list(
    conversion: Conversion, kind: str, target: Path | None, *, as_json: bool, console: Console
) -> None:
    """Write what lists became, to a file or to stdout, and show what is not in it."""
    from envmatrix.files import write_whole

    rows = conversion.remainders
    lines = [f"{row.position}: {safe_message(f'`{row.what}`: {row.reason}')}" for row in rows]
    if target is None:
        if conversion.text:
            output_document(conversion.text.removesuffix("\n"))
        for line in lines:
            console.say(line)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, conversion.text.encode())
        console.say(f"wrote    {target}")
        left = [
            {
                "file": row.position.file,
                "line": row.position.line,
                "column": row.position.column,
                "text": row.what,
                "reason": row.reason,
                "is_left_out": row.jobs > 0,
            }
            for row in rows
        ]
        document = {"format": kind, "converted": conversion.summary, "not_converted": left}
        display.show(document, lines, as_json=as_json)
    console.say(f"lists    {conversion.summary} converted")
