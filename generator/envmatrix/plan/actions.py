"""What would be done with each image, and why, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from envmatrix.plan.differences import differences
from envmatrix.plan.fingerprint import fingerprint, stage_hashes
from envmatrix.plan.images import Image

FINGERPRINT_LABEL = "envmatrix.fingerprint"
STAGES_LABEL = "envmatrix.stages"

# Of a fingerprint in a name, and of the hash of a stage in a label.
DIGITS = 12

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Inputs:
    """An image and what identifies it before it is built: the Dockerfile, and of the stages it
    depends on name -> hash."""

    image: Image
    fingerprint: str
    stages: Mapping[str, str] = field(compare=False)
    dockerfile: str = field(compare=False, repr=False)

    @property
    def reference(self) -> str:
        """The name in the engine that nothing with other inputs ever has."""
        return f"{self.image.reference}-{self.fingerprint[:DIGITS]}"

    @property
    def labels(self) -> Mapping[str, str]:
        short = {name: digest[:DIGITS] for name, digest in self.stages.items()}
        return {
            FINGERPRINT_LABEL: self.fingerprint,
            STAGES_LABEL: json.dumps(short, sort_keys=True, separators=(",", ":")),
        }


@dataclass(frozen=True, slots=True)
class Action:
    """`published` is the image to pull, by digest; `anew` says that the engine has it already;
    `is_current` that what people call it by is this image, and not one of other inputs."""

    inputs: Inputs
    verb: Literal["build", "pull", "reuse"]
    reason: str
    published: str | None = None
    anew: bool = False
    is_current: bool = True

    @property
    def image(self) -> Image:
        return self.inputs.image


@dataclass(frozen=True, slots=True)
class Local:
    """An image of the engine. Its id is a hash of all that it is; its labels are what it says of
    itself, and an image inherits them from the one that it is derived from."""

    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Existing:
    """What there is already. `local`: reference -> image, of the engine; `is_made`: whether the
    image with an id was made of a fingerprint's inputs; `published`: fingerprint -> image by
    digest, of the registry; `recipe`: the Dockerfile of a fingerprint that was built or pulled here
    once."""

    local: Mapping[str, Local]
    is_made: Callable[[str, str], bool]
    published: Mapping[str, str] = field(default_factory=dict)
    recipe: Callable[[str], str | None] = lambda _: None

    def has(self, inputs: Inputs) -> bool:
        return self._is(inputs.reference, inputs)

    def calls_so(self, inputs: Inputs) -> bool:
        """Whether that is what the engine has under the name without a fingerprint."""
        return self._is(inputs.image.reference, inputs)

    def _is(self, reference: str, inputs: Inputs) -> bool:
        found = self.local.get(reference)
        return found is not None and self.is_made(inputs.fingerprint, found.id)


def inputs_of(image: Image, dockerfile: str) -> Inputs:
    hashes = stage_hashes(dockerfile, image.flavour, image.arch)
    return Inputs(image, fingerprint(hashes, image.arch), hashes, dockerfile)


def decide(
    wanted: Iterable[Inputs], existing: Existing, *, force: bool = False
) -> tuple[Action, ...]:
    return tuple(_action(inputs, existing, force) for inputs in wanted)


def _action(inputs: Inputs, existing: Existing, force: bool) -> Action:
    if existing.has(inputs):
        if force:
            return Action(inputs, "build", "asked for by --force", anew=True)
        return Action(inputs, "reuse", "up to date", is_current=existing.calls_so(inputs))
    published = existing.published.get(inputs.fingerprint)
    reason = _reason(inputs, existing)
    if published and not force:
        return Action(inputs, "pull", f"published; {reason}", published)
    return Action(inputs, "build", reason)


def _reason(inputs: Inputs, existing: Existing) -> str:
    """Why the engine has no such image, from the last one that had its name."""
    if inputs.reference in existing.local:
        return "the engine has one that was not made from here"
    newest = existing.local.get(inputs.image.reference)
    if newest is None:
        return "never built here"
    labels = newest.labels
    last = labels.get(FINGERPRINT_LABEL, "")
    if last == inputs.fingerprint:
        return "its name by fingerprint is gone"
    recipe = existing.recipe(last)
    if recipe is None:
        changed = _stages(inputs, labels.get(STAGES_LABEL, "{}"))
    else:
        changed = differences(recipe, inputs.dockerfile, inputs.image.flavour, inputs.image.arch)
    if not changed:
        return "built another way, by another envmatrix"
    more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
    return f"changed: {', '.join(changed[:_MOST_NAMED])}{more}"


def _stages(inputs: Inputs, label: str) -> tuple[str, ...]:
    """The stages that changed: what a label can tell without the recipe."""
    try:
        before = json.loads(label)
    except ValueError:
        before = None
    before = before if isinstance(before, dict) else {}
    now = {name: digest[:DIGITS] for name, digest in inputs.stages.items()}
    changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
    return tuple(sorted(f"`{name or 'epoch'}`" for name in changed))
