"""Output that several verbs have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envmatrix.console import output, output_json

if TYPE_CHECKING:
    from envmatrix.app.compilation import Compilation
    from envmatrix.plan.actions import Action


def print_json(document: object) -> None:
    output_json(json.dumps(document, indent=2))


def show_products(compilation: Compilation) -> None:
    for product in compilation.products:
        path, machine = compilation.build.display_path(product.path), product.machine or "data"
        output(f"{path}  {machine}  {product.size} bytes")


def show_actions(actions: Sequence[Action], *, as_json: bool) -> None:
    """Show what is done with each image, and why."""
    if as_json:
        print_json([_row(action) for action in actions])
        return
    for action in actions:
        output(f"{action.verb:8} {action.inputs.image}: {action.reason}")


def _row(action: Action) -> dict[str, object]:
    row: dict[str, object] = {
        "image": action.inputs.reference,
        "platform": action.inputs.image.platform,
        "action": action.verb,
        "reason": action.reason,
        "fingerprint": action.inputs.fingerprint,
    }
    return row | ({"published": action.published} if action.published else {})
