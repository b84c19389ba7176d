"""The identity of an image before it is built: a hash of every line of its Dockerfile that
it depends on, in which each file stands by its sha256 and the base by its content. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

# How images are built and exported: raise it when that changes what comes out.
_BUILD = 2

_FROM = re.compile(r"FROM (?:--platform=\S+ )?(?P<parent>\S+) AS (?P<name>\S+)")
_USE = re.compile(r"from=(?P<stage>[^\s,]+)")


@dataclass(frozen=True, slots=True)
class StageText:
    """`sha256` (hex) is that of the text."""

    name: str
    text: str
    uses: tuple[str, ...]
    sha256: str


@lru_cache(maxsize=64)  # each Dockerfile has several images
def stages(dockerfile: str) -> Mapping[str, StageText]:
    """The stages of a generated Dockerfile by name; "" is what stands before the first."""
    found = {}
    for block in re.split(r"(?m)^(?=FROM )", dockerfile):
        text = "\n".join(line for line in block.splitlines() if line and not line.startswith("#"))
        start = _FROM.match(text)
        name = start["name"] if start else ""
        parents = (start["parent"],) if start else ()
        uses = (*parents, *_USE.findall(text))
        found[name] = StageText(name, text, uses, hashlib.sha256(text.encode()).hexdigest())
    return found


def stage_hashes(dockerfile: str, target: str, arch: str) -> Mapping[str, str]:
    """Stage -> sha256 (hex) of its text, for all stages that `target` for `arch` depends on.

    Stages of the build host (`BUILDARCH`) only unpack, and leave no trace; they do not count.
    """
    known = stages(dockerfile)
    names = sorted(set(_reachable(known, target, arch)) | {""})
    return {name: known[name].sha256 for name in names}


def fingerprint(hashes: Mapping[str, str], arch: str) -> str:
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(f"{_BUILD} linux/{arch}\n{text}".encode()).hexdigest()


def _reachable(known: Mapping[str, StageText], name: str, arch: str) -> Iterator[str]:
    stage = known.get(name.replace("${TARGETARCH}", arch))
    if stage is not None:
        yield stage.name
        for used in stage.uses:
            yield from _reachable(known, used, arch)
