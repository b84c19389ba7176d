"""The data model of the matrix: cells, exclusions, libraries, flavours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import ClassVar, Literal

from envmatrix.errors import Position
from envmatrix.facts.model import Facts
from envmatrix.facts.systems import OperatingSystem
from envmatrix.facts.targets import TARGETS, docker_arch
from envmatrix.matrix.cells import Candidate, Cell
from envmatrix.matrix.library import (
    FORTRAN,
    FORTRAN_LIBRARY,
    NATIVE,
    Library,
    LibraryTest,
    words_without,
)
from envmatrix.matrix.needs import all_needs, installed
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.runners import RunnerClass
from envmatrix.matrix.runs import COMPILE, TEST, PlannedRun
from envmatrix.matrix.scalars import (
    Arch,
    ArchivePath,
    Clang,
    Compiler,
    CompilersOrigin,
    CudaCompiler,
    CudnnOfCell,
    ImageByDigest,
    InsidePath,
    KeyFingerprint,
    Name,
    OneOrMore,
    PackageOf,
    PythonRelease,
    Release,
    Releases,
    Repository,
    Some,
    Text,
    Url,
    Word,
)
from envmatrix.records import dataclass
from envmatrix.schema.key_rules import ByTag, KeyRule, TagCase, apart, together

# The component of `policy: {cuda_compat: on}`.
COMPAT = "compat"

# The suffix of packages that a cross image has for its target.
OF_TARGET = ":{target}"

# The flavour for code analysis.
ANALYSIS = "analysis"

# The flavour for people, of `policy: {dev_images: on}`.
DEV = "dev"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A cell of the product that is left out; `rule` is `exclude` or a compatibility rule."""

    cell: Candidate
    reason: str
    rule: str
    position: Position | None = None
    ref: str | None = None


SourceName = Literal[
    "debian", "pypi", "redist", "nvidia-apt", "nvidia-dnf", "nvidia-cross", "image", "compilers"
]

# The source of compilers that operating systems do not have.
COMPILERS: SourceName = "compilers"
_OF_COMPILERS = ("origin", "suite", "key", "fingerprint", "compiler")


@dataclass(frozen=True, slots=True)
class SourceRule:
    """Where the CUDA of some cells comes from; an axis left out means all its values. `image`
    has it, beside the operating system, where `source` is `image`. Where it is `compilers`, where
    compilers come from: a `suite` of apt in the directory `path` of an `origin`, whose file `key`
    has the key with the `fingerprint` that signs it."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (
        ByTag(
            "source",
            None,
            (
                TagCase(
                    ("image",),
                    needs={"image": "source `image` needs `image`, which has CUDA"},
                    hint="name one by digest: `image: name@sha256:...`",
                ),
                TagCase(
                    words_without(SourceName, "image"),
                    lacks={"image": "`image` has no meaning for source `{tag}`"},
                    hint="remove it, or say `source: image`",
                ),
                TagCase(
                    (COMPILERS,),
                    needs={key: f"source `{{tag}}` needs `{key}`" for key in _OF_COMPILERS},
                    lacks=dict.fromkeys(
                        ("cuda", "arch"), "`{key}` has no meaning for source `{tag}`"
                    ),
                    hint="write `{origin: compilers-ours, suite: ours, key: ours.asc, fingerprint: "
                    "..., compiler: clang-20}`",
                ),
                TagCase(
                    words_without(SourceName, COMPILERS),
                    lacks=dict.fromkeys(
                        (*_OF_COMPILERS, "path"), "`{key}` has no meaning for source `{tag}`"
                    ),
                    hint="remove it, or say `source: compilers`",
                ),
            ),
        ),
    )

    source: SourceName
    image: ImageByDigest | None = None
    cuda: OneOrMore[Releases] | None = None
    os: OneOrMore[Word] | None = None
    arch: OneOrMore[Word] | None = None
    compiler: OneOrMore[Clang] | None = None
    origin: CompilersOrigin | None = None
    path: ArchivePath = ""
    suite: ArchivePath | None = None
    key: ArchivePath | None = None
    fingerprint: KeyFingerprint | None = None

    @property
    def is_of_compilers(self) -> bool:
        return self.source == COMPILERS

    def holds(self, cell: Candidate) -> bool:
        rows = ((getattr(self, axis), getattr(cell, axis)) for axis in ("cuda", "os", "arch"))
        return all(values is None or value in values for values, value in rows)


def source_rule(cell: Candidate, rules: Iterable[SourceRule]) -> SourceRule | None:
    """Return the first rule that applies to the cell; None leaves the source to the facts."""
    return next((rule for rule in rules if not rule.is_of_compilers and rule.holds(cell)), None)


@dataclass(frozen=True, slots=True)
class NameDefaults:
    """The values that short names leave out."""

    os: Word | None = None
    arch: Arch | None = None
    compiler: Compiler | None = None
    cuda_compiler: CudaCompiler | None = None
    python: PythonRelease | None = None


@dataclass(frozen=True, slots=True)
class CellAlias:
    """The cell that a short name stands for; an axis left out is filled as in any short name."""

    cuda: Release
    cudnn: CudnnOfCell | None = None
    os: Word | None = None
    arch: Arch | None = None
    compiler: Compiler | None = None
    cuda_compiler: CudaCompiler | None = None
    python: PythonRelease | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The number of cells of a tier, the number of those with a GPU, and globs of cells that are
    always in it."""

    jobs: int
    gpu_jobs: int
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signer:
    """The required signer of an image: the holder of the key whose public half is the file `key`
    of the repository, or `identity` as `issuer` vouches for it."""

    key: str | None = None
    identity: str | None = None
    issuer: str | None = None


