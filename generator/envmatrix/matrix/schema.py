"""The shape of matrix.yaml and of envs/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from envmatrix.matrix.key_rules import AnyOf, Apart, ByTag, KeyRule, OneOf, TagCase, Together
from envmatrix.matrix.scalars import (
    Arch,
    Count,
    CountOrZero,
    DepotPath,
    GitUrl,
    ImageByDigest,
    InsideGlob,
    InsidePath,
    ManyReleases,
    Name,
    OneOrMoreTexts,
    PackageName,
    PackageOf,
    Project,
    Release,
    Releases,
    Repository,
    Sha256,
    Sm,
    Some,
    Text,
    Url,
    Value,
    Variable,
    VersionOrNone,
    VersionsOrNone,
    Word,
    Words,
)

Source = Literal["debian", "pypi", "redist", "nvidia-apt", "nvidia-dnf", "nvidia-cross", "image"]

_Item = TypeVar("_Item")


def _words_without(kinds: Any, *left_out: str) -> tuple[str, ...]:
    """Return the words of a `Literal` without some of them."""
    return tuple(word for word in get_args(kinds) if word not in left_out)


class Table(BaseModel):
    """A mapping with known keys. What they have to do with each other is in `key_rules`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_rules: ClassVar[tuple[KeyRule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        rules = [dict(rule.schema()) for rule in cls.key_rules]
        handler.resolve_ref_schema(schema).update({"allOf": rules} if rules else {})
        return schema


class Axes(Table):
    """The values whose product are the cells."""

    cuda: Some[Releases]
    cudnn: Some[VersionOrNone] = ("none",)
    os: Some[Word]
    arch: Some[Arch]


class Include(Table):
    """A cell added outside of the product."""

    cuda: Release
    cudnn: VersionOrNone = "none"
    os: Word
    arch: Arch


class Exclude(Table):
    """Cells of the product that are not wanted; an axis left out means all its values."""

    cuda: ManyReleases | None = None
    cudnn: VersionsOrNone | None = None
    os: Words | None = None
    arch: Words | None = None
    reason: Text


class SourceEntry(Table):
    """Where the CUDA of some cells comes from; an axis left out means all its values. `image`
    has it, beside the operating system, where `source` is `image`."""

    key_rules = (
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
                    _words_without(Source, "image"),
                    lacks={"image": "`image` has no meaning for source `{tag}`"},
                    hint="remove it, or say `source: image`",
                ),
            ),
        ),
    )

    source: Source
    image: ImageByDigest | None = None
    cuda: ManyReleases | None = None
    os: Words | None = None
    arch: Words | None = None


class Defaults(Table):
    """What a short name leaves out."""

    os: Word | None = None
    arch: Arch | None = None


class Alias(Table):
    """What a short name stands for; an axis left out is filled as in any short name."""

    cuda: Release
    cudnn: VersionOrNone = "none"
    os: Word | None = None
    arch: Arch | None = None


class Policy(Table):
    """What images demand of the machines that they run on, and bring for them."""

    require_cuda: Literal["off", "major", "release"] = "off"
    cuda_compat: Literal["off", "on"] = "off"


class RegistryEntry(Table):
    """Where images are published; for which hosts they are made; and who has to have signed what
    is pulled: the holder of a key, or an identity that an issuer vouches for."""

    key_rules = (
        Together(("identity", "issuer"), "an identity is worth what its issuer vouches for"),
        Apart(("key", "identity")),
    )

    repository: Repository
    hosts: Some[Literal["x86_64", "aarch64"]] = ("x86_64",)
    key: InsidePath | None = None
    identity: Text | None = None
    issuer: Url | None = None


# Kind of source -> the key of its version.
SOURCE_KINDS = {
    "git": "revision",
    "perforce": "changelist",
    "sdist": "version",
    "debian": "suite",
    "archive": "sha256",
}


class LibrarySource(Table):
    """Where a library is that is not in the repository: one of a git repository at a `revision`, a
    depot path at a `changelist`, a source distribution of a `version`, a source package of a
    `suite`, or an archive of a `sha256`."""

    key_rules = (OneOf(SOURCE_KINDS),)

    git: GitUrl | None = None
    revision: Text | None = None
    perforce: DepotPath | None = None
    changelist: Count | None = None
    sdist: Project | None = None
    version: Text | None = None
    debian: PackageName | None = None
    suite: Word | None = None
    archive: Url | None = None
    sha256: Sha256 | None = None


BuildSystem: TypeAlias = Literal["cmake", "make", "meson", "bazel", "python", "script"]
TestFramework: TypeAlias = Literal[
    "ctest", "googletest", "catch2", "pytest", "meson", "bazel", "commands", "none"
]


_COMMANDS = "`build.commands` are what the system `script` runs"


