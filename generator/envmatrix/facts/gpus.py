"""Facts about models of GPUs, and the names that people and drivers have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from envmatrix.records import dataclass
from envmatrix.schema.constraints import Mark

_MB, _MIB = 1000**2, 1 << 20
# Words of vendors and brands that names may begin with.
_BRANDS = re.compile(r"^(nvidia|tesla|geforce|quadro)+(?=.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuModel:
    """A model of a GPU. `names` are what drivers report; `sm` is its compute capability; `memory`
    that of its smallest edition, in MB, and `largest` that of its largest one; `arches` are the
    targets of machines that have it."""

    name: Annotated[str, Mark.KEY]
    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    sm: str
    memory: int | None = None
    largest: int | None = None
    compat: Literal["on", "off"] = "on"
    arches: tuple[str, ...] = ("x86_64", "aarch64", "ppc64le")
    ref: str

    @property
    def most_memory(self) -> int | None:
        """The memory of the largest edition."""
        return self.largest or self.memory

    def can_have(self, memory: int) -> bool:
        """Return whether an edition may have so many MB. Editions are named by GB and have GiB."""
        most = self.most_memory
        return most is None or memory * _MB <= most * _MIB


def model_of(name: str, models: Mapping[str, GpuModel]) -> GpuModel | None:
    """Return the model with a name, whoever has it: a driver, a label of a node or a person."""
    if name in models:
        return models[name]
    if not name.isascii():
        return None
    letters = _letters(name)
    for model in models.values():
        if letters in map(_letters, (model.name, *model.aliases, *model.names)):
            return model
    return None


def _letters(name: str) -> str:
    """Return a name without its brand, case, spaces and punctuation."""
    return _BRANDS.sub("", re.sub(r"[^a-z0-9]", "", name.lower()))
