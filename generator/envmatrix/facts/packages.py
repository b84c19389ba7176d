"""Packages as recipes and requests select them."""

from __future__ import annotations

from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True, order=True)
class PackageSpec:
    """A package and what else selects it; an empty field selects nothing. `version` may end in
    `.*`. `product` and `variant` are of NVIDIA's archives; `arch` is an architecture other than
    that of the other packages."""

    name: str
    version: str = ""
    product: str = ""
    variant: str = ""
    arch: str = ""

    @classmethod
    def parse(cls, text: str) -> PackageSpec:
        """Parse `[product/]name[:variant][=version]`, as `components.yaml` has it."""
        name, _, version = text.partition("=")
        product, _, name = name.rpartition("/")
        name, _, variant = name.partition(":")
        return cls(name, version, product, variant)

    def __str__(self) -> str:
        product = f"{self.product}/" if self.product else ""
        variant = f":{self.variant or self.arch}" if self.variant or self.arch else ""
        return f"{product}{self.name}{variant}" + (f"={self.version}" if self.version else "")
