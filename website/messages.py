"""The error messages in the source code, with their hints. Pure."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

# A problem of a file, which a ConfigurationError collects.
_PROBLEM = "Problem"
_OF_PROBLEMS = "ConfigurationError"


@dataclass(frozen=True, order=True)
class Message:
    """A message of a class of errors, with `…` for what varies, and the package that raises it."""

    kind: str
    package: str
    text: str
    hint: str | None


def messages(trees: Mapping[str, ast.Module], kinds: Collection[str]) -> Sequence[Message]:
    """Return the messages of errors of some kinds that the modules construct, sorted."""
    return sorted(
        {message for name, tree in trees.items() for message in _of_module(name, tree, kinds)},
        key=lambda message: (message.kind, message.package, message.text, message.hint or ""),
    )


def _of_module(name: str, tree: ast.Module, kinds: Collection[str]) -> Iterator[Message]:
    package = name.partition(".")[0]
    constants = dict(_constants(tree))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        constructor = call.func.id if isinstance(call.func, ast.Name) else ""
        if constructor not in {*kinds, _PROBLEM} or not call.args:
            continue
        text = _template(call.args[0])
        if text and any(character.isalpha() for character in text):
            hints = [item.value for item in call.keywords if item.arg == "hint"]
            values = (constants.get(ast.unparse(hint), hint) for hint in hints)
            kind = _OF_PROBLEMS if constructor == _PROBLEM else constructor
            yield Message(kind, package, text, next(map(_template, values), None))


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names of a module with their values."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _template(node: ast.expr) -> str | None:
    """Return the text of a constant or formatted string; None for any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split())
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return " ".join("".join(map(str, parts)).split())
    return None