# How layers are compressed: each takes more time than the one before it, and makes fewer bytes.
Compression = Literal["fastest", "fast", "small", "smallest"]
# The same for all that choose none, so that machines make the same bytes of a layer.
COMPRESSION: Compression = "small"


@dataclass(frozen=True, slots=True)
class Publication:
    """The repository of images, the hosts that they are made for, how their layers are compressed,
    and who has to have signed what is pulled: the holder of a key, or an identity that an issuer
    vouches for. Jobs of CI engines log in to it by a password, or by their own token."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (
        together("identity", "issuer", "an identity is worth what its issuer vouches for"),
        apart("key", "identity"),
    )

    repository: Repository
    hosts: Some[Literal["x86_64", "aarch64"]] = ("x86_64",)
    compression: Compression = COMPRESSION
    login: Literal["password", "job-token"] = "password"
    key: InsidePath | None = None
    identity: Text | None = None
    issuer: Url | None = None

    @property
    def platforms(self) -> tuple[str, ...]:
        """The hosts by Docker's names of architectures."""
        return tuple(docker_arch(arch) for arch in dict.fromkeys(self.hosts))

    @property
    def signer(self) -> Signer | None:
        is_signed = self.key or self.identity
        return Signer(self.key, self.identity, self.issuer) if is_signed else None


@dataclass(frozen=True, slots=True)
class Flavour:
    """The contents of an image beside those of the flavour it extends; `packages` are those of the
    family deb, `families` those of other families, and `systems` additional ones by the names of
    operating systems."""

    flavour: Name
    extends: Name | None = None
    components: tuple[Name, ...] = ()
    packages: tuple[PackageOf, ...] = ()
    families: Mapping[Literal["rpm", "zypper"], tuple[PackageOf, ...]] = field(default_factory=dict)
    systems: Mapping[Word, tuple[PackageOf, ...]] = field(default_factory=dict)

    def packages_of(self, os: OperatingSystem) -> tuple[str, ...]:
        """Return the packages of an operating system: those of its family, and its own."""
        family = os.family.name
        of_family = [names for name, names in self.families.items() if name == family]
        common = self.packages if family == "deb" else (*of_family, ())[0]
        return (*common, *self.systems.get(os.name, ()))

    def packages_for(
        self, os: OperatingSystem, words: Mapping[str, str], *, of_target: bool | None = None
    ) -> tuple[str, ...]:
        """Return the package names of a system with `words` for placeholders, without the suffix of
        packages of the target: all, or those alone that are, or are not, of the target."""
        names = self.packages_of(os)
        chosen = [name for name in names if of_target in (None, name.endswith(OF_TARGET))]
        return tuple(name.removesuffix(OF_TARGET).format_map(words) for name in chosen)


