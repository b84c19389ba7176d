"""The differences between the Dockerfile that an image was built from and the current one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest

from envmatrix.images.fingerprint import stage_hashes, stages

_ADD = re.compile(r"(?m)^ADD --checksum=sha256:(?P<sha256>\S+) \S*?(?P<file>[^/\s]+) /$")
_FROM = re.compile(r"(?m)^FROM \S+ (?P<image>\S+) AS (?P<name>base-\S+)$")
_EPOCH = re.compile(r"(?m)^ARG SOURCE_DATE_EPOCH=(?P<epoch>\d+)$")
# name_version_arch.deb, name-version-tags.whl, name-version-release.arch.rpm
_NAMES = (
    re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_[^_]+\.deb"),
    re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-.+\.whl"),
    re.compile(r"(?P<name>.+)-(?P<version>[^-]+-[^-]+)\.[^.]+\.rpm"),
)


def differences(before: str, after: str, flavour: str, arch: str) -> tuple[str, ...]:
    """Return what changed for the image of `flavour` and `arch`, the most relevant first."""
    was, now = stage_hashes(before, flavour, arch), stage_hashes(after, flavour, arch)
    changed = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
    old, new = _texts(before, changed), _texts(after, changed)
    changes = [*_epochs(old, new), *_bases(old, new), *_files(old, new)]
    steps = sorted(name for name in changed if _steps(old.get(name)) != _steps(new.get(name)))
    return (*changes, *(f"steps of `{name}`" for name in steps))


def _texts(dockerfile: str, names: set[str]) -> Mapping[str, str]:
    return {name: stage.text for name, stage in stages(dockerfile).items() if name in names}


def _epochs(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    was, now = (_EPOCH.search(texts.get("", "")) for texts in (old, new))
    if was and now and was["epoch"] != now["epoch"]:
        yield f"epoch {was['epoch']} → {now['epoch']}"


def _bases(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(old.keys() & new.keys()):
        was, now = _FROM.search(old[name]), _FROM.search(new[name])
        if was and now and was["image"] != now["image"]:
            yield f"base {was['image']} → {now['image']}"


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    was, now = (_packages("\n".join(texts.values())) for texts in (old, new))
    for name in sorted(was.keys() | now.keys()):
        for removed, added in zip_longest(
            sorted(was.get(name, set()) - now.get(name, set())),
            sorted(now.get(name, set()) - was.get(name, set())),
        ):
            yield _describe_change(name, removed and removed[0], added and added[0])


def _describe_change(name: str, was: str | None, now: str | None) -> str:
    if was is None:
        return f"`{name}` {now} added"
    if now is None:
        return f"`{name}` {was} removed"
    return f"`{name}` {was} → {now}" if was != now else f"`{name}` {now}: another file"


def _packages(text: str) -> Mapping[str, set[tuple[str, str]]]:
    """Return the versions by name, each with the sha256 (hex) of the file."""
    versions: dict[str, set[tuple[str, str]]] = {}
    for row in _ADD.finditer(text):
        matches = (pattern.fullmatch(row["file"]) for pattern in _NAMES)
        match = next(filter(None, matches), None)
        name, version = (match["name"], match["version"]) if match else (row["file"], "")
        versions.setdefault(name, set()).add((version, row["sha256"]))
    return versions


def _steps(text: str | None) -> str:
    """Return the text of a stage without files, bases and the epoch."""
    for pattern in (_ADD, _FROM, _EPOCH):
        text = pattern.sub("", text or "")
    return "\n".join(filter(None, (text or "").splitlines()))
