"""The shape of matrix.yaml and of envs/*.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from envmatrix.matrix.cells import ARCHES

_NUMBER = "(0|[1-9][0-9]*)"
RELEASE = rf"^(latest|oldest|{_NUMBER}\.(x|{_NUMBER}(\.{_NUMBER})?))$"
RELEASES = rf"^(latest|oldest|minmax|{_NUMBER}\.(x|{_NUMBER}(\.{_NUMBER})?))$"
_VERSION_OR_NONE = rf"^(none|{_NUMBER}(\.{_NUMBER}){{1,3}})$"
_WORD = r"^[a-z][a-z0-9_.]*$"
_NAME = r"^[a-z][a-z0-9]*([._-][a-z0-9]+)*$"
_SM = r"^[1-9][0-9]{1,2}[af]?$"
_IMAGE = r"^[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$"
REPOSITORY = r"^[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"
_COUNT = r"^[1-9][0-9]{0,5}$"
_COUNT_OR_ZERO = r"^(0|[1-9][0-9]{0,5})$"
_PACKAGE = r"^[a-z0-9{][a-z0-9+.{}-]+$"
_PROJECT = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
_SHA256 = r"^[0-9a-f]{64}$"
_DEPOT = r"^//[^/@#*\s][^@#*\s]*[^/@#*\s.]$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"

EXPECTED = {
    RELEASE: "a version such as `12.4` or `12.4.1`, or one of `12.x`, `latest`, `oldest`",
    RELEASES: (
        "a version such as `12.4` or `12.4.1`, or one of `12.x`, `latest`, `oldest`, `minmax`"
    ),
    _VERSION_OR_NONE: "a version such as `9.10`, or `none`",
    _WORD: "a name in lower case",
    _NAME: "a name of lower-case words joined by `-`, `_` or `.`",
    _SM: "a GPU architecture such as `90` or `90a`",
    _IMAGE: "an image by digest, `name@sha256:...`",
    REPOSITORY: "a repository of images such as `registry.example/team/images`, without a tag",
    _COUNT: "a number from 1 to 999999",
    _COUNT_OR_ZERO: "a number from 0 to 999999",
    _PACKAGE: "a package name",
    _PROJECT: "the name of a project in the package index",
    _SHA256: "64 hexadecimal digits",
    _DEPOT: "a path in a depot such as `//depot/library`, without `...`",
    _VARIABLE: "the name of an environment variable",
}


# What Linux takes, less the directories around it.
_LONGEST_PATH, _LONGEST_NAME = 2048, 255


def _inside_repository(path: str) -> str:
    if control := re.search(r"[\x00-\x1f\x7f]", path):
        raise ValueError(f"has a control character, {control[0]!a}")
    parts = path.replace("\\", "/").split("/")
    if len(path) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise ValueError("is longer than the name of a file can be")
    if not path or path.startswith(("/", "~", "\\")) or ".." in parts or ":" in parts[0]:
        raise ValueError("must be a relative path that stays inside the repository")
    return path


def file_glob(pattern: str) -> str:
    """A pattern of files in the build directory, without what means nothing in it."""
    _inside_repository(pattern)
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or pattern.endswith("/"):
        raise ValueError("names a directory, and must name files: `libx.so*`, `bin/*`")
    if glued := [part for part in parts if "**" in part and part != "**"]:
        raise ValueError(f"`**` stands alone between slashes, `**/*.so`, not as in `{glued[0]}`")
    if parts[-1] == "**":
        raise ValueError("`**` means directories; `**/*` means all files in them")
    return "/".join(parts)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Release = Annotated[str, StringConstraints(pattern=RELEASE)]
Releases = Annotated[str, StringConstraints(pattern=RELEASES)]
VersionOrNone = Annotated[str, StringConstraints(pattern=_VERSION_OR_NONE)]
Word = Annotated[str, StringConstraints(pattern=_WORD)]
Arch = Annotated[
    str, StringConstraints(pattern=_WORD), Field(json_schema_extra={"enum": [*ARCHES]})
]
Source = Literal["debian", "pypi", "redist", "nvidia-apt", "nvidia-dnf", "nvidia-cross", "image"]
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Sm = Annotated[str, StringConstraints(pattern=_SM)]
Repository = Annotated[str, StringConstraints(pattern=REPOSITORY)]
ImageByDigest = Annotated[str, StringConstraints(pattern=_IMAGE)]
Count = Annotated[
    str, StringConstraints(pattern=_COUNT), WithJsonSchema({"type": "integer", "minimum": 1})
]
CountOrZero = Annotated[
    str,
    StringConstraints(pattern=_COUNT_OR_ZERO),
    WithJsonSchema({"type": "integer", "minimum": 0}),
]
Project = Annotated[str, StringConstraints(pattern=_PROJECT)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]
DepotPath = Annotated[str, StringConstraints(pattern=_DEPOT)]
Variable = Annotated[str, StringConstraints(pattern=_VARIABLE)]
PackageName = Annotated[str, StringConstraints(pattern=_PACKAGE)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
InsidePath = Annotated[str, AfterValidator(_inside_repository)]
InsideGlob = Annotated[str, AfterValidator(file_glob)]

_Item = TypeVar("_Item")
Some = Annotated[tuple[_Item, ...], Field(min_length=1)]


def _one_or_more(pattern: str) -> WithJsonSchema:
    one = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


OneOrMore = Annotated[Some[_Item], BeforeValidator(_as_list)]
ManyReleases = Annotated[OneOrMore[Releases], _one_or_more(RELEASES)]
VersionsOrNone = Annotated[OneOrMore[VersionOrNone], _one_or_more(_VERSION_OR_NONE)]
Words = Annotated[OneOrMore[Word], _one_or_more(_WORD)]
OneOrMoreTexts = Annotated[OneOrMore[Text], _one_or_more(".")]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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

    repository: Repository
    hosts: Some[Literal["x86_64", "aarch64"]] = ("x86_64",)
    key: InsidePath | None = None
    identity: Text | None = None
    issuer: Text | None = None


class LibrarySource(Table):
    """Where a library is that is not in the repository: one of a git repository at a `revision`, a
    depot path at a `changelist`, a source distribution of a `version`, a source package of a
    `suite`, or an archive of a `sha256`."""

    git: Text | None = None
    revision: Text | None = None
    perforce: DepotPath | None = None
    changelist: Count | None = None
    sdist: Project | None = None
    version: Text | None = None
    debian: PackageName | None = None
    suite: Word | None = None
    archive: Text | None = None
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = {name for name in SOURCE_KINDS if getattr(self, name) is not None}
        if len(given) != 1:
            names = ", ".join(f"`{name}`" for name in SOURCE_KINDS)
            raise ValueError(f"must have one of {names}")
        (kind,) = given
        if getattr(self, SOURCE_KINDS[kind]) is None:
            raise ValueError(f"has `{kind}` and needs `{SOURCE_KINDS[kind]}` as well")
        others = set(SOURCE_KINDS.values()) - {SOURCE_KINDS[kind]}
        if wrong := sorted(name for name in others if getattr(self, name) is not None):
            raise ValueError(f"has `{kind}`, which `{wrong[0]}` is not for")
        return self


# What a source is known by, and what says which one of it.
SOURCE_KINDS = {
    "git": "revision",
    "perforce": "changelist",
    "sdist": "version",
    "debian": "suite",
    "archive": "sha256",
}

BuildSystem: TypeAlias = Literal["cmake", "make", "meson", "bazel", "python", "script"]
TestFramework: TypeAlias = Literal[
    "ctest", "googletest", "catch2", "pytest", "meson", "bazel", "commands", "none"
]


class LibraryBuild(Table):
    """How a library is configured and compiled."""

    system: BuildSystem = "cmake"
    preset: Text | None = None
    options: tuple[Text, ...] = ()
    targets: tuple[Text, ...] = ()
    commands: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    environment: dict[Variable, str] = {}
    job_memory: Count | None = None
    timeout: Count | None = None


class LibraryTest(Table):
    """How a library is tested. `run` are programs, commands or paths, as the framework has it;
    `gpu` are globs of tests that need a GPU, `ignore` globs of files that no test depends on."""

    framework: TestFramework
    run: tuple[Text, ...] = ()
    options: tuple[Text, ...] = ()
    requires: tuple[Text, ...] = ()
    environment: dict[Variable, str] = {}
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
    """In the JSON Schema, the word `none` beside what else a value may be."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"const": "none"}, handler(core)]}


TestOrNone = Annotated[LibraryTest, BeforeValidator(_no_tests), _OrNone()]


class LibraryEntry(Table):
    """A library that environments compile, test and measure. `path` is where it is in the
    repository, or within its `source`."""

    path: InsidePath | None = None
    source: LibrarySource | None = None
    build: LibraryBuild = LibraryBuild()
    test: TestOrNone | None = None
    benchmark: InsidePath | None = None
    artifacts: tuple[InsideGlob, ...] = ()
    components: tuple[Name, ...] = ()
    cells: OneOrMoreTexts | None = None
    cuda: Literal["toolkit", "none"] = "toolkit"


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
    packages: tuple[PackageName, ...] = ()
    families: dict[Literal["rpm", "zypper"], tuple[PackageName, ...]] = {}


def json_schema(model: type[Table]) -> dict[str, object]:
    """The JSON Schema of a file, for editors."""
    schema = model.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
