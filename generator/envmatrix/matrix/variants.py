"""Variants of libraries, as matrix files declare them: their settings and names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Literal, TypeAlias

from envmatrix.matrix.scalars import Definition, Name, OneOrMore, Sm, Text, Value, Variable
from envmatrix.matrix.tier_names import TierName
from envmatrix.records import dataclass

# Between the names of a library and of its variant.
SEPARATOR = "@"

StandardName: TypeAlias = Literal["11", "14", "17", "20", "23", "26"]
BuildType: TypeAlias = Literal["Release", "Debug", "RelWithDebInfo", "MinSizeRel"]
SanitizerName: TypeAlias = Literal["none", "asan", "ubsan", "tsan"]


@dataclass(frozen=True, slots=True)
class NamedVariant:
    """A variant with settings of its own; several if a setting has several values. `preset` is used
    instead of the library's; `options` and `definitions` are for the build system; `environment`
    is for the build and the tests; `sm` are GPU architectures instead of those of the matrix;
    `cells` are globs of cells, `steps` those of the library's that run, all without the key."""

    std: OneOrMore[StandardName] = ()
    build_type: OneOrMore[BuildType] = ()
    sanitizer: OneOrMore[SanitizerName] = ()
    preset: Text | None = None
    options: tuple[Text, ...] = ()
    definitions: Mapping[Definition, Value] = field(default_factory=dict)
    environment: Mapping[Variable, Value] = field(default_factory=dict)
    sm: OneOrMore[Sm] = ()
    sdk: Name | None = None
    cells: OneOrMore[Text] = ()
    steps: tuple[Name, ...] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """The settings of a variant; None leaves a setting to the library. `name` is empty for the
    default variant; `named` is the key of the entry that declares it, if there is one."""

    name: str = ""
    std: str | None = None
    build_type: str | None = None
    sanitizer: str | None = None
    named: str = ""
    preset: str | None = None
    options: tuple[str, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    sm: tuple[str, ...] = ()
    sdk: str | None = None
    steps: tuple[str, ...] | None = None


# The settings of a library without variants.
PLAIN = Variant()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantExclude:
    """Variants that are not built in some cells; a key left out means all its values."""

    std: OneOrMore[StandardName] | None = None
    build_type: OneOrMore[BuildType] | None = None
    sanitizer: OneOrMore[SanitizerName] | None = None
    named: OneOrMore[Name] | None = None
    cells: OneOrMore[Text] = ()
    reason: Text

    def matches(self, variant: Variant) -> bool:
        """Return whether it excludes a variant from its cells."""
        rows = (
            (self.std, variant.std),
            (self.build_type, variant.build_type),
            (self.sanitizer, variant.sanitizer or "none"),
            (self.named, variant.named),
        )
        return all(values is None or value in values for values, value in rows)


@dataclass(frozen=True, slots=True)
class Variants:
    """Variants of a library: every combination of `std`, `build_type` and `sanitizer`, whose first
    values are those of the default variant, and `named` ones. `tiers` are globs of the variants
    that run in a tier beside the default one."""

    std: OneOrMore[StandardName] = ()
    build_type: OneOrMore[BuildType] = ()
    sanitizer: OneOrMore[SanitizerName] = ()
    named: Mapping[Name, NamedVariant] = field(default_factory=dict)
    exclude: tuple[VariantExclude, ...] = ()
    tiers: Mapping[TierName, tuple[Text, ...]] = field(default_factory=dict)

    def combinations(self) -> Iterator[Variant]:
        """Yield all variants, also those that no cell builds, the default one first."""
        default = Variant(
            std=next(iter(self.std), None),
            build_type=next(iter(self.build_type), None),
            sanitizer=_sanitizer(next(iter(self.sanitizer), None)),
        )
        lists = NamedVariant(self.std, self.build_type, self.sanitizer)
        for key, entry in {"": lists, **self.named}.items():
            yield from _combinations(key, entry, default)

    def runs_in(self, tier: str, variant: Variant) -> bool:
        """Return whether a variant runs in a tier; by default, `pr` has the default variant only,
        and later tiers have all."""
        if tier == "weekly" or not variant.name or self._lists("pr", variant):
            return True
        return tier == "nightly" and (
            "nightly" not in self.tiers or self._lists("nightly", variant)
        )

    def _lists(self, tier: TierName, variant: Variant) -> bool:
        return any(fnmatchcase(variant.name, glob) for glob in self.tiers.get(tier, ()))


# The default of a library: no variants.
NO_VARIANTS = Variants()


def _combinations(key: str, entry: NamedVariant, default: Variant) -> Iterator[Variant]:
    """Yield the combinations of an entry, with the default for each setting that it leaves out."""
    for std, build_type, sanitizer in product(
        entry.std or (default.std,),
        entry.build_type or (default.build_type,),
        map(_sanitizer, entry.sanitizer or (default.sanitizer,)),
    ):
        settings = Variant(
            std=std,
            build_type=build_type,
            sanitizer=sanitizer,
            named=key,
            preset=entry.preset,
            options=entry.options,
            definitions=entry.definitions,
            environment=entry.environment,
            sm=entry.sm,
            sdk=entry.sdk,
            steps=entry.steps,
        )
        yield replace(settings, name=_name(settings, entry, default))


def _name(variant: Variant, entry: NamedVariant, default: Variant) -> str:
    """Return the name of a variant: those settings with several values in its entry that differ
    from the default variant, and the key of the entry."""
    words = {
        "std": f"cxx{variant.std}",
        "build_type": str(variant.build_type).lower(),
        "sanitizer": variant.sanitizer or "unsanitized",
    }
    varied = (
        word
        for key, word in words.items()
        if len(getattr(entry, key)) > 1 and getattr(variant, key) != getattr(default, key)
    )
    return "-".join(filter(None, (*varied, variant.named)))


def _sanitizer(name: str | None) -> str | None:
    return None if name == "none" else name
