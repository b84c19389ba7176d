"""What apt, Docker and BuildKit say of a server, in their own words: whether it has not what it was
asked for, wants a login, or does not answer; and what Docker says of an engine that refuses this
user. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Refusal = Literal["absent", "login", "unreachable"]

# What lets a user ask the engine.
JOIN_GROUP = "run `sudo usermod -aG docker $USER` and log in again"

# The first that matches: a registry says of an image that it hides that it may not exist.
_WORDS: Mapping[Refusal, str] = {
    "login": r"(?<!permission )denied|unauthorized|authentication",
    "unreachable": r"could ?n[o']t (resolve|connect)|unable to connect|temporary failure"
    r"|no such host|connection (refused|reset|timed out)|unreachable|no route to host|timeout"
    r"|timed out|deadline exceeded",
    "absent": r"\b(404|410) +(not found|gone)\b|(status|error|code):? (404|410)\b"
    r"|(manifest|name) unknown|resolve .*not found|does not have a release file",
}


def refusal(said: str) -> Refusal | None:
    """What a server did that a program says this of."""
    found = (kind for kind, words in _WORDS.items() if re.search(words, said, re.IGNORECASE))
    return next(found, None)


def refuses_user(said: str) -> bool:
    """Return whether Docker says that this user may not open the engine's socket; what ssh says of
    a key, `permission denied (publickey)`, is not that."""
    return re.search(r"permission denied(?! \()", said, re.IGNORECASE) is not None
