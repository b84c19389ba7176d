"""What the keys of a table have to do with each other: said once, for whoever reads a file and for
its JSON Schema. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Schema = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a table breaks; `key` is the one that is wrong, if a key of the table is."""

    message: str
    key: str | None = None
    hint: str | None = None


class KeyRule(Protocol):
    """`table` has the content of each key that is given."""

    def schema(self) -> Schema: ...
    def broken(self, table: Mapping[str, object]) -> Iterator[Broken]: ...


@dataclass(frozen=True, slots=True)
class OneOf:
    """Exactly one kind is given, with the key that says which one of it, and that of no other."""

    kinds: Mapping[str, str]

    def schema(self) -> Schema:
        return {
            "oneOf": [
                {
                    "required": [kind, which],
                    "properties": {kind: True, which: True},
                    "additionalProperties": False,
                }
                for kind, which in self.kinds.items()
            ]
        }

    def broken(self, table: Mapping[str, object]) -> Iterator[Broken]:
        given = [kind for kind in self.kinds if kind in table]
        if len(given) != 1:
            yield Broken(f"must have one of {', '.join(f'`{name}`' for name in self.kinds)}")
            return
        (kind,) = given
        which = self.kinds[kind]
        if which not in table:
            yield Broken(f"has `{kind}` and needs `{which}` as well")
        for key in table:
            if key != which and key in self.kinds.values():
                yield Broken(f"has `{kind}`, which `{key}` is not for", key)


@dataclass(frozen=True, slots=True)
class Case:
    """Where a tag has one of `values`, the keys `needs` are given and not empty, and those of
    `lacks` are not given: key -> why. Either is all that is different from other values."""

    values: tuple[str, ...]
    needs: Mapping[str, str] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ByTag:
    """Which keys go with the value of another one, `tag`; None as a value of `otherwise` means that
    without the tag no case holds."""

    tag: str
    otherwise: str | None
    cases: tuple[Case, ...]

    def schema(self) -> Schema:
        return {"allOf": [self._case(case) for case in self.cases]}

    def _case(self, case: Case) -> Schema:
        chosen: Schema = {"properties": {self.tag: {"enum": [*case.values]}}}
        if self.otherwise not in case.values:
            chosen = {**chosen, "required": [self.tag]}
        properties: dict[str, object] = dict.fromkeys(case.lacks, False)
        properties |= {key: {"minItems": 1, "minLength": 1} for key in case.needs}
        then = {"properties": properties, **({"required": [*case.needs]} if case.needs else {})}
        return {"if": chosen, "then": then}

    def broken(self, table: Mapping[str, object]) -> Iterator[Broken]:
        value = table.get(self.tag, self.otherwise)
        for case in self.cases:
            if value not in case.values:
                continue
            for key, why in case.needs.items():
                if not table.get(key):
                    yield Broken(why.format(tag=value), None, case.hint)
            for key, why in case.lacks.items():
                if key in table:
                    yield Broken(why.format(tag=value), key, case.hint)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the keys is given."""

    keys: tuple[str, ...]
    message: str
    hint: str

    def schema(self) -> Schema:
        return {"anyOf": [{"required": [key]} for key in self.keys]}

    def broken(self, table: Mapping[str, object]) -> Iterator[Broken]:
        if not table.keys() & {*self.keys}:
            yield Broken(self.message, None, self.hint)


@dataclass(frozen=True, slots=True)
class Together:
    """Both keys are given, or none."""

    keys: tuple[str, str]
    hint: str

    def schema(self) -> Schema:
        one, other = self.keys
        return {"dependentRequired": {one: [other], other: [one]}}

    def broken(self, table: Mapping[str, object]) -> Iterator[Broken]:
        one, other = self.keys
        if (one in table) != (other in table):
            yield Broken(f"needs both `{one}` and `{other}`, or neither", None, self.hint)


@dataclass(frozen=True, slots=True)
class Apart:
    """Only one of the keys is given."""

    keys: tuple[str, str]

    def schema(self) -> Schema:
        return {"not": {"required": [*self.keys]}}

    def broken(self, table: Mapping[str, object]) -> Iterator[Broken]:
        one, other = self.keys
        if one in table and other in table:
            yield Broken(f"has both a `{one}` and an `{other}`", None, "keep one of them")
