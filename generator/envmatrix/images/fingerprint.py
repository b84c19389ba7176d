"""The fingerprint of an image before it is built: a hash of the lines of its Dockerfile that it
depends on, which name files by sha256 and the base by its content. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

# The version of building and exporting: raise it when a change of these changes images.
_BUILD = 2

_FROM = re.compile(r"FROM (?:--platform=\S+ )?(?P<parent>\S+) AS (?P<name>\S+)")
_USE = re.compile(r"from=(?P<stage>[^\s,]+)")


@dataclass(frozen=True, slots=True)
class StageText:
    """A stage of a Dockerfile; `sha256` (hex) is that of `text`."""

    name: str
    text: str
    uses: tuple[str, ...]
    sha256: str


@lru_cache(maxsize=64)  # each Dockerfile has several images
def stages(dockerfile: str) -> Mapping[str, StageText]:
    """Return the stages of a generated Dockerfile by name; "" is the text before the first."""
    by_name = {}
    for block in re.split(r"(?m)^(?=FROM )", dockerfile):
        text = "\n".join(line for line in block.splitlines() if line and not line.startswith("#"))
        start = _FROM.match(text)
        name = start["name"] if start else ""
        parents = (start["parent"],) if start else ()
        uses = (*parents, *_USE.findall(text))
        by_name[name] = StageText(name, text, uses, hashlib.sha256(text.encode()).hexdigest())
    return by_name


def stage_hashes(dockerfile: str, target: str, arch: str) -> Mapping[str, str]:
    """Return the sha256 (hex) of the text of each stage that `target` for `arch` depends on, by
    name.

    Stages of the build host (`BUILDARCH`) are left out: they only unpack.
    """
    by_name = stages(dockerfile)
    names = sorted(set(_reachable(by_name, target, arch)) | {""})
    return {name: by_name[name].sha256 for name in names}


def fingerprint(hashes: Mapping[str, str], arch: str) -> str:
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(f"{_BUILD} linux/{arch}\n{text}".encode()).hexdigest()


def _reachable(by_name: Mapping[str, StageText], name: str, arch: str) -> Iterator[str]:
    stage = by_name.get(name.replace("${TARGETARCH}", arch))
    if stage is not None:
        yield stage.name
        for dependency in stage.uses:
            yield from _reachable(by_name, dependency, arch)
