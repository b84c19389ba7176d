"""The differences between the contents that an image was built from and the current ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest

from envmatrix.images.contents import BuildContents, StageContents, StagePackage

Stages = Mapping[str, StageContents]


def differences(before: BuildContents, after: BuildContents) -> tuple[str, ...]:
    """Return what changed, the most relevant first."""
    names = before.stages.keys() | after.stages.keys()
    changed = {name for name in names if before.stages.get(name) != after.stages.get(name)}
    was = {name: stage for name, stage in before.stages.items() if name in changed}
    now = {name: stage for name, stage in after.stages.items() if name in changed}
    epochs = [f"epoch {before.epoch} → {after.epoch}"] if before.epoch != after.epoch else []
    return (*epochs, *_bases(was, now), *_packages(was, now), *_steps(was, now))


def _bases(was: Stages, now: Stages) -> Iterator[str]:
    for name in sorted(was.keys() & now.keys()):
        if was[name].base != now[name].base:
            yield f"base {was[name].base} → {now[name].base}"


def _packages(was: Stages, now: Stages) -> Iterator[str]:
    old, new = (
        _by_name(package for stage in stages.values() for package in stage.packages)
        for stages in (was, now)
    )
    for name in sorted(old.keys() | new.keys()):
        removed = sorted(old.get(name, set()) - new.get(name, set()))
        added = sorted(new.get(name, set()) - old.get(name, set()))
        for pair in zip_longest(removed, added):
            yield _describe_change(name, *(file.version if file else None for file in pair))


def _by_name(packages: Iterable[StagePackage]) -> Mapping[str, set[StagePackage]]:
    by_name: dict[str, set[StagePackage]] = {}
    for package in packages:
        by_name.setdefault(package.name, set()).add(package)
    return by_name


def _describe_change(name: str, was: str | None, now: str | None) -> str:
    if was is None:
        return f"`{name}` {now} added"
    if now is None:
        return f"`{name}` {was} removed"
    return f"`{name}` {was} → {now}" if was != now else f"`{name}` {now}: another file"


def _steps(was: Stages, now: Stages) -> Iterator[str]:
    """Yield the stages with other steps, without those whose base changed."""
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name, StageContents("")), now.get(name, StageContents(""))
        if old.steps != new.steps and old.base == new.base:
            yield f"steps of `{name}`"
