"""Facts about licensed compilers that users provide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """An SDK with a compiler. `cuda` is the CUDA release that it brings; `variables` name its
    programs to build systems, by their paths in its directory."""

    name: Annotated[str, Mark.KEY]
    title: str
    cuda: str
    std: tuple[str, ...]
    arches: tuple[str, ...]
    variables: Mapping[str, str]
    ref: str

    @property
    def directory(self) -> str:
        """The directory that it is mounted at."""
        return f"/opt/{self.name}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with the paths of its programs in a container."""
        return {name: f"{self.directory}/{path}" for name, path in self.variables.items()}
