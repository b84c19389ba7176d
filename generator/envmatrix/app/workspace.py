"""A repository: its matrix, its lock, and the plan of its environments."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from glob import escape, glob
from hashlib import sha256
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from envmatrix.errors import ConfigurationError, OutOfDate
from envmatrix.files import readable_text
from envmatrix.images.contents import BuildContents, StageContents, StagesOnDemand
from envmatrix.images.model import (
    SCRIPTS,
    Image,
    can_compile_on,
    images_of,
    images_with_libraries,
)
from envmatrix.lock.files import LOCK
from envmatrix.machine.disk_cache import cached_value, identity, identity_by_state
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.files import MATRIX, MISNAMED, files_of, require_directories
from envmatrix.matrix.model import COMPRESSION, Compression, Matrix, Signer
from envmatrix.matrix.selection import select
from envmatrix.records import dataclass
from envmatrix.text import number_of

if TYPE_CHECKING:
    from envmatrix.app.shared_cache import SharedCompilerCache
    from envmatrix.facts.recipes import Recipes
    from envmatrix.images.definition import Definition
    from envmatrix.images.environments import Environment
    from envmatrix.lock.images_lock import ImagesLock
    from envmatrix.lock.model import Lock
    from envmatrix.machine.trust import TrustGroup
    from envmatrix.plan.actions import Inputs
    from envmatrix.plan.materials import EnvironmentParts, ImageParts, Materials
    from envmatrix.results.location import Location

DOCKERFILES = "dockerfiles"

T = TypeVar("T")


@dataclass(frozen=True)
class Workspace:
    """`results` is where runs are recorded, None for the location of the repository. One that is
    not trusted writes to nothing that machines share, and its waivers do not count. It has the
    trust group of the repository `trusted_as`, by default of its own."""

    root: Path
    results: Location | None = None
    is_trusted: bool = True
    trusted_as: Path | None = None

    @classmethod
    def here(cls) -> Workspace:
        return cls(find_repository())

    @cached_property
    def matrix(self) -> Matrix:
        def load_files() -> Matrix:
            from envmatrix.matrix.loading import load_matrix  # not when the cache answers

            return load_matrix(self.root)

        return self.cached("matrix", load_files, self._matrix_identity)

    @cached_property
    def lock(self) -> Lock:
        """The lock; raise OutOfDate if it is out of date with the matrix, or with what images use
        of packages."""

        def load_current() -> Lock:
            from envmatrix.images.environments import require_current_excerpts
            from envmatrix.lock.lock_file import load
            from envmatrix.lock.requests import require_current

            lock = load(self.root)
            require_current(lock, self.matrix, self.recipes)
            require_current_excerpts(lock, self.matrix, self.recipes)
            return lock

        return self.cached("lock", load_current)

    @property
    def location(self) -> Location:
        """The location of the results of runs."""
        from envmatrix.results.location import Location

        return self.results or Location.of(self.root)

    @cached_property
    def trust(self) -> TrustGroup:
        """The trust group of the repository on this machine."""
        from envmatrix.machine.configuration import configured_trust, user_configuration
        from envmatrix.machine.trust import VARIABLE, group_of

        root = self.trusted_as or self.root
        return group_of(root, configured_trust(user_configuration()), os.environ.get(VARIABLE))

    @cached_property
    def shared_cache(self) -> SharedCompilerCache | None:
        """The compiler cache that machines share, if one is configured."""
        from envmatrix.machine.configuration import (
            SHARED_CACHE,
            configured_compiler_cache,
            user_configuration,
        )

        chosen = os.environ.get(SHARED_CACHE)
        cache = configured_compiler_cache(user_configuration(), chosen)
        if cache is None:
            return None
        from envmatrix.app.shared_cache import SharedCompilerCache

        is_writable = cache.is_writable and self.is_trusted
        return SharedCompilerCache(replace(cache, is_writable=is_writable), self.trust)

    @cached_property
    def published(self) -> ImagesLock:
        from envmatrix.lock import images_lock

        return images_lock.load(self.root)

    @property
    def repository(self) -> str | None:
        """The repository for published images: $ENVMATRIX_REGISTRY, else that of the matrix."""
        repository = os.environ.get("ENVMATRIX_REGISTRY")
        if not repository:
            return self.matrix.registry.repository if self.matrix.registry else None
        import re

        from envmatrix.matrix.scalars import REPOSITORY

        if not re.fullmatch(REPOSITORY, repository):
            message = f"$ENVMATRIX_REGISTRY is no repository: `{repository}`"
            hint = "write for example `registry.example/team/images`, without a tag"
            raise ConfigurationError(message, hint=hint)
        return repository

    @property
    def has_own_program(self) -> bool:
        """Return whether machines of CI engines run envmatrix by the script `noxw`."""
        return self.matrix.ci_install is None and (self.root / "noxw").is_file()

    @property
    def compression(self) -> Compression:
        """The compression of layers, which is that of the registry if there is one."""
        return self.matrix.registry.compression if self.matrix.registry else COMPRESSION

    def require_signer(self) -> Signer:
        if self.signer is None:
            hint = "write `registry: {key: cosign.pub}`, or `identity` and `issuer`, in matrix.yaml"
            raise ConfigurationError("nothing says who has to sign images", hint=hint)
        return self.signer

    @property
    def signer(self) -> Signer | None:
        return self.matrix.registry.signer if self.matrix.registry else None

    @property
    def verifier(self) -> Callable[[str], None] | None:
        """A function that raises if an image, by digest, is not signed by the signer of the
        matrix; None if the matrix has no signer."""
        from envmatrix.publishing.cosign import Cosign

        return Cosign(self.signer, self.root).verify if self.signer else None

    @property
    def recipes(self) -> Recipes:
        from envmatrix.facts.recipes import shipped_recipes

        return shipped_recipes()

    def environments(self, names: Iterable[str]) -> Mapping[str, Environment]:
        """Return the named environments."""
        return {environment.name: environment for environment in self._environments(names)}

    def _environments(self, names: Iterable[str]) -> Iterator[Environment]:
        from envmatrix.images.environments import environments

        selected = set(names)
        cells = [cell for cell in self.matrix.cells if cell.environment in selected]
        return environments(self.matrix, self.lock, self.recipes, cells)

    @property
    def dockerfiles(self) -> Path:
        """The directory of the generated Dockerfiles and their scripts, and the build context."""
        return self.root / DOCKERFILES

    def definitions(self, names: Iterable[str]) -> Iterator[Definition]:
        """Yield the definitions of the images of the named environments."""
        from envmatrix.images.definition import definition_of

        yield from map(definition_of, self._environments(names))

    def images(
        self, patterns: Sequence[str], *, tier: str | None = None, emulate: bool = False
    ) -> tuple[Image, ...]:
        """Return the images that this machine needs for the selected cells, without duplicates."""
        host = host_arch()
        cells = self.cells(patterns, tier)
        groups = ((cell, images_of(cell, host, emulate=emulate)) for cell in cells)
        return self._with_libraries(groups)

    def images_of_hosts(self, patterns: Sequence[str]) -> tuple[Image, ...]:
        """Return the images to publish: all that the registry's hosts need for the environments of
        the selected cells."""
        hosts = self.matrix.registry.platforms if self.matrix.registry else (host_arch(),)
        names = {cell.environment for cell in self.cells(patterns)}
        cells = [cell for cell in self.matrix.cells if cell.environment in names]
        pairs = (pair for pair in product(cells, hosts) if can_compile_on(*pair))
        return self._with_libraries((cell, images_of(cell, host)) for cell, host in pairs)

    def _with_libraries(self, groups: Iterable[tuple[Cell, Sequence[Image]]]) -> tuple[Image, ...]:
        """Return the images of cells, and those of libraries over them, without duplicates."""
        rows = (images_with_libraries(*group, self.matrix) for group in groups)
        return tuple(dict.fromkeys(chain.from_iterable(rows)))

    def plan(self, images: Sequence[Image]) -> tuple[Inputs, ...]:
        """Return the inputs that identify each of `images`, in the same order; raise OutOfDate if a
        generated file of them is out of date with the lock."""
        names = dict.fromkeys(image.environment for image in images)
        scripts = identity(self.dockerfiles.glob(f"{SCRIPTS}/*"))  # of all environments
        identities = {
            name: scripts + identity([self.dockerfiles / name / "Dockerfile"]) for name in names
        }
        parts = {name: self._parts(name, identities[name]) for name in names}
        missing = [name for name, of_environment in parts.items() if of_environment is None]
        for definition in self._current_definitions(missing):
            name = definition.environment.name
            parts[name] = self._parts(name, identities[name], definition)
            self._contents(name, identities[name], definition)
        return tuple(
            self._inputs(image, identities[image.environment], parts[image.environment])
            for image in images
        )

    def materials(self, images: Sequence[Image]) -> Materials:
        """Return what images are made from on this machine, and nothing else of what `plan`
        remembers."""

        def compute() -> Materials:
            from envmatrix.plan.materials import materials_of, parts_of_images  # not from the cache

            required = set(images)
            parts: dict[Image, ImageParts] = {}
            for definition in self._current_definitions({image.environment for image in images}):
                own = (image for image in definition.environment.images if image in required)
                parts |= parts_of_images(definition, own, host_arch())
            return materials_of({image: parts[image] for image in images}, self.lock)

        paths = glob(f"{escape(str(self.dockerfiles))}/*/*")  # noqa: PTH207 -- thousands
        files = identity_by_state(str(self.dockerfiles.resolve()), paths, time.time())
        name = f"materials on {host_arch()} of {sorted(map(str, images))}"
        return self.cached(name, compute, self._lock_identity + files)

    def _inputs(self, image: Image, files: bytes, parts: EnvironmentParts | None) -> Inputs:
        """Return the inputs of an image, whose contents are read once they are needed: those of
        thousands of images take much memory, and an image that exists needs none."""
        from envmatrix.plan.actions import Inputs

        assert parts is not None  # noqa: S101 -- every environment of an image has a definition

        def stages() -> Mapping[str, StageContents]:
            contents = self._contents(image.environment, files)
            if contents is None:  # somebody removed the cache
                (definition,) = self.definitions([image.environment])
                contents = definition.images
            return contents[image].stages

        of_image = parts.images[image]
        contents = BuildContents(parts.epoch, StagesOnDemand(stages))
        return Inputs(image, of_image.fingerprint, contents, parts.files, of_image.needs)

    def _parts(
        self, name: str, files: bytes, definition: Definition | None = None
    ) -> EnvironmentParts | None:
        """Return the parts of an environment from the cache, or of its `definition`; `files` is the
        identity of its generated files."""
        host = host_arch()

        def compute() -> EnvironmentParts | None:
            return self._parts_of(definition, host) if definition else None

        return self.cached(f"parts on {host} of {name}", compute, self._lock_identity + files)

    def _parts_of(self, definition: Definition, host: str) -> EnvironmentParts:
        from envmatrix.plan.materials import EnvironmentParts, parts_of_images

        environment, texts = definition.environment, definition.files
        images = parts_of_images(definition, environment.images, host)
        hashes = {path: sha256(text.encode()).hexdigest() for path, text in texts.items()}
        return EnvironmentParts(environment.epoch, hashes, images)

    def _contents(
        self, name: str, files: bytes, definition: Definition | None = None
    ) -> Mapping[Image, BuildContents] | None:
        """Return the contents of the images of an environment from the cache, or of its
        `definition`."""

        def compute() -> Mapping[Image, BuildContents] | None:
            return definition.images if definition else None

        return self.cached(f"contents of {name}", compute, self._lock_identity + files)

    def _current_definitions(self, names: Collection[str]) -> Iterator[Definition]:
        """Yield the definitions of the named environments; raise OutOfDate for one with a generated
        file that is out of date with the lock."""
        checked: set[str] = set()  # environments share scripts
        for definition in self.definitions(names) if names else ():
            texts = definition.files
            self._check_generated({path: texts[path] for path in texts.keys() - checked})
            checked |= texts.keys()
            yield definition

    def _check_generated(self, texts: Mapping[str, str]) -> None:
        files = {self.dockerfiles / path: text for path, text in sorted(texts.items())}
        present = {file: readable_text(file) for file in files}
        missing = [file for file, text in present.items() if not text and not file.exists()]
        if missing:
            first = f"`{missing[0].relative_to(self.root)}`"
            more = f" and {number_of(len(missing) - 1, 'other')}" if missing[1:] else ""
            message = f"{first}{more} {'are' if more else 'is'} not generated yet"
            raise OutOfDate(message, hint="write what is missing: `envmatrix generate`")
        for file, text in files.items():
            if present[file] != text:
                message = f"`{file.relative_to(self.root)}` is not what the lock says"
                raise OutOfDate(message, hint="write it: `envmatrix generate`")

    def cells(self, patterns: Sequence[str], tier: str | None = None) -> tuple[Cell, ...]:
        cells = select(self.matrix, patterns)
        if tier is None:
            return cells
        from envmatrix.matrix.tiers import choices_among, tier_of

        choices = choices_among(tier_of(self.matrix, tier), cells)
        return tuple(choice.cell for choice in choices)

    def cached(self, name: str, compute: Callable[[], T], inputs: bytes | None = None) -> T:
        """Return the value of `compute`, from the cache while its inputs are the same: the matrix
        and the lock by default."""
        key = f"{self.root.resolve()} {name}"
        return cached_value(key, self._lock_identity if inputs is None else inputs, compute)

    def of_matrix(self, name: str, compute: Callable[[], T]) -> T:
        """Return the value of `compute`, from the cache while the matrix is the same."""
        return self.cached(name, compute, self._matrix_identity)

    @cached_property
    def _matrix_identity(self) -> bytes:
        return identity(files_of(self.root))

    @cached_property
    def _lock_identity(self) -> bytes:
        return self._matrix_identity + identity([self.root / LOCK])


def nearest_repository() -> Path | None:
    """Return the nearest directory with a matrix.yaml, from here upwards; None without one."""
    current = Path.cwd()
    # A link to nothing is reported when it is read.
    roots = (path for path in (current, *current.parents) if os.path.lexists(path / MATRIX))
    root = next(roots, None)
    if root is not None:
        require_directories(root)
    return root


def find_repository() -> Path:
    """Return the nearest repository; raise ConfigurationError without one."""
    root = nearest_repository()
    if root is None:
        hint = "change to your repository, or write a first one: `envmatrix init`"
        if (Path.cwd() / MISNAMED).exists():
            hint = f"rename `{MISNAMED}`: it is called `{MATRIX}`"
        raise ConfigurationError(f"there is no `{MATRIX}` here or above", hint=hint)
    return root
