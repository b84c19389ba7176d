"""Output that several verbs have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from envmatrix.console import output, output_json
from envmatrix.errors import EnvmatrixError

if TYPE_CHECKING:
    from envmatrix.app.compilation import Compilation
    from envmatrix.plan.actions import Action, Inputs

# Whether a document was shown, in the context of the command.
_DOCUMENT = "envmatrix.commands.display.document"


def show(document: object, lines: Iterable[str], *, as_json: bool, indent: int | None = 2) -> None:
    """Show a result: as a document of JSON, or as lines. Without `indent` a large document is
    written in a third of the time."""
    if as_json:
        click.get_current_context().meta[_DOCUMENT] = True
        output_json(json.dumps(document, indent=indent))
        return
    for line in lines:
        output(line)


def show_error(error: EnvmatrixError) -> None:
    """Show an error as a document, unless a document was shown before."""
    if _DOCUMENT in click.get_current_context().meta:
        return
    problems = [
        {
            "message": problem.message,
            "position": str(problem.position) if problem.position else None,
            "hint": problem.hint,
        }
        for problem in error.problems
    ]
    row = {"name": error.name, "exit_code": error.exit_code, "problems": problems}
    output_json(json.dumps({"error": row}, indent=2))


def show_products(compilation: Compilation) -> None:
    for product in compilation.products:
        path, machine = compilation.build.display_path(product.path), product.machine or "data"
        output(f"{path}  {machine}  {product.size} bytes")


def show_actions(actions: Sequence[Action], *, as_json: bool) -> None:
    """Show what is done with each image, and why."""
    rows = [
        row_of(action.inputs, action=action.verb, reason=action.reason)
        | ({"published": action.published} if action.published else {})
        for action in actions
    ]
    lines = (f"{action.verb:8} {action.inputs.image}: {action.reason}" for action in actions)
    show(rows, lines, as_json=as_json)


def row_of(inputs: Inputs, **columns: str) -> dict[str, str]:
    """Return an image, and what is to be told of it, as JSON has it."""
    image = {"image": inputs.reference, "platform": inputs.image.platform}
    return image | columns | {"fingerprint": inputs.fingerprint}
