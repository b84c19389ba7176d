"""The section `ci` of matrix.yaml: the classes of machines that run jobs for CI engines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar, Literal

from envmatrix.matrix.scalars import Count, Install, Label, Name, OneOrMore, Text
from envmatrix.records import dataclass
from envmatrix.schema.key_rules import KeyRule, any_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerClass:
    """Machines of an architecture that have `memory` MB, any amount if it is None, and so many
    `gpus` of a model; by engine, the labels that select one. A class is for those engines alone."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (
        any_of(
            ("github", "gitlab", "jenkins"),
            "names no engine that has such machines",
            "write the labels that select one, such as `github: ubuntu-24.04`",
        ),
    )

    arch: Literal["x86_64", "aarch64"] = "x86_64"
    gpu: Text | None = None
    gpus: Count | None = None
    memory: Count | None = None
    github: OneOrMore[Label] | None = None
    gitlab: tuple[Label, ...] | None = None
    jenkins: Label | None = None

    @property
    def gpu_count(self) -> int:
        """The number of GPUs: one if only a model is named."""
        return self.gpus or (1 if self.gpu else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ci:
    """How CI engines run the matrix, and what pip has to `install` on their machines: a wheel or a
    file of requirements in the repository, or the URL of a wheel with its hash."""

    install: Install | None = None
    runners: Mapping[Name, RunnerClass] = field(default_factory=dict)


# The class of a matrix that has none.
DEFAULT_RUNNERS: Mapping[str, RunnerClass] = {
    "x86_64": RunnerClass(github=("ubuntu-24.04",), gitlab=(), jenkins="linux")
}
