"""Rules between the keys of a table, for validation and for the JSON Schema. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

Schema = Mapping[str, object]


class Violation(NamedTuple):
    """A violation of a rule; `key` is the key of the table that is wrong, if one is."""

    message: str
    key: str | None = None
    hint: str | None = None


class KeyRule(Protocol):
    """A rule between keys; `table` maps each key that is present to its content."""

    def schema(self) -> Schema: ...
    def violations(self, table: Mapping[str, object]) -> Iterator[Violation]: ...


class OneOf(NamedTuple):
    """Exactly one kind is present, with the key of its version, and without those of other
    kinds."""

    kinds: Mapping[str, str]

    def schema(self) -> Schema:
        return {
            "oneOf": [
                {
                    "required": [kind, version],
                    "properties": {kind: True, version: True},
                    "additionalProperties": False,
                }
                for kind, version in self.kinds.items()
            ]
        }

    def violations(self, table: Mapping[str, object]) -> Iterator[Violation]:
        present = [kind for kind in self.kinds if kind in table]
        if len(present) != 1:
            yield Violation(f"must have one of {', '.join(f'`{name}`' for name in self.kinds)}")
            return
        (kind,) = present
        version = self.kinds[kind]
        if version not in table:
            yield Violation(f"has `{kind}` and needs `{version}` as well")
        for key in table:
            if key != version and key in self.kinds.values():
                yield Violation(f"has `{kind}`, which `{key}` is not for", key)


class TagCase(NamedTuple):
    """Where a tag has one of `values`, the keys of `needs` are present and not empty, and those of
    `lacks` are absent: key -> message, in which `{tag}` is the tag's value and `{key}` the key."""

    values: tuple[str, ...]
    needs: Mapping[str, str] = {}
    lacks: Mapping[str, str] = {}
    hint: str | None = None


class ByTag(NamedTuple):
    """Keys that depend on the value of another one, `tag`. `otherwise` is its value if it is
    absent; with None, no case applies then."""

    tag: str
    otherwise: str | None
    cases: tuple[TagCase, ...]

    def schema(self) -> Schema:
        return {"allOf": [self._case(case) for case in self.cases]}

    def _case(self, case: TagCase) -> Schema:
        chosen: Schema = {"properties": {self.tag: {"enum": [*case.values]}}}
        if self.otherwise not in case.values:
            chosen = {**chosen, "required": [self.tag]}
        properties: dict[str, object] = dict.fromkeys(case.lacks, False)
        properties |= {key: {"minItems": 1, "minLength": 1} for key in case.needs}
        then = {"properties": properties, **({"required": [*case.needs]} if case.needs else {})}
        return {"if": chosen, "then": then}

    def violations(self, table: Mapping[str, object]) -> Iterator[Violation]:
        value = table.get(self.tag, self.otherwise)
        for case in self.cases:
            if value not in case.values:
                continue
            for key, message in case.needs.items():
                if not table.get(key):
                    yield Violation(message.format(tag=value), None, case.hint)
            for key, message in case.lacks.items():
                if key in table:
                    yield Violation(message.format(tag=value, key=key), key, case.hint)


class Presence(NamedTuple):
    """As many of the keys are present as one of `counts` says; `in_json` is the same in JSON
    Schema."""

    keys: tuple[str, ...]
    counts: tuple[int, ...]
    in_json: Schema
    message: str
    hint: str

    def schema(self) -> Schema:
        return self.in_json

    def violations(self, table: Mapping[str, object]) -> Iterator[Violation]:
        if len(table.keys() & {*self.keys}) not in self.counts:
            yield Violation(self.message, None, self.hint)


def any_of(keys: tuple[str, ...], message: str, hint: str) -> Presence:
    """Return the rule that at least one of the keys is present."""
    in_json = {"anyOf": [{"required": [key]} for key in keys]}
    return Presence(keys, (*range(1, len(keys) + 1),), in_json, message, hint)


def together(first: str, second: str, hint: str) -> Presence:
    """Return the rule that both keys are present, or none."""
    in_json = {"dependentRequired": {first: [second], second: [first]}}
    message = f"needs both `{first}` and `{second}`, or neither"
    return Presence((first, second), (0, 2), in_json, message, hint)


def apart(first: str, second: str) -> Presence:
    """Return the rule that at most one of the keys is present."""
    message = f"has both a `{first}` and an `{second}`"
    in_json = {"not": {"required": [first, second]}}
    return Presence((first, second), (0, 1), in_json, message, "keep one of them")
