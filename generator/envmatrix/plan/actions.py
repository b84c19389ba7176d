"""The action for each image (build, pull, reuse) and its reason. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import groupby, zip_longest
from typing import Literal, TypeAlias

from envmatrix.images.contents import BuildContents, StageContents, StagePackage, contents_in
from envmatrix.images.model import BuildNeeds, Image
from envmatrix.records import dataclass

FINGERPRINT_LABEL = "envmatrix.fingerprint"
STAGES_LABEL = "envmatrix.stages"

# Hexadecimal digits of a fingerprint in a name, and of a stage's hash in a label.
DIGITS = 12

_MAX_NAMED = 4

_NO_NEEDS = BuildNeeds()

_Stages: TypeAlias = Mapping[str, StageContents]


@dataclass(frozen=True, slots=True)
class Inputs:
    """An image and its identity before it is built: its contents; `files` are the sha256 (hex) of
    the generated files that define it, and `needs` is what a build on this machine needs."""

    image: Image
    fingerprint: str
    contents: BuildContents = field(compare=False, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    needs: BuildNeeds = field(default=_NO_NEEDS, compare=False, repr=False)

    @property
    def reference(self) -> str:
        """The name in the engine that is unique to these inputs."""
        return f"{self.image.reference}-{self.fingerprint[:DIGITS]}"

    @property
    def labels(self) -> Mapping[str, str]:
        short = {name: digest[:DIGITS] for name, digest in self.contents.hashes.items()}
        return {
            FINGERPRINT_LABEL: self.fingerprint,
            STAGES_LABEL: json.dumps(short, sort_keys=True, separators=(",", ":")),
        }


@dataclass(frozen=True, slots=True)
class Action:
    """What to do with an image. `published` is the image to pull, by digest; `rebuild` is true if
    the engine has it already; `is_current` if its name without a fingerprint means it as well."""

    inputs: Inputs
    verb: Literal["build", "pull", "reuse"]
    reason: str
    published: str | None = None
    rebuild: bool = False
    is_current: bool = True


# The reason to build an image although the engine has one of its name.
UNRECORDED = "the engine has one that was not made from here"


@dataclass(frozen=True, slots=True)
class Local:
    """An image of the engine. `id` is a hash of its content; an image inherits `labels` from its
    parent."""

    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Existing:
    """The existing images. `local`: reference -> image of the engine; `is_built_from` takes a
    fingerprint and the id of an image, and tells whether the image was built from these inputs;
    `published`: fingerprint -> image of the registry, by digest; `record` returns the contents
    of a fingerprint that was built or pulled on this machine, as JSON."""

    local: Mapping[str, Local]
    is_built_from: Callable[[str, str], bool]
    published: Mapping[str, str] = field(default_factory=dict)
    record: Callable[[str], str | None] = lambda _: None

    def has(self, reference: str, fingerprint: str) -> bool:
        """Return whether the engine has an image of this name that was built from these inputs."""
        image = self.local.get(reference)
        return image is not None and self.is_built_from(fingerprint, image.id)


def decide(
    images: Iterable[Inputs], existing: Existing, *, force: bool = False
) -> tuple[Action, ...]:
    return tuple(_action(inputs, existing, force) for inputs in images)


def _action(inputs: Inputs, existing: Existing, force: bool) -> Action:
    if existing.has(inputs.reference, inputs.fingerprint):
        if force:
            return Action(inputs, "build", "asked for by --force", rebuild=True)
        is_current = existing.has(inputs.image.reference, inputs.fingerprint)
        return Action(inputs, "reuse", "up to date", is_current=is_current)
    published = existing.published.get(inputs.fingerprint)
    reason = _reason(inputs, existing)
    if published and not force:
        return Action(inputs, "pull", f"published; {reason}", published)
    return Action(inputs, "build", reason)


def _reason(inputs: Inputs, existing: Existing) -> str:
    """Return why the engine has no such image, compared with the last one that had its name."""
    if inputs.reference in existing.local:
        return UNRECORDED
    newest = existing.local.get(inputs.image.reference)
    if newest is None:
        return "never built here"
    labels = newest.labels
    last = labels.get(FINGERPRINT_LABEL, "")
    if last == inputs.fingerprint:
        return "its name by fingerprint is gone"
    before = contents_in(existing.record(last) or "")
    if before is None:
        changed = _changed_stages(inputs, labels.get(STAGES_LABEL, "{}"))
    else:
        changed = differences(before, inputs.contents)
    if not changed:
        return "built another way, by another envmatrix"
    more = f" and {len(changed) - _MAX_NAMED} more" if len(changed) > _MAX_NAMED else ""
    return f"changed: {', '.join(changed[:_MAX_NAMED])}{more}"


def _changed_stages(inputs: Inputs, label: str) -> tuple[str, ...]:
    """Return the stages that changed according to a label, for images without a record."""
    try:
        before = dict(json.loads(label))
    except (RecursionError, TypeError, ValueError):
        before = {}
    now = {name: digest[:DIGITS] for name, digest in inputs.contents.hashes.items()}
    changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
    return tuple(sorted(f"`{name or 'epoch'}`" for name in changed))


def differences(before: BuildContents, after: BuildContents) -> tuple[str, ...]:
    """Return what changed between the contents that an image was built from and the current ones,
    the most relevant first."""
    names = before.stages.keys() | after.stages.keys()
    changed = {name for name in names if before.stages.get(name) != after.stages.get(name)}
    was = {name: stage for name, stage in before.stages.items() if name in changed}
    now = {name: stage for name, stage in after.stages.items() if name in changed}
    epochs = [f"epoch {before.epoch} → {after.epoch}"] if before.epoch != after.epoch else []
    return (*epochs, *_bases(was, now), *_packages(was, now), *_steps(was, now))


def _bases(was: _Stages, now: _Stages) -> Iterator[str]:
    for name in sorted(was.keys() & now.keys()):
        if was[name].base != now[name].base:
            yield f"base {was[name].base} → {now[name].base}"


def _packages(was: _Stages, now: _Stages) -> Iterator[str]:
    old, new = (
        {package for stage in stages.values() for package in stage.packages}
        for stages in (was, now)
    )
    removed, added = _versions_by_name(old - new), _versions_by_name(new - old)
    for name in sorted(removed.keys() | added.keys()):
        for pair in zip_longest(removed.get(name, ()), added.get(name, ())):
            yield _describe_change(name, *pair)


def _versions_by_name(packages: Iterable[StagePackage]) -> Mapping[str, Sequence[str]]:
    groups = groupby(sorted(packages), key=lambda package: package.name)
    return {name: [package.version for package in group] for name, group in groups}


def _describe_change(name: str, was: str | None, now: str | None) -> str:
    if was is None:
        return f"`{name}` {now} added"
    if now is None:
        return f"`{name}` {was} removed"
    return f"`{name}` {was} → {now}" if was != now else f"`{name}` {now}: another file"


def _steps(was: _Stages, now: _Stages) -> Iterator[str]:
    """Yield the stages with other steps, without those whose base changed."""
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name, StageContents("")), now.get(name, StageContents(""))
        if old.steps != new.steps and old.base == new.base:
            yield f"steps of `{name}`"
