"""Names that programs between a person and a test may take for something else than text."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
from collections.abc import Sequence

from tests.adopter import Subject

MARK, LIBRARY = "pwned", "names"

# Quotes, expansions, expressions of engines, YAML, terminals, HTML, Markdown, paths, Unicode.
NAMES: Sequence[str] = (
    "it's",
    'a "quoted" word',
    "';touch pwned;'",
    '";touch pwned;"',
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}",
    "$HOME",
    "${{ github.token }}",
    "${{ secrets.GITHUB_TOKEN }}",
    "${println 'pwned'}",
    "${'touch pwned'.execute()}",
    "$CI_JOB_TOKEN",
    "$[[ inputs.job ]]",
    "%0A::error::pwned",
    "::error file=a::pwned",
    "::add-mask::a",
    "##[group]pwned",
    "a\n::error::pwned",
    "a\r\nb",
    "a\tb",
    "&anchor",
    "*alias",
    "!reference [a, script]",
    "key: value # comment",
    "<<: *default",
    "- item",
    "--output=pwned",
    "-rf",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "section_start:0:pwned\r\x1b[0K",
    "<script>alert(1)</script>",
    "<!-- comment -->",
    "[link](javascript:alert(1))",
    "| a | b |",
    "\\'; \\\\ \\n",
    "%s %n {0} {{ env.X }}",
    "\u202egnp.exe",
    "\U0001f680\u200d\U0001f4a5 e\u0301",
    "x" * 300,
)


# https://git-scm.com/docs/git-check-ref-format
_NOT_IN_BRANCHES = r"[\x00-\x20\x7f~^:?*\[\\/]|@\{"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# The test checks the name that reaches it against its hash, so that it knows nothing but what
# arrived.
ARRIVES = 'test "$(printf %s "$1" | sha256sum | cut -d " " -f 1)" = "$2"'
FILES_ARRIVE = (
    'test "$(cd /src/files && find . -type f -print0 | LC_ALL=C sort -z | sha256sum | '
    'cut -d " " -f 1)" = "$1"'
)


def command(name: str) -> str:
    """Return the command of a test that passes if this name arrives as its argument."""
    return f"sh /src/test.sh {shlex.quote(name)} {digest(name)}"


def is_file_name(name: str) -> bool:
    return "/" not in name and len(name.encode()) <= 255


def branch_of(name: str) -> str | None:
    """Return a name of a branch that has what git admits of a name; None where it admits none."""
    branch = f"b/{re.sub(_NOT_IN_BRANCHES, '_', name)}"
    check = ("git", "check-ref-format", "--branch", branch)
    is_valid = subprocess.run(check, capture_output=True, check=False).returncode == 0
    return branch if is_valid and is_file_name(branch.removeprefix("b/")) else None


def subject(cell: str) -> Subject:
    """Return a library with a test, a file and a waiver for each name."""
    files = {f"files/{name}": name for name in NAMES if is_file_name(name)}
    listed = sorted(f"./{name}\0".encode() for name in NAMES if is_file_name(name))
    commands = (
        *map(command, NAMES),
        f"sh /src/list.sh {hashlib.sha256(b''.join(listed)).hexdigest()}",
        *(f"sh /src/fail.sh {number}" for number in range(len(NAMES))),
    )
    scripts = {"list.sh": FILES_ARRIVE, "fail.sh": "exit 1"}
    return Subject(LIBRARY, cell, ARRIVES, "waived", commands, "", {**scripts, **files})


def waivers() -> str:
    """Return waivers, one for each name: of a test whose number it is, with the name as its bug
    and its owner."""
    rows = (
        json.dumps(
            {
                "test": f"sh /src/fail.sh {number}",
                "library": LIBRARY,
                "owner": name,
                "bug": name,
                "expires": "2199-12-31",
            },
            ensure_ascii=False,  # YAML has no pairs of surrogates
        )
        for number, name in enumerate(NAMES)
    )
    return "".join(("version: '1'\nwaivers:\n", *(f"  - {row}\n" for row in rows)))
