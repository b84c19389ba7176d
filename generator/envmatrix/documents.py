"""YAML with positions: every scalar stays a string, and every value knows its line and column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TypeAlias

import yaml

from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.files import content_of
from envmatrix.records import dataclass
from envmatrix.text import one_line

try:
    from yaml import CBaseLoader as _Loader
except ImportError:  # PyYAML without libyaml: the same events, more slowly
    from yaml import BaseLoader as _Loader  # type: ignore[assignment]

Location: TypeAlias = tuple[str | int, ...]

# A limit for expanded aliases, far above the size of real files.
_MOST_VALUES = 500_000
_DEEPEST = 30
# The same for files, in bytes.
_LARGEST = 16 << 20
_NULLS = ("", "~", "null")
_STANDARD = "tag:yaml.org,2002:"
# Tags that change nothing: text, a list, a mapping.
_TAGS: Mapping[type[yaml.Event], tuple[str, ...]] = {
    yaml.ScalarEvent: ("!", f"{_STANDARD}str"),
    yaml.SequenceStartEvent: ("!", f"{_STANDARD}seq"),
    yaml.MappingStartEvent: ("!", f"{_STANDARD}map"),
}
_MOST_OF_A_TAG = 100


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its position; `keys` holds the positions of the keys of a mapping.

    `selector` is the selector in the file that the value was resolved from, if any; `tag` is a tag
    that the dialect of the file has a meaning for.
    """

    content: str | tuple[Node, ...] | Mapping[str, Node] | None
    position: Position
    size: int = 1
    keys: Mapping[str, Position] = field(default_factory=dict)
    selector: str | None = None
    tag: str | None = None

    @property
    def children(self) -> Mapping[str | int, Node]:
        """The items of a list by index, or the entries of a mapping by key."""
        if isinstance(self.content, tuple):
            return dict(enumerate(self.content))
        return dict(self.content.items()) if isinstance(self.content, Mapping) else {}

    @property
    def children_by_key(self) -> Mapping[str, Node]:
        """The entries of a mapping by key; none of another value."""
        return self.content if isinstance(self.content, Mapping) else {}

    def child(self, step: str | int) -> Node | None:
        if isinstance(self.content, tuple) and isinstance(step, int):
            return self.content[step] if step < len(self.content) else None
        return self.content.get(str(step)) if isinstance(self.content, Mapping) else None

    def without(self, locations: Collection[Location]) -> Node:
        """Return a copy without the values at `locations`; the others keep their positions."""
        if not locations:
            return self
        inside: dict[str | int, list[Location]] = {}
        for step, *rest in filter(None, locations):
            inside.setdefault(step, []).append(tuple(rest))
        children = {
            step: node.without(inside.get(step, ()))
            for step, node in self.children.items()
            if () not in inside.get(step, ())
        }
        return self._with_children(children)

    def merge(self, other: Node) -> Node:
        """Return the items of both lists or the entries of both mappings, `other`'s where both have
        one; `other` where they are neither."""
        if isinstance(self.content, tuple) and isinstance(other.content, tuple):
            return replace(self, content=(*self.content, *other.content))
        if isinstance(self.content, Mapping) and isinstance(other.content, Mapping):
            content, keys = {**self.content, **other.content}, {**self.keys, **other.keys}
            return replace(self, content=content, keys=keys)
        return other

    def with_child(self, key: str, child: Node, position: Position | None = None) -> Node:
        """Return a copy of a mapping with `child` under `key`, at `position` or the key's old
        position."""
        keys = {key: position} if position else {}
        return self.merge(Node({key: child}, self.position, keys=keys))

    def replace_at(self, place: Sequence[str], change: Callable[[Node], Node]) -> Node:
        """Return a copy with `change` applied to the values at `place`, where `*` is any step."""
        if not place:
            return change(self)
        step, *rest = place
        children = {
            key: node.replace_at(rest, change) if step in (key, "*") else node
            for key, node in self.children.items()
        }
        return self._with_children(children)

    def _with_children(self, children: Mapping[str | int, Node]) -> Node:
        if isinstance(self.content, tuple):
            return replace(self, content=tuple(children.values()))
        if isinstance(self.content, Mapping):
            return replace(self, content={str(key): node for key, node in children.items()})
        return self