# Compared by identity, so that lookups can be cached per matrix.
@dataclass(frozen=True, eq=False)
class Matrix:
    """The matrix. `components` are those required in the images of a cell, without their
    dependencies; `runs` are those that matrix files list, or empty if every library runs in every
    cell; `runners` are the classes of machines of CI engines, where pip installs
    `ci_install`; `retained` are the names of groups of
    files that images would otherwise omit; `commit_url` has `{commit}` where a commit of the
    repository goes; `overlays` maps files to reasons."""

    cells: tuple[Cell, ...]
    exclusions: tuple[Exclusion, ...]
    sources: tuple[SourceRule, ...]
    require_cuda: str
    cuda_compat: bool
    dev_images: bool
    registry: Publication | None
    runners: Mapping[str, RunnerClass]
    ci_install: str | None
    axes: Mapping[str, tuple[str, ...]]
    defaults: NameDefaults
    aliases: Mapping[str, CellAlias]
    sm: tuple[str, ...]
    retained: tuple[str, ...]
    commit_url: str | None
    bases: Mapping[str, str]
    libraries: tuple[Library, ...]
    runs: tuple[PlannedRun, ...]
    components: tuple[str, ...]
    tiers: Mapping[str, Budget]
    flavours: Mapping[str, Flavour]
    facts: Facts
    overlays: Mapping[str, str]

    @cached_property
    def by_id(self) -> Mapping[str, Cell]:
        return {cell.id: cell for cell in self.cells}

    @cached_property
    def variants(self) -> tuple[Library, ...]:
        """The variants of all libraries, of which each without variants is its own."""
        return tuple(variant for variants in self.variants_of.values() for variant in variants)

    @cached_property
    def variants_of(self) -> Mapping[str, tuple[Library, ...]]:
        """The variants of each declared library, by its name."""
        return {library.name: library.expanded for library in self.libraries}

    @cached_property
    def declared(self) -> Mapping[str, Library]:
        """The libraries by their keys in matrix.yaml."""
        return {library.name: library for library in self.libraries}

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps of all libraries."""
        return tuple(sorted({step for library in self.libraries for step in library.steps}))

    @cached_property
    def installed(self) -> frozenset[str]:
        """The keys of the libraries that are installed after they are compiled."""
        return installed(self.declared)

    @cached_property
    def _needs(self) -> Mapping[str, tuple[Library, ...]]:
        return all_needs(self.variants_of)

    def needs_of(self, library: Library) -> tuple[Library, ...]:
        """Return the libraries that a library or variant needs, directly or not, each after its own
        needs."""
        return self._needs.get(library.name, ())

    def with_needs(self, libraries: Iterable[Library]) -> tuple[Library, ...]:
        """Return libraries and all that they need, each once and after its own needs."""
        rows = (each for library in libraries for each in (*self.needs_of(library), library))
        return tuple({library.name: library for library in rows}.values())

    def runs_in(self, tier: str | None, library: Library) -> bool:
        """Return whether a variant of a library runs in a tier, or at all."""
        if self.runs:
            rows = (run for runs in self._listed.get(library.name, {}).values() for run in runs)
            return any(tier is None or tier in run.tiers for run in rows)
        variants = self.declared[library.declared_name].variants
        return tier is None or variants.runs_in(tier, library.variant)

    def lists(self, library: Library, cell: Cell) -> bool:
        """Return whether listed runs have anything of a variant in a cell, or no run is listed."""
        return not self.runs or cell in self._listed.get(library.name, {})

    def listed(self, library: Library, cell: Cell, tier: str | None = None) -> Library | None:
        """Return a variant with what the listed runs have of it in a cell, in a tier or at all;
        None if they have nothing."""
        if not self.runs:
            return library
        machines: dict[str, tuple[Requirement, ...]] = {}
        for run in self._listed.get(library.name, {}).get(cell, ()):
            if tier is None or tier in run.tiers:
                machine = (run.runs_on,) if run.runs_on else ()
                machines[run.step] = (*machines.get(run.step, ()), *machine)
        tests = LibraryTest("none")
        if library.tests and TEST in machines:
            tests = replace(library.tests, runs_on=machines[TEST])
        steps = {
            name: replace(step, runs_on=machines[name], tier="pr")
            for name, step in library.steps.items()
            if name in machines
        }
        return replace(library, test=tests, steps=steps) if machines else None

    def compiles(self, library: Library, cell: Cell, tier: str | None) -> bool:
        """Return whether a variant is compiled in a cell, in a tier or at all: listed steps may
        need no build."""
        if not self.runs:
            return True
        runs = self._listed.get(library.name, {}).get(cell, ())
        return any(run.step == COMPILE and (tier is None or tier in run.tiers) for run in runs)

    @cached_property
    def _listed(self) -> Mapping[str, Mapping[Cell, Sequence[PlannedRun]]]:
        """The listed runs by the names of variants and by cells."""
        listed: dict[str, dict[Cell, list[PlannedRun]]] = {}
        for run in self.runs:
            listed.setdefault(run.library.name, {}).setdefault(run.cell, []).append(run)
        return listed

    @property
    def impossible(self) -> tuple[Exclusion, ...]:
        """The cells of the product that a compatibility rule leaves out, not an `exclude`."""
        return tuple(row for row in self.exclusions if row.rule != "exclude")

    @property
    def omitted_paths(self) -> tuple[str, ...]:
        """The patterns of files of packages that images omit, sorted."""
        rows = (row for name, row in self.facts.omissions.items() if name not in self.retained)
        return tuple(sorted(path for row in rows for path in row.paths))

    def overlay_of(self, cell: Cell) -> str | None:
        """Return the overlay that adds a cell, with its reason; None for cells of matrix.yaml."""
        file = cell.position.file if cell.position else ""
        return f"{file}: {self.overlays[file]}" if file in self.overlays else None

    def lineage(self, flavour: str) -> tuple[Flavour, ...]:
        """Return `flavour` and all that it extends, the base one first."""
        last = self.flavours[flavour]
        return (*(self.lineage(last.extends) if last.extends else ()), last)

    def packages_across(
        self, os: OperatingSystem, arch: str, words: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Return the package names of `cross`: its own, and those of the target in the flavours
        that it extends, as `name:architecture`."""
        own = self.flavours["cross"].packages_for(os, words, of_target=False)
        of_target = [
            f"{name}:{docker_arch(arch)}"
            for step in self.lineage("cross")
            for name in step.packages_for(os, words, of_target=True)
        ]
        return (*own, *of_target)

    def library_packages(self, library: Library, cell: Cell, flavour: str) -> tuple[str, ...]:
        """Return the packages of a library in a cell's image of a flavour, as `name`, or as
        `name:architecture` where that is not the image's own. The compiler of Fortran is that of
        the system and that of the default GCC, which compile for the target."""
        names = library.packages.packages_of(self.facts.os[cell.os])
        native = tuple(name.removesuffix(NATIVE) for name in names if name.endswith(NATIVE))
        of_target = tuple(name for name in names if not name.endswith(NATIVE))
        if not TARGETS[cell.arch].has_packages:
            of_target = ()
        compilers: tuple[str, ...] = ()
        if FORTRAN in of_target:
            of_target = tuple(name for name in of_target if name != FORTRAN)
            compilers = (FORTRAN, f"{FORTRAN}-{{gcc}}")
        if flavour.startswith("runtime"):
            return tuple(dict.fromkeys((*of_target, *([FORTRAN_LIBRARY] if compilers else []))))
        if flavour.startswith("cross"):
            of_target = tuple(f"{name}:{docker_arch(cell.arch)}" for name in of_target)
            compilers = tuple(f"{name}-{{triplet}}" for name in compilers)
        return (*of_target, *compilers, *native)

    def has_analysis(self, cell: Cell) -> bool:
        """Return whether the cell has an image for code analysis."""
        return ANALYSIS in self.extensions(cell)

    def extensions(self, cell: Cell) -> tuple[str, ...]:
        """Return the optional flavours that extend `devel` among the images of a cell."""
        names = (ANALYSIS, DEV) if self.dev_images else (ANALYSIS,)
        os = self.facts.os[cell.os]
        flavours = ((name, self.flavours.get(name)) for name in names)
        return tuple(name for name, flavour in flavours if flavour and flavour.packages_of(os))

    def components_of(self, cell: Cell, flavour: str) -> tuple[str, ...]:
        """Return the components that a flavour and the libraries ask for, with dependencies."""
        return self._components(cell.cuda, flavour, self.libraries)

    def borrowed_components(self, cell: Cell, library: Library) -> frozenset[str]:
        """Return the components of the devel image that only other libraries asked for, of which
        it needs none."""
        own = self._components(cell.cuda, "devel", (library, *self.needs_of(library)))
        every = self._components(cell.cuda, "devel", self.libraries)
        return frozenset(every) - frozenset(own)

    def _components(self, cuda: str, flavour: str, libraries: Iterable[Library]) -> tuple[str, ...]:
        requested = [name for step in self.lineage(flavour) for name in step.components]
        requested += [name for library in libraries for name in library.components]
        return self.facts.with_needs(requested, cuda)
