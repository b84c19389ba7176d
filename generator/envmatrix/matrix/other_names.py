"""Suggestions for values of the matrix by the names that other tools have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple
from functools import cache

from envmatrix.facts.model import load_facts
from envmatrix.facts.targets import TARGETS

# Names of architectures that no system of facts/data/targets.yaml has.
_ARCHITECTURES = {"x64": "x86_64", "x8664": "x86_64", "armv8": "aarch64"}
_GPU_ARCHITECTURE = re.compile(
    r"(?:sm|compute|cc)?[ _]?([1-9][0-9]?)\.?([0-9])([af]?)(?:-real|-virtual)?", re.IGNORECASE
)

_PYTHON = re.compile(
    r"(?:cp|py|python ?)?(?P<sign>~=|[<>=!]=|[<>]|)\s*(?P<major>3)\.?(?P<minor>[0-9]{1,2})?"
    r"(?:\.[0-9*]+)?(?P<threads>t?)"
)


def suggest_name(text: str) -> str | None:
    """Return a hint for the name of an operating system or an architecture in another tool, such as
    `bookworm`, `Debian 12` and `arm64`; else None."""
    name = _names().get(_letters(text))
    return f"did you mean `{name}`?" if name and name != text else None


def suggest_gpu_architecture(text: str) -> str | None:
    """Return a hint for `sm_80`, `8.0` and the like; else None."""
    match = _GPU_ARCHITECTURE.fullmatch(text.strip())
    name = "".join(match.groups()).lower() if match else ""
    is_one = any(name in release.sm for release in load_facts().cuda.values())
    return f"did you mean `{name}`?" if is_one else None


def suggest_capability(text: str) -> str | None:
    """Return a hint for `sm_80`, `90a`, `>= 8.0` and the like; else None."""
    bound, _, rest = text.rpartition(">=")
    match = _GPU_ARCHITECTURE.fullmatch(rest.strip())
    at_least = ">=" if text.strip().startswith(">=") and not bound else ""
    return f"did you mean `{at_least}{match[1]}{match[2]}`?" if match else None


def suggest_branch(text: str) -> str | None:
    """Return a hint for the version of a driver, such as `550.54.15`; else None."""
    match = re.fullmatch(r"\s*(>=)?\s*[rR]?([1-9][0-9]{2})(\.[0-9]+)*\s*", text)
    return f"did you mean `{match[1] or ''}{match[2]}`?" if match else None


def suggest_python(text: str) -> str | None:
    """Return a hint for `3.12`, `~=3.12`, `cp312` and the like; else None."""
    match = _PYTHON.fullmatch(text.strip())
    if match is None:
        return None
    sign = {"~=": ">=", "": "=="}.get(match["sign"], match["sign"])
    free = ", which also means the one without the GIL" if match["threads"] else ""
    return f"did you mean `{sign}{match['major']}.{match['minor'] or '0'}`{free}?"


def suggest_package(text: str) -> str | None:
    """Return a hint for the name of a package with an architecture or a version; else None."""
    match = re.fullmatch(r"([A-Za-z0-9{][A-Za-z0-9+._{}-]*[A-Za-z0-9+.}])(:[^=\s]*)?(=\S*)?", text)
    if match is None:
        return None
    reason = "versions are in the lock" if match[3] else "it is of the architecture of the cell"
    return f"write `{match[1]}`: {reason}"


def suggest_library(text: str) -> str | None:
    """Return a hint for a library named with its variant; else what `suggest_words` does."""
    name, separator, _ = text.partition("@")
    if separator and name:
        return f"did you mean `{name}`? variants follow those of the library"
    return suggest_words(text)


def suggest_words(text: str) -> str | None:
    """Return a hint for a name in upper case, or with spaces or other characters; else None."""
    words = "-".join(re.findall(r"[a-z0-9]+(?:[._][a-z0-9]+)*", text.lower())).lstrip("0123456789-")
    return f"did you mean `{words}`?" if words and words != text else None


@cache
def _names() -> Mapping[str, str]:
    """Map other names, without their punctuation, to those of the matrix."""
    names = dict(_ARCHITECTURES)
    for name, target in TARGETS.items():
        if target.architecture:
            every = (text for text in astuple(target.architecture) if isinstance(text, str))
            names |= dict.fromkeys(map(_letters, every), name)
    for name, system in load_facts().os.items():
        version = name.lstrip("abcdefghijklmnopqrstuvwxyz")
        for text in (name, system.suite, f"{system.distribution}{version}"):
            names.setdefault(_letters(text), name)
    return names


def _letters(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
