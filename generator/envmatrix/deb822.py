"""Debian's control files and the order of its versions, by python-debian. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from envmatrix.errors import LookupFailed

if TYPE_CHECKING:
    from debian.debian_support import NativeVersion

# A version is part of a file's name; Python converts no number of thousands of digits.
_LONGEST = 255


def paragraphs(text: str, origin: str) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each paragraph, by name in any case; lines that are none are ignored.
    Raise LookupFailed, with the `origin` of the text, if it is no control file."""
    from debian.deb822 import Deb822  # takes long to load

    # Lines, because a text of one line would be taken for the name of a file.
    lines = text.encode("utf-8", "replace").splitlines()
    try:
        yield from Deb822.iter_paragraphs(lines)
    except ValueError as error:
        raise LookupFailed(f"{origin} is not a control file of Debian's: {error}") from error


def dpkg_key(text: str) -> tuple[bool, NativeVersion]:
    """Return a sort key: the order of dpkg, after whatever is not a version of Debian's."""
    from debian.debian_support import NativeVersion

    try:
        return True, NativeVersion(text if len(text) <= _LONGEST else "")
    except ValueError:
        return False, NativeVersion("0")