class LibraryBuild(Table):
    """How a library is configured and compiled."""

    key_rules = (
        ByTag(
            "system",
            "cmake",
            (
                TagCase(
                    _words_without(BuildSystem, "cmake"),
                    lacks={"preset": "a `preset` is CMake's, not one of system `{tag}`"},
                ),
                TagCase(("script",), needs={"commands": f"{_COMMANDS}: it needs them"}),
                TagCase(
                    _words_without(BuildSystem, "script"),
                    lacks={"commands": f"{_COMMANDS}, not `{{tag}}`"},
                ),
            ),
        ),
    )

    system: BuildSystem = "cmake"
    preset: Text | None = None
    options: tuple[Text, ...] = ()
    targets: tuple[Text, ...] = ()
    commands: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    environment: dict[Variable, Value] = {}
    job_memory: Count | None = None
    timeout: Count | None = None


class LibraryTest(Table):
    """How a library is tested. `run` are programs, commands or paths, as the framework has it;
    `gpu` are globs of tests that need a GPU, `ignore` globs of files that no test depends on."""

    key_rules = (
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
                    lacks={
                        key: f"the library has no tests, so `{key}` means nothing"
                        for key in (
                            *("run", "options", "requires", "environment"),
                            *("gpu", "ignore", "retries", "timeout"),
                        )
                    },
                    hint="write `test: none` alone",
                ),
            ),
        ),
    )

    framework: TestFramework
    run: tuple[Text, ...] = ()
    options: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    environment: dict[Variable, Value] = {}
    gpu: tuple[Text, ...] = ()
    ignore: tuple[Text, ...] = ()
    retries: CountOrZero | None = None
    timeout: Count | None = None


def _no_tests(value: object) -> object:
    if isinstance(value, str) and value != "none":
        raise ValueError("must be a mapping, or `none` for a library without tests")
    return {"framework": "none"} if value == "none" else value


@dataclass(frozen=True)
class _OrNone:
    """A marker that adds the word `none` to the JSON Schema of a value."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"const": "none"}, handler(core)]}


TestOrNone = Annotated[LibraryTest, BeforeValidator(_no_tests), _OrNone()]


class LibraryEntry(Table):
    """A library; `path` is inside the repository or `source`, `trust` who shares its objects."""

    key_rules = (
        AnyOf(
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

    path: InsidePath | None = None
    source: LibrarySource | None = None
    build: LibraryBuild = LibraryBuild()
    test: TestOrNone | None = None
    benchmark: InsidePath | None = None
    artifacts: tuple[InsideGlob, ...] = ()
    components: tuple[Name, ...] = ()
    cells: OneOrMoreTexts | None = None
    cuda: Literal["toolkit", "none"] = "toolkit"
    sm: Literal["own"] | None = None
    trust: Name | None = None
    shm: Count | None = None


TierName: TypeAlias = Literal["pr", "nightly"]


class Tier(Table):
    """The budget of the cells that run on an occasion; a number left out is the built-in one."""

    jobs: Count | None = None
    gpu_jobs: CountOrZero | None = None
    always: tuple[Text, ...] = ()


class _Parts(Table):
    """What a matrix file has and an overlay adds to."""

    version: Literal["1"]
    include: tuple[Include, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    aliases: dict[Name, Alias] = {}
    bases: dict[Word, ImageByDigest] = {}
    libraries: dict[Name, LibraryEntry] = {}
    tiers: dict[TierName, Tier] = {}


class MatrixFile(_Parts):
    """The environments to build and the libraries to build in them."""

    model_config = ConfigDict(title="matrix.yaml")

    axes: Axes
    sources: tuple[SourceEntry, ...] = ()
    policy: Policy = Policy()
    registry: RegistryEntry | None = None
    defaults: Defaults = Defaults()
    sm: Some[Sm]


_Change = dict[Literal["add", "remove"], tuple[_Item, ...]]


class AxisChanges(Table):
    """The values that axes gain and lose."""

    cuda: _Change[Releases] = {}
    cudnn: _Change[VersionOrNone] = {}
    os: _Change[Word] = {}
    arch: _Change[Arch] = {}


class OverlayFile(_Parts):
    """What one migration changes of matrix.yaml."""

    model_config = ConfigDict(title="matrix.d/*.yaml")

    reason: Text
    axes: AxisChanges = AxisChanges()
    sources: tuple[SourceEntry, ...] | None = None
    policy: Policy | None = None
    defaults: Defaults | None = None
    sm: Some[Sm] | None = None


class FlavourFile(Table):
    """One flavour of image, in envs/<flavour>.yaml."""

    flavour: Name
    extends: Name | None = None
    components: tuple[Name, ...] = ()
    packages: tuple[PackageOf, ...] = ()
    families: dict[Literal["rpm", "zypper"], tuple[PackageOf, ...]] = {}
