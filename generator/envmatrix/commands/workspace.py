"""A repository, read: its matrix, its lock, and the plan of its environments."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from envmatrix.commands import options
from envmatrix.errors import ConfigurationError, OutOfDate, Problem
from envmatrix.lock.model import FILE, Lock, load
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import MATRIX, files_of
from envmatrix.matrix.model import Matrix, PlannedCell, Signer
from envmatrix.matrix.selection import select
from envmatrix.plan.actions import Inputs, inputs_of
from envmatrix.plan.images import CompilerCache, Image, can_compile_on, images_of
from envmatrix.store.memory import identity, remembered

if TYPE_CHECKING:
    from envmatrix.lock.components import Recipes
    from envmatrix.lock.images import ImagesLock
    from envmatrix.plan.environments import Environment

DOCKERFILES = "dockerfiles"

T = TypeVar("T")


@dataclass(frozen=True)
class Workspace:
    root: Path

    @classmethod
    def here(cls) -> Workspace:
        return cls(options.repository())

    @cached_property
    def matrix(self) -> Matrix:
        return self._remembered("matrix", self._of_matrix, self._read)

    @cached_property
    def lock(self) -> Lock:
        """The lock, which answers the matrix; OutOfDate where it does not."""
        return self._remembered("lock", self._of_lock, self._answering)

    def _read(self) -> Matrix:
        from envmatrix.matrix.loading import load_matrix  # pydantic

        return load_matrix(self.root)

    def _answering(self) -> Lock:
        from envmatrix.lock.requests import drift

        lock = load(self.root)
        if drifted := drift(lock, self.matrix, self.recipes):
            raise OutOfDate(
                f"`{FILE}` is out of date with `{MATRIX}`",
                details=drifted,
                hint="bring it up to date: `envmatrix lock`",
            )
        return lock

    @cached_property
    def published(self) -> ImagesLock:
        from envmatrix.lock import images

        return images.load(self.root)

    @property
    def repository(self) -> str | None:
        """Where images are published: $ENVMATRIX_REGISTRY, else what the matrix says."""
        given = os.environ.get("ENVMATRIX_REGISTRY")
        if not given:
            return self.matrix.registry.repository if self.matrix.registry else None
        from envmatrix.matrix.scalars import REPOSITORY  # pydantic

        if not re.fullmatch(REPOSITORY, given):
            hint = "write for example `registry.example/team/images`, without a tag"
            raise ConfigurationError(
                Problem(f"$ENVMATRIX_REGISTRY is no repository: `{given}`", hint=hint)
            )
        return given

    @property
    def required_repository(self) -> str:
        if self.repository is None:
            hint = "write `registry: {repository: registry.example/team/images}` in matrix.yaml"
            raise ConfigurationError(Problem("nothing says where images are published", hint=hint))
        return self.repository

    def require_signer(self) -> Signer:
        if self.signer is None:
            hint = "write `registry: {key: cosign.pub}`, or `identity` and `issuer`, in matrix.yaml"
            raise ConfigurationError(Problem("nothing says who has to sign images", hint=hint))
        return self.signer

    @property
    def signer(self) -> Signer | None:
        return self.matrix.registry.signer if self.matrix.registry else None

    @property
    def verifier(self) -> Callable[[str], None] | None:
        """Raises where an image, by digest, is not signed as the matrix says; None if it does not
        say."""
        from envmatrix.engine.cosign import Cosign  # httpx

        return Cosign(self.signer, self.root).verify if self.signer else None

    @property
    def recipes(self) -> Recipes:
        from envmatrix.lock.components import shipped_recipes

        return shipped_recipes()

    def environments(self, names: Iterable[str]) -> Mapping[str, Environment]:
        """The environments of these names."""
        from envmatrix.plan.environments import environments  # not where all is remembered

        wanted = set(names)
        cells = [cell for cell in self.matrix.cells if cell.cell.environment in wanted]
        found = environments(self.matrix, self.lock, self.recipes, cells)
        return {environment.name: environment for environment in found}

    def compiler_cache(self, cell: PlannedCell, image: Image) -> CompilerCache | None:
        """That of an image to compile for a cell in."""

        def work_out() -> CompilerCache | None:
            from envmatrix.plan.toolchains import compiler_cache

            return compiler_cache(cell, image, self.lock)

        return self._remembered(f"cache {cell.id} {image}", self._of_lock, work_out)

    def dockerfile(self, environment: str) -> Path:
        return self.root / DOCKERFILES / environment / "Dockerfile"

    def cells(self, patterns: Sequence[str], tier: str | None = None) -> tuple[Cell, ...]:
        return tuple(planned.cell for planned in self._selected(patterns, tier))

    def images(
        self, patterns: Sequence[str], *, tier: str | None = None, emulate: bool = False
    ) -> tuple[Image, ...]:
        """The images that this machine needs for the selected cells, each once."""
        host = options.host_arch()
        cells = self._selected(patterns, tier)
        found = (images_of(cell, host, emulate=emulate) for cell in cells)
        return tuple(dict.fromkeys(image for images in found for image in images))

    def images_of_hosts(self, patterns: Sequence[str]) -> tuple[Image, ...]:
        """The images that the hosts of the registry need for all cells of the environments of
        those selected: what is published together."""
        hosts = self.matrix.registry.hosts if self.matrix.registry else (options.host_arch(),)
        names = {cell.cell.environment for cell in self._selected(patterns, None)}
        cells = [cell for cell in self.matrix.cells if cell.cell.environment in names]
        found = (images_of(*pair) for pair in product(cells, hosts) if can_compile_on(*pair))
        return tuple(dict.fromkeys(image for images in found for image in images))

    def plan(self, images: Sequence[Image]) -> tuple[Inputs, ...]:
        """What identifies each of `images`."""
        names = dict.fromkeys(image.environment for image in images)
        known = cache(partial(self.environments, names))  # all at once, where one is needed
        found = {name: self._inputs(name, known) for name in names}
        return tuple(found[image.environment][image] for image in images)

    def _inputs(
        self, environment: str, known: Callable[[], Mapping[str, Environment]]
    ) -> Mapping[Image, Inputs]:
        """Those of all images of an environment; OutOfDate where its Dockerfile is not what the
        lock says."""
        file = self.dockerfile(environment)

        def work_out() -> Mapping[Image, Inputs]:
            from envmatrix.render.dockerfile import dockerfile  # Jinja

            found = known()[environment]
            text = dockerfile(found)
            if not file.is_file() or file.read_bytes() != text.encode():
                raise OutOfDate(
                    f"`{file.relative_to(self.root)}` is not what the lock says",
                    hint="write it: `envmatrix generate`",
                )
            return {image: inputs_of(image, text) for image in found.images}

        inputs = self._of_lock + identity([file])
        return self._remembered(f"inputs {environment}", inputs, work_out)

    def _selected(self, patterns: Sequence[str], tier: str | None) -> tuple[PlannedCell, ...]:
        cells = select(self.matrix, patterns)
        if tier is None:
            return cells
        from envmatrix.matrix.tiers import choices_among, tier_of

        choices = choices_among(tier_of(self.matrix, tier), cells)
        return tuple(choice.planned for choice in choices)

    @cached_property
    def _of_matrix(self) -> bytes:
        return identity(files_of(self.root))

    @cached_property
    def _of_lock(self) -> bytes:
        return self._of_matrix + identity([self.root / FILE])

    def _remembered(self, what: str, inputs: bytes, make: Callable[[], T]) -> T:
        return remembered(f"{self.root.resolve()} {what}", inputs, make)
