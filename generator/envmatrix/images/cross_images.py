"""The cross image of a target. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from envmatrix.facts.targets import Target


@dataclass(frozen=True, slots=True)
class Cross:
    """The cross image of `target`: the architecture that it runs on (`host`), the stage with nvcc
    (`tools`), the foreign architectures of its packages, and whether these contain the target's
    Python."""

    target: Target
    gcc: str
    host: str
    tools: str
    foreign: tuple[str, ...] = ()
    has_python: bool = False

    @property
    def name(self) -> str:
        return f"cross{self.target.suffix}"

    @property
    def runtime(self) -> str | None:
        """The image of its own that its programs run in, if it has one."""
        target = self.target
        return f"runtime{target.suffix}" if target.suffix and target.machine else None

    @property
    def has_packages(self) -> bool:
        return self.target.packages.get("cross") != ()

    @property
    def c(self) -> str:
        return self.target.c.format(gcc=self.gcc, triplet=self.target.triplet)

    @property
    def cxx(self) -> str:
        return self.target.cxx.format(gcc=self.gcc, triplet=self.target.triplet)
