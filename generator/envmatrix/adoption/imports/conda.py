"""conda-smithy's variants: `conda_build_config.yaml` with selectors, and the rendered files of
`.ci_support/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from envmatrix.adoption.imports.conda_selectors import PLATFORMS, select_lines
from envmatrix.adoption.imports.jobs import (
    Item,
    Remainder,
    Request,
    Source,
    bounded,
    brief,
    combinations,
    text_of,
    texts_of,
)
from envmatrix.adoption.imports.keys import Word, meaning_of
from envmatrix.documents import Node, parse_document
from envmatrix.errors import ConfigurationError, Position

_PLATFORM, _ZIPPED = "target_platform", "zip_keys"
# Keys that decide on cells; the compilers are those of conda's packages.
_OF_CELLS = (
    "c_compiler", "c_compiler_version", "cxx_compiler", "cxx_compiler_version",
    "cuda_compiler_version", "cudnn", "docker_image", "python", "arm_variant_type",
)  # fmt: skip
# The kind of aarch64, and the values that say more than the platform.
_VARIANT, _OF_VARIANT = "arm_variant_type", ("sbsa", "tegra")
# Those which say what a file is.
_MARKS = (_PLATFORM, "cuda_compiler_version", "c_compiler_version", "docker_image", _ZIPPED)


def read(sources: Sequence[Source], request: Request) -> Iterator[Item]:
    for source in sources:
        file = source.document.file
        keys = source.root.children_by_key
        if _PLATFORM in keys:
            yield from _jobs(keys, source.root.position, request)
            continue
        for platform in PLATFORMS:
            if _is_meant(platform, source.text) and request.wants(platform):
                yield from _jobs_on(platform, source.text, file, request)


def suits(source: Source) -> bool:
    keys = source.root.children_by_key
    return any(key in keys and isinstance(keys[key].content, tuple | None) for key in _MARKS)


def _is_meant(platform: str, text: str) -> bool:
    """Return whether a file with selectors is for a platform: the first one, and those named."""
    name = platform.removeprefix("linux-")
    return platform == PLATFORMS[0] or re.search(rf"\[[^\]]*\b{name}\b", text) is not None


def _jobs_on(platform: str, text: str, file: str, request: Request) -> Iterator[Item]:
    lines, unknown = select_lines(text, platform)
    for number, selector in unknown:
        reason = "cannot be evaluated: its line is left out"
        yield Remainder("selector", (brief(selector),), reason, Position(file, number, 1))
    try:
        document = parse_document(lines.encode(), file)
    except ConfigurationError as error:
        for problem in error.problems:
            position = problem.position or Position(file, 1, 1)
            yield Remainder("lines for", (platform,), problem.message, position)
        return
    for problem in document.problems:
        position = problem.position or Position(file, 1, 1)
        yield Remainder("lines for", (platform,), problem.message, position)
    keys = {**document.root.children_by_key, _PLATFORM: Node(platform, document.root.position)}
    yield from _jobs(keys, document.root.position, request)


def _jobs(keys: Mapping[str, Node], position: Position, request: Request) -> Iterator[Item]:
    """Yield the product of lists, of which those in `zip_keys` advance together: a single value
    beside all of the others."""
    lists = {key: texts_of(keys[key]) for key in (_PLATFORM, *_OF_CELLS) if texts_of(keys.get(key))}
    zipped: list[list[dict[str, Node]]] = []
    for group in _groups(keys.get(_ZIPPED)):
        names = [name for name in group if name in lists]
        lengths = {len(lists[name]) for name in names} - {1}
        length = min(lengths, default=1 if names else 0)
        for name in names:
            if unpaired := lists[name][length:]:
                rest = tuple(brief(text_of(node)) for node in unpaired)
                reason = "the lists that `zip_keys` joins it with are shorter"
                yield Remainder(name, rest, reason, unpaired[0].position)
        rows = [
            {name: lists[name][index % len(lists[name])] for name in names}
            for index in range(length)
        ]
        lists = {name: values for name, values in lists.items() if name not in names}
        zipped += [rows] if rows else []
    for row in combinations(lists, position):
        rows = [{**row}]
        for alternatives in zipped:
            bounded(len(rows) * len(alternatives), position)
            rows = [{**row, **other} for row in rows for other in alternatives]
        for values in rows:
            platform = text_of(values[_PLATFORM]) if _PLATFORM in values else ""
            if not request.wants(platform):
                continue
            words = [
                Word(_key(key), text_of(node), node.position)
                for key, node in values.items()
                if key != _PLATFORM and (key != _VARIANT or text_of(node) in _OF_VARIANT)
            ]
            place = values.get("cuda_compiler_version")
            words.append(Word("arch", platform, position))
            name = f"variant of {brief(platform)}"
            yield from meaning_of(words).job(place.position if place else position, name)


def _key(key: str) -> str:
    return "arch" if key == _VARIANT else key


def _groups(node: Node | None) -> Iterator[tuple[str, ...]]:
    groups = node.content if node is not None and isinstance(node.content, tuple) else ()
    for group in groups:
        yield tuple(text_of(name) for name in texts_of(group))
