"""Selectors of conda-build: comments `# [linux and aarch64]` that keep a line on a platform."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping

# `[linux]` in the comment of `- 12.9   # [linux]`.
_SELECTOR = re.compile(r"\[([^\[\]]+)\](?!\()")
_LONGEST = 500
_PLATFORMS: Mapping[str, tuple[str, ...]] = {
    "linux-64": ("linux", "unix", "x86_64", "x86", "linux64"),
    "linux-aarch64": ("linux", "unix", "aarch64"),
    "linux-ppc64le": ("linux", "unix", "ppc64le"),
}
PLATFORMS = tuple(_PLATFORMS)
_NAMES = (
    "linux", "unix", "x86_64", "x86", "linux32", "linux64", "aarch64", "ppc64le", "s390x", "armv6l",
    "armv7l", "riscv64", "osx", "osx64", "win", "win32", "win64", "arm64", "emscripten", "wasi",
)  # fmt: skip
# conda-smithy renders variants with CUDA on platforms that have them.
_ENVIRONMENT = {"CF_CUDA_ENABLED": "True"}


class NotEvaluated(Exception):
    """A selector has what is not known here."""


def select_lines(text: str, platform: str) -> tuple[str, list[tuple[int, str]]]:
    """Return a text in which lines that are not for a platform are empty, and those whose selectors
    cannot be evaluated, by number; they are empty as well."""
    lines, unknown = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        code, _, comment = line.partition("#")
        match = _SELECTOR.search(comment)
        if match is None or not code.strip():
            lines.append(line)
            continue
        try:
            holds = evaluate(match[1], platform)
        except NotEvaluated:
            unknown.append((number, match[1]))
            holds = False
        lines.append(code.rstrip() if holds else "")
    return "\n".join(lines), unknown


def evaluate(selector: str, platform: str) -> bool:
    """Return whether a selector holds. Raise NotEvaluated where it has more than names of
    platforms, variables of the environment, comparisons and logic."""
    if len(selector) > _LONGEST:
        raise NotEvaluated
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers that are followed by words
            tree = ast.parse(selector.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotEvaluated from None
    environment = {**_ENVIRONMENT, "BUILD_PLATFORM": platform}
    names: dict[str, object] = {name: name in _PLATFORMS[platform] for name in _NAMES}
    return bool(_value(tree.body, names | {"target_platform": platform}, environment))


def _value(node: ast.expr, names: Mapping[str, object], environment: Mapping[str, str]) -> object:
    def value(part: ast.expr) -> object:
        return _value(part, names, environment)

    match node:
        case ast.Constant(value=constant):
            return constant
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(value(part) for part in parts)
        case ast.BoolOp(values=parts):
            return any(value(part) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not value(part)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [value(part) for part in parts]
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(value(left), operator, value(right))
        case ast.Call(func=ast.Attribute(value=part, attr="startswith"), args=[prefix]):
            return str(value(part)).startswith(str(value(prefix)))
        case ast.Call(
            func=ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="os"), attr="environ"), attr="get"
            ),
            args=[ast.Constant(value=str(name)), *default],
        ):
            return environment.get(name, value(default[0]) if default else None)
    raise NotEvaluated


def _compared(left: object, operator: ast.cmpop, right: object) -> bool:
    match operator:
        case ast.Eq():
            return left == right
        case ast.NotEq():
            return left != right
        case ast.In() if isinstance(right, list | str):
            return left in right if isinstance(right, list) else str(left) in right
        case ast.NotIn() if isinstance(right, list | str):
            return left not in right if isinstance(right, list) else str(left) not in right
    raise NotEvaluated
