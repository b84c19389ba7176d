"""Classification of the error messages of programs: of apt, Docker and BuildKit where a server is
unreachable, needs a login or lacks something, and of Docker where the engine refuses this user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Refusal = Literal["absent", "login", "unreachable"]

UNREACHABLE = (
    r"could ?n[o']t (resolve|connect)|unable to connect|temporary failure|no such host"
    r"|connection (refused|reset|timed out)|unreachable|no route to host|timeout|timed out"
    r"|deadline exceeded"
)

# The first match counts: a registry says of a private image that it may not exist.
_WORDS: Mapping[Refusal, str] = {
    "login": r"(?<!permission )denied|unauthorized|authentication",
    "unreachable": UNREACHABLE,
    "absent": r"\b(404|410) +(not found|gone)\b|(status|error|code):? (404|410)\b"
    r"|(manifest|name) unknown|resolve .*not found|does not have a release file",
}


def refusal(message: str) -> Refusal | None:
    """Return the kind of refusal that an error message is about."""
    kinds = (kind for kind, words in _WORDS.items() if re.search(words, message, re.IGNORECASE))
    return next(kinds, None)


def refuses_user(message: str) -> bool:
    """Return whether Docker says that this user may not open the engine's socket; ssh's message
    `permission denied (publickey)` is not that."""
    return re.search(r"permission denied(?! \()", message, re.IGNORECASE) is not None