@dataclass(frozen=True, slots=True)
class Dialect:
    """What files of other programs may have and ours may not: merge keys (`<<`), and `tags`, which
    are kept in the nodes."""

    merge_keys: bool = False
    tags: tuple[str, ...] = ()


STRICT = Dialect()


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. `problems` are those that leave the rest readable, such as a duplicate key."""

    file: str
    root: Node
    problems: tuple[Problem, ...] = ()

    def position(self, *location: str | int) -> Position:
        """Return the position of the value at `location`, or else of the nearest value around
        it."""
        return self._nearest(location).position

    def selector(self, *location: str | int) -> str | None:
        """Return the selector that the file has at `location`, if the value was resolved from
        one."""
        return self._nearest(location).selector

    def key_position(self, *location: str | int) -> Position:
        """Return the position of the last key of `location`; for an item of a list, of its
        value."""
        node = self._nearest(location[:-1])
        return node.keys.get(str(location[-1])) or self.position(*location)

    def without(self, locations: Collection[Location]) -> Document:
        return replace(self, root=self.root.without(locations))

    def _nearest(self, location: Location) -> Node:
        node = self.root
        for step in location:
            node = node.child(step) or node
        return node


def load_document(path: Path, name: str) -> Document:
    """Parse the file `path`, named `name` in messages. Raise ConfigurationError if it is missing or
    invalid."""
    with suppress(OSError):  # reading it tells why
        if path.stat().st_size > _LARGEST:
            raise ConfigurationError(f"`{one_line(name)}` has more than {_LARGEST >> 20} MiB")
    try:
        return parse_document(content_of(path, name), name)
    except FileNotFoundError as error:
        raise ConfigurationError(f"`{name}` does not exist") from error


def parse_document(content: bytes, file: str, dialect: Dialect = STRICT) -> Document:
    builder = _Builder(file, dialect)
    try:
        text = content.decode("utf-8-sig")
        root = builder.build(yaml.parse(text, Loader=_Loader))
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        problem = Problem("is not UTF-8 text", _position_at(before, file), "save it as UTF-8")
        raise ConfigurationError(problem) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigurationError(_syntax_problem(error, text, file)) from error
    except yaml.reader.ReaderError as error:
        position = _position_at(text[: error.position], file)
        raise ConfigurationError(Problem("holds a control character", position)) from error
    return Document(file, root, tuple(builder.problems))


def _position_at(before: str, file: str) -> Position:
    return Position(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    has_tab = line < len(lines) and "\t" in lines[line]
    hint = "indent with spaces; YAML takes no tabs there" if has_tab else None
    message = " ".join((error.problem or error.context or "is not YAML").split())
    return Problem(message, Position(file, line + 1, column + 1), hint)


def _shown_tag(tag: str) -> str:
    """Return a tag in short form (`!!int`)."""
    short = tag.replace(_STANDARD, "!!", 1) if tag.startswith(_STANDARD) else tag
    text = short if short.startswith("!") else f"!<{short}>"
    return one_line(text)[:_MOST_OF_A_TAG]


def _is_merge_key(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style


class _Builder:
    """Builds nodes from parser events.

    PyYAML's own composer recurses in C and ends the process on deep nesting, so it is not used.
    """

    def __init__(self, file: str, dialect: Dialect) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._dialect = dialect
        self._anchors: dict[str, Node] = {}
        self._merged = 0

    def build(self, events: Iterator[yaml.Event]) -> Node:
        root: Node | None = None
        for event in events:
            if not isinstance(event, yaml.NodeEvent):
                continue
            if root is not None:
                raise self._error("only one document is expected", event)
            root = self._node(event, events, depth=0)
        if root is None or root.content is None:
            raise ConfigurationError(Problem("the file is empty", Position(self._file, 1, 1)))
        return root

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        if depth > _DEEPEST:
            raise self._error(f"values are nested more than {_DEEPEST} deep", event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._anchors:
                return self._anchors[event.anchor]
            message = f"alias `*{event.anchor}` names no anchor that is complete before it"
            raise self._error(message, event)
        self._check(event)
        if isinstance(event, yaml.ScalarEvent):
            is_null = not event.tag and event.style in (None, "") and event.value in _NULLS
            node = Node(None if is_null else event.value, self._position(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, events, depth)
        else:
            node = self._mapping(event, events, depth)
        if (tag := getattr(event, "tag", None)) in self._dialect.tags:
            node = replace(node, tag=tag)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        items = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, depth + 1))
            self._require_few(items, start)
        return Node(tuple(items), self._position(start), self._size(items, start))

    def _mapping(self, start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        content: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        merged: list[Node] = []
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            is_merge = self._dialect.merge_keys and _is_merge_key(event)
            key = self._key(event, {} if is_merge else keys)
            node = self._node(next(events), events, depth + 1)
            if is_merge:
                merged += self._merged_mappings(node, event)
            else:
                content[key] = node
                self._require_few(content, start)
        for mapping in merged:
            content = {**mapping.children_by_key, **content}
            keys = {**mapping.keys, **keys}
        return Node(content, self._position(start), self._size(content.values(), start), keys)

    def _merged_mappings(self, node: Node, event: yaml.Event) -> Iterator[Node]:
        """Yield the mappings that a merge key names, the one that takes precedence first."""
        for mapping in node.content if isinstance(node.content, tuple) else (node,):
            if not isinstance(mapping.content, Mapping):
                self._problem("`<<` takes a mapping or a list of mappings", event)
                continue
            self._merged += len(mapping.content)
            if self._merged > _MOST_VALUES:
                raise self._error(f"more than {_MOST_VALUES} values, merge keys expanded", event)
            yield mapping

    def _key(self, event: yaml.Event, keys: dict[str, Position]) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error("a key must be a word", event)
        self._check(event)
        key = str(event.value)
        if key in keys:
            self._problem(f"key `{one_line(key)}` is already given at {keys[key]}", event)
        keys.setdefault(key, self._position(event))
        return key

    def _require_few(self, nodes: Collection[object], start: yaml.Event) -> None:
        if len(nodes) > _MOST_VALUES:
            raise self._error(f"more than {_MOST_VALUES} values", start)

    def _size(self, nodes: Collection[Node], start: yaml.Event) -> int:
        size = 1 + sum(node.size for node in nodes)
        if size > _MOST_VALUES:
            raise self._error(f"more than {_MOST_VALUES} values, aliases expanded", start)
        return size

    def _check(self, event: yaml.Event) -> None:
        """Record a problem for a YAML tag, because types follow from the schema alone, and for a
        NUL character, which ends a string for the operating system."""
        tag = getattr(event, "tag", None)
        if tag and tag not in (*_TAGS.get(type(event), ()), *self._dialect.tags):
            message = f"unsupported YAML tag `{_shown_tag(tag)}`"
            hint = "remove it, or quote the value if it is text that begins with `!`"
            self._problem(message, event, hint)
        if "\0" in getattr(event, "value", ""):
            self._problem(r"the value has `\0`, which no program or file can be given", event)

    def _problem(self, message: str, event: yaml.Event, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self._position(event), hint))

    def _position(self, event: yaml.Event) -> Position:
        line, column = (mark.line, mark.column) if (mark := event.start_mark) else (0, 0)
        return Position(self._file, line + 1, column + 1)

    def _error(self, message: str, event: yaml.Event) -> ConfigurationError:
        return ConfigurationError(Problem(message, self._position(event)))
