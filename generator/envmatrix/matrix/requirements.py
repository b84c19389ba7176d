"""Requirements of the machines that run tests, benchmarks and steps, as matrix files declare them.
Pure."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Annotated, Literal

from envmatrix.errors import Position
from envmatrix.matrix.scalars import Capability, Count, CountOrZero, DriverBranch, OneOrMore, Text
from envmatrix.matrix.tier_names import Occasion
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Place, Shorthand
from envmatrix.text import number_of

_AT_LEAST = ">="


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The machine to run on: with a GPU of one of the models `gpu`, of the compute capability `sm`,
    with `memory` in MB; with so many `gpus` of that, none of which are passed if it is 0; with a
    `driver` of a branch. `compat` tells whether programs use NVIDIA's forward compatibility.
    `cells` are globs of those that it is for, and `tier` the first one that has it."""

    gpu: OneOrMore[Text] = ()
    sm: Capability | None = None
    memory: Count | None = None
    gpus: CountOrZero = 1
    driver: DriverBranch | None = None
    compat: Literal["on", "off"] | None = None
    cells: OneOrMore[Text] = ()
    tier: Occasion = "pr"
    position: Annotated[Position | None, Place()] = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """A short name: `h100`, `l4-or-t4`, `sm80-up-2gpus-r550`."""
        if not self.gpus:
            return "cpu"
        words = [
            "-or-".join(map(_word, self.gpu)),
            _bound_label("sm", self.sm),
            f"{self.memory}mb" if self.memory else "",
            f"{self.gpus}gpus" if self.gpus > 1 else "",
            _bound_label("r", self.driver),
            f"compat-{self.compat}" if self.compat else "",
        ]
        return "-".join(filter(None, words)) or "gpu"

    @property
    def place(self) -> str:
        """The words for the machine in names of jobs, logs and results: `on-h100`."""
        return f"on-{self.label}"

    def __str__(self) -> str:
        """Return what it requires, for messages."""
        if not self.gpus:
            return "no GPU"
        words = [
            " or ".join(self.gpu) or "a GPU",
            _bound_text("of compute capability", self.sm),
            f"with {self.memory} MB" if self.memory else "",
        ]
        others = [
            number_of(self.gpus, "GPU") if self.gpus > 1 else "",
            _bound_text("a driver of branch", self.driver),
            {"on": "forward compatibility", "off": "no forward compatibility"}.get(
                self.compat or "", ""
            ),
        ]
        return ", ".join(filter(None, (" ".join(filter(None, words)), *others)))


# A text in place of the table is the model of a GPU.
RunsOn = OneOrMore[Annotated[Requirement, Shorthand(None, "gpu", "")]]


def bounds_of(bound: str) -> tuple[int, bool]:
    """Return the number of a bound, and whether it is the least one: `>=80`."""
    return int(bound.removeprefix(_AT_LEAST)), bound.startswith(_AT_LEAST)


def is_within(bound: str | None, value: int) -> bool:
    """Return whether a number is the one of a bound, or at least that of one with `>=`."""
    if bound is None:
        return True
    least, is_least = bounds_of(bound)
    return value >= least if is_least else value == least


def _word(name: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", name.lower()))


def _bound_label(prefix: str, bound: str | None) -> str:
    if bound is None:
        return ""
    least, is_least = bounds_of(bound)
    return f"{prefix}{least}-up" if is_least else f"{prefix}{least}"


def _bound_text(prefix: str, bound: str | None) -> str:
    if bound is None:
        return ""
    least, is_least = bounds_of(bound)
    return f"{prefix} {least}{' or later' if is_least else ''}"
