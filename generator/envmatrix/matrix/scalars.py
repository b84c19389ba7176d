"""The scalar types of matrix files (words, numbers, paths), for validation and the JSON Schema."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

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
_MOST = 999_999
_COUNT = r"^[1-9][0-9]{0,5}$"
_COUNT_OR_ZERO = r"^(0|[1-9][0-9]{0,5})$"
_PACKAGE = r"^[a-z0-9{][a-z0-9+.{}-]+$"
_PACKAGE_OF = r"^[a-z0-9{][a-z0-9+.{}-]+(:\S*)?$"
_PROJECT = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
_SHA256 = r"^[0-9a-f]{64}$"
_DEPOT = r"^//[^/@#*\s][^@#*\s]*[^/@#*\s.]$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
# With a host, maybe after a login, which another check rejects.
_URL = r"https?://([^\s/?#@]*@)?[^\s/?#@:]"
_WEB = f"^{_URL}"

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
    _PACKAGE_OF: "a package name",
    _PROJECT: "the name of a project in the package index",
    _SHA256: "64 hexadecimal digits",
    _DEPOT: "a path in a depot such as `//depot/library`, without `...`",
    _VARIABLE: "the name of an environment variable",
    _WEB: "a URL that begins with `https://` or `http://`",
}


# Limits of Linux, less the directories around a path.
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


# `**` after `**`.
_ANY = ("**", "**")


def file_glob(pattern: str) -> str:
    """Return a glob of files in the build directory in its normal form. Raise ValueError if it is
    not one."""
    _inside_repository(pattern)
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts or pattern.endswith("/"):
        raise ValueError("names a directory, and must name files: `libx.so*`, `bin/*`")
    if glued := [part for part in parts if "**" in part and part != "**"]:
        raise ValueError(f"`**` stands alone between slashes, `**/*.so`, not as in `{glued[0]}`")
    if parts[-1] == "**":
        raise ValueError("`**` means directories; `**/*` means all files in them")
    # `**/**` is `**`.
    normal = [
        part for part, before in zip(parts, ("", *parts), strict=False) if (part, before) != _ANY
    ]
    return "/".join(normal)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Release = Annotated[str, StringConstraints(pattern=RELEASE)]
Releases = Annotated[str, StringConstraints(pattern=RELEASES)]
VersionOrNone = Annotated[str, StringConstraints(pattern=_VERSION_OR_NONE)]
Word = Annotated[str, StringConstraints(pattern=_WORD)]
Arch = Annotated[
    str, StringConstraints(pattern=_WORD), Field(json_schema_extra={"enum": [*ARCHES]})
]
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Sm = Annotated[str, StringConstraints(pattern=_SM)]
Repository = Annotated[str, StringConstraints(pattern=REPOSITORY)]
ImageByDigest = Annotated[str, StringConstraints(pattern=_IMAGE)]


def _number(least: int, pattern: str) -> WithJsonSchema:
    """Return the schema of a number, quoted or not."""
    number = {"type": "integer", "minimum": least, "maximum": _MOST}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}]})


Count = Annotated[str, StringConstraints(pattern=_COUNT), _number(1, _COUNT)]
CountOrZero = Annotated[str, StringConstraints(pattern=_COUNT_OR_ZERO), _number(0, _COUNT_OR_ZERO)]
Project = Annotated[str, StringConstraints(pattern=_PROJECT)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]
DepotPath = Annotated[str, StringConstraints(pattern=_DEPOT)]
Variable = Annotated[str, StringConstraints(pattern=_VARIABLE)]
PackageName = Annotated[str, StringConstraints(pattern=_PACKAGE)]
# With an architecture, which `flavours` checks.
PackageOf = Annotated[str, StringConstraints(pattern=_PACKAGE_OF)]


# Of an environment variable. `document` rejects values with a NUL.
Value = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^[^\u0000]*$"})]

Text = Annotated[
    str,
    StringConstraints(min_length=1, strip_whitespace=True),
    WithJsonSchema({"type": "string", "pattern": r"\S"}),
]
Url = Annotated[
    str,
    StringConstraints(pattern=_WEB, strip_whitespace=True),
    WithJsonSchema({"type": "string", "pattern": rf"^\s*{_URL}"}),
]

# Where git runs a program of that name, `git-remote-<helper>`: `helper::address`, and any scheme
# that it does not know. https://git-scm.com/docs/gitremote-helpers
_OF_GIT = r"(https?|ssh|git|file|ftps?|git\+ssh|ssh\+git)://"
_HELPER = rf"^\s*([A-Za-z0-9+.-]*::|(?!{_OF_GIT})[A-Za-z0-9][A-Za-z0-9+.-]*://)"


def _without_helper(url: str) -> str:
    if re.search(_HELPER, url):
        raise ValueError(
            "must be a path or a URL that git reads itself (https, ssh, git, file), not one that "
            "it runs another program for"
        )
    return url


GitUrl = Annotated[
    Text,
    AfterValidator(_without_helper),
    WithJsonSchema({"type": "string", "pattern": r"\S", "not": {"pattern": _HELPER}}),
]
# The part of `_inside_repository` and `file_glob` that JSON Schema can express.
_NO_CONTROL = r"^[^\u0000-\u001f\u007f]+$"
_RELATIVE = r"^[^/~\\]"
_CLIMBS = r"(^|[/\\])\.\.([/\\]|$)|^[^/\\]*:"
_NO_FILE = r"(^|/)(\.|\*\*)?$|[^/]\*\*|\*\*[^/]"


def _path(*wrong: str) -> WithJsonSchema:
    conditions = [{"pattern": _NO_CONTROL}, {"pattern": _RELATIVE}]
    excluded = [{"not": {"pattern": pattern}} for pattern in wrong]
    longest = {"type": "string", "maxLength": _LONGEST_PATH}
    return WithJsonSchema({**longest, "allOf": [*conditions, *excluded]})


InsidePath = Annotated[str, AfterValidator(_inside_repository), _path(_CLIMBS)]
InsideGlob = Annotated[str, AfterValidator(file_glob), _path(_CLIMBS, _NO_FILE)]

_Item = TypeVar("_Item")
Some = Annotated[tuple[_Item, ...], Field(min_length=1)]


def _one_or_more(pattern: str) -> WithJsonSchema:
    item = {"type": "string", "pattern": pattern}
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})


OneOrMore = Annotated[Some[_Item], BeforeValidator(_as_list)]
ManyReleases = Annotated[OneOrMore[Releases], _one_or_more(RELEASES)]
VersionsOrNone = Annotated[OneOrMore[VersionOrNone], _one_or_more(_VERSION_OR_NONE)]
Words = Annotated[OneOrMore[Word], _one_or_more(_WORD)]
OneOrMoreTexts = Annotated[OneOrMore[Text], _one_or_more(r"\S")]
