"""The commands of the tutorial, which tests and the recording run. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Sequence[str]:
    """Return the shell commands of a page, one text for each block."""
    return _BLOCK.findall(page)
