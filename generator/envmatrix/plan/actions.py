"""What would be done with each image, and why, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from envmatrix.plan.environments import Image
from envmatrix.plan.fingerprint import fingerprint, stage_hashes

FINGERPRINT_LABEL = "envmatrix.fingerprint"
STAGES_LABEL = "envmatrix.stages"

_HASH_DIGITS = 12
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Inputs:
    """An image and what identifies it before it is built. `stages`: name -> hash."""

    image: Image
    fingerprint: str
    stages: Mapping[str, str]

    @property
    def labels(self) -> Mapping[str, str]:
        short = {name: digest[:_HASH_DIGITS] for name, digest in self.stages.items()}
        return {
            FINGERPRINT_LABEL: self.fingerprint,
            STAGES_LABEL: json.dumps(short, sort_keys=True, separators=(",", ":")),
        }


@dataclass(frozen=True, slots=True)
class Action:
    inputs: Inputs
    verb: Literal["build", "reuse"]
    reason: str

    @property
    def image(self) -> Image:
        return self.inputs.image


def inputs_of(image: Image, dockerfile: str) -> Inputs:
    hashes = stage_hashes(dockerfile, image.flavour, image.arch)
    return Inputs(image, fingerprint(hashes, image.arch), hashes)


def decide(
    wanted: Iterable[Inputs], existing: Mapping[str, Mapping[str, str]], *, force: bool = False
) -> tuple[Action, ...]:
    """`existing` is what the engine holds: image reference -> labels."""
    return tuple(_action(inputs, existing.get(inputs.image.reference), force) for inputs in wanted)


def _action(inputs: Inputs, labels: Mapping[str, str] | None, force: bool) -> Action:
    if labels is None:
        return Action(inputs, "build", "never built here")
    if labels.get(FINGERPRINT_LABEL) != inputs.fingerprint:
        return Action(inputs, "build", _difference(inputs, labels.get(STAGES_LABEL, "{}")))
    if force:
        return Action(inputs, "build", "asked for by --force")
    return Action(inputs, "reuse", "up to date")


def _difference(inputs: Inputs, label: str) -> str:
    try:
        before = json.loads(label)
    except ValueError:
        before = None
    before = before if isinstance(before, dict) else {}
    now = {name: digest[:_HASH_DIGITS] for name, digest in inputs.stages.items()}
    changed = sorted(
        name or "epoch" for name in now.keys() | before.keys() if now.get(name) != before.get(name)
    )
    if not changed:
        return "built another way, by another envmatrix"
    named = ", ".join(f"`{name}`" for name in changed[:_MOST_NAMED])
    more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
    return f"changed: {named}{more}"
