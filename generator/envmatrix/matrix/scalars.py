"""The scalar types of matrix files (words, numbers, paths), for decoding and the JSON Schema."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias, TypeVar

from envmatrix.matrix.cells import ARCHES
from envmatrix.matrix.compilers import COMPILER, COMPILERS, suggest_clang, suggest_compiler
from envmatrix.matrix.other_names import (
    suggest_branch,
    suggest_capability,
    suggest_gpu_architecture,
    suggest_library,
    suggest_name,
    suggest_package,
    suggest_python,
    suggest_words,
)
from envmatrix.matrix.pythons import PYTHON, suggest_release
from envmatrix.matrix.selectors import suggest_selector
from envmatrix.schema.constraints import Mark, Scalar, checked, number, pattern

# Of a version: Python converts no more than some thousand digits.
_NUMBER = "(0|[1-9][0-9]{0,8})"
_RELEASE = rf"^(latest|oldest|{_NUMBER}\.(x|{_NUMBER}(\.{_NUMBER})?))$"
_RELEASES = rf"^(latest|oldest|minmax|{_NUMBER}\.(x|{_NUMBER}(\.{_NUMBER})?))$"
_A_RELEASE = "a version such as `12.4` or `12.4.1`, or one of `12.x`, `latest`, `oldest`"
_WORD = r"^[a-z][a-z0-9_.]*$"
REPOSITORY = r"^[a-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"
_MOST = 999_999
# With a host, maybe after a login, which another check rejects.
_URL = r"https?://([^\s/?#@]*@)?[^\s/?#@:]"
_A_WORD = "a name in lower case"

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
    return re.sub(r"(\*\*/)+", "**/", "/".join(parts))


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()


def _url(text: str) -> str:
    return str(_WEB.convert(text.strip()))


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


def _git_url(text: str) -> object:
    return _GIT_URL.convert(_text(text))


def _cudnn(text: str) -> object:
    return None if text == "none" else _VERSION_OR_NONE.convert(text)


_A_COMPILER = "a compiler such as `gcc-12` or `clang-16`, or one of `default`, `newest`, `oldest`"


Release = Annotated[str, pattern("release", _RELEASE, _A_RELEASE, suggest_selector)]
Releases = Annotated[
    str, pattern("releases", _RELEASES, f"{_A_RELEASE}, `minmax`", suggest_selector)
]
_VERSION_OR_NONE = pattern(
    "versionOrNone",
    rf"^(none|{_NUMBER}(\.{_NUMBER}){{1,3}})$",
    "a version such as `9.10`, or `none`",
)
VersionOrNone = Annotated[str, _VERSION_OR_NONE]
# The same, with None for `none`.
CudnnOfCell = Annotated[str, replace(_VERSION_OR_NONE, convert=_cudnn)]
Compiler = Annotated[str, pattern("compiler", COMPILER, _A_COMPILER, suggest_compiler)]
Compilers = Annotated[
    str, pattern("compilers", COMPILERS, f"{_A_COMPILER}, `minmax`", suggest_compiler)
]
Clang = Annotated[
    str, pattern("clang", r"^clang-[1-9][0-9]?$", "a Clang such as `clang-20`", suggest_clang)
]
CompilersOrigin = Annotated[
    str,
    pattern(
        "compilersOrigin",
        r"^compilers-[a-z0-9]+(-[a-z0-9]+)*$",
        "a name that begins with `compilers-`, such as `compilers-llvm`",
    ),
]
ArchivePath = Annotated[
    str,
    pattern(
        "archivePath",
        r"^(?![./-])(?!.*\.\.)([A-Za-z0-9._+/-]|\{(suite|major)\})+$",
        "a path such as `llvm-toolchain-{suite}-{major}`",
    ),
]
KeyFingerprint = Annotated[
    str, pattern("keyFingerprint", r"^[0-9A-F]{40}$", "40 hexadecimal digits in capital letters")
]
CudaCompiler: TypeAlias = Literal["nvcc", "clang"]
_A_PYTHON = "a release such as `3.14` or `3.14t`, or one of `default`, `newest`, `oldest`"
PythonRelease = Annotated[str, pattern("python", PYTHON, _A_PYTHON, suggest_release)]
_A_NAME = pattern("word", _WORD, _A_WORD, suggest_name)
Word = Annotated[str, _A_NAME]
Arch = Annotated[str, replace(_A_NAME, name="arch", schema={"enum": [*ARCHES]})]
# Names are part of those of images, whose tags have at most 128 characters, and of files.
_LONGEST_WORDS = 80


def _name(text: str) -> object:
    if len(text) > _LONGEST_WORDS:
        raise ValueError(f"is longer than {_LONGEST_WORDS} characters")
    return _WORDS.convert(text)


NAME = r"^[a-z][a-z0-9]*([._-][a-z0-9]+)*$"
_WORDS = pattern(
    "name", NAME, "a name of lower-case words joined by `-`, `_` or `.`", suggest_words
)
_SHORT = replace(_WORDS, convert=_name, schema={**_WORDS.schema, "maxLength": _LONGEST_WORDS})
Name = Annotated[str, _SHORT]
# Of another library, whose variant is the one that fits.
LibraryName = Annotated[str, replace(_SHORT, hint=suggest_library)]
Sm = Annotated[
    str,
    pattern(
        "sm",
        r"^[1-9][0-9]{1,2}[af]?$",
        "a GPU architecture such as `90` or `90a`",
        suggest_gpu_architecture,
    ),
]
Capability = Annotated[
    str,
    pattern(
        "capability",
        r"^(>=)?[1-9][0-9]{1,2}$",
        "a compute capability such as `90`, or at least one, `>=80`",
        suggest_capability,
    ),
]
# Branches are called `R550` as well.
_BRANCH = pattern(
    "driverBranch",
    r"^(>=)?R?[1-9][0-9]{2}$",
    "a branch of drivers such as `550` or `R550`, or at least one, `>=535`",
    suggest_branch,
)
DriverBranch = Annotated[
    str, replace(_BRANCH, convert=lambda text: str(_BRANCH.convert(text)).replace("R", ""))
]
Repository = Annotated[
    str,
    pattern(
        "repository",
        REPOSITORY,
        "a repository of images such as `registry.example/team/images`, without a tag",
    ),
]
ImageByDigest = Annotated[
    str,
    pattern(
        "imageByDigest",
        r"^[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}$",
        "an image by digest, `name@sha256:...`",
    ),
]
Count = Annotated[int, number("count", 1, _MOST)]
CountOrZero = Annotated[int, number("countOrZero", 0, _MOST)]
Changelist = Annotated[int, number("changelist", 1, 9_999_999_999)]
Project = Annotated[
    str,
    pattern(
        "project",
        r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "the name of a project in the package index",
    ),
]
ProjectGlob = Annotated[
    str,
    pattern(
        "projectGlob",
        r"^[a-z0-9*]([a-z0-9*-]*[a-z0-9*])?$",
        "a name of projects in the package index such as `nvidia-*`, in small letters with `-`",
    ),
]
_PYTHON = r"(>=|<=|==|!=|<|>)[1-9]\.(0|[1-9][0-9]?)"
PythonVersions = Annotated[
    str,
    pattern(
        "pythonVersions",
        rf"^{_PYTHON}(,{_PYTHON})*$",
        "releases of Python such as `>=3.12` or `>=3.11,<3.14`",
        suggest_python,
    ),
]
Sha256 = Annotated[str, pattern("sha256", r"^[0-9a-f]{64}$", "64 hexadecimal digits")]
DepotPath = Annotated[
    str,
    pattern(
        "depotPath",
        r"^//[^/@#*\s][^@#*\s]*[^/@#*\s.]$",
        "a path in a depot such as `//depot/library`, without `...`",
    ),
]
Variable = Annotated[
    str, pattern("variable", r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable")
]
Definition = Annotated[
    str,
    pattern(
        "definition",
        r"^[A-Za-z_][A-Za-z0-9_.:-]*$",
        "the name of a variable or an option of the build system, without `-D`",
    ),
]
PackageName = Annotated[str, pattern("packageName", r"^[a-z0-9{][a-z0-9+.{}-]+$", "a package name")]
# With an architecture, which `flavours` checks.
PackageOf = Annotated[
    str, pattern("packageOf", r"^[a-z0-9{][a-z0-9+.{}-]+(:\S*)?$", "a package name")
]
# Of any family: dnf has capital letters and `_`. A `-` at the end would have apt remove a package.
LibraryPackage = Annotated[
    str,
    pattern(
        "libraryPackage",
        r"^[A-Za-z0-9{][A-Za-z0-9+._{}-]*[A-Za-z0-9+.}](:native)?$",
        "the name of a package, of the build machine with `:native`",
        suggest_package,
    ),
]
ArchiveName = Annotated[
    str,
    pattern(
        "archiveName",
        r"^[A-Za-z0-9]([A-Za-z0-9._+-]{0,98}[A-Za-z0-9_+-])?$",
        "a name as the library calls what it would download",
    ),
]
# Of an environment variable. `documents` rejects values with a NUL.
Value = Annotated[str, Scalar("value", str, {"type": "string", "pattern": r"^[^\u0000]*$"})]
Text = Annotated[str, Scalar("text", _text, {"type": "string", "pattern": r"\S"})]
_WEB = pattern("", f"^{_URL}", "a URL that begins with `https://` or `http://`")
Label = Annotated[
    str,
    pattern(
        "label",
        r"^[!-~]([ -~]{0,198}[!-~])?$",
        "a label of machines: at most 200 printable characters of ASCII",
    ),
]
# No character that means something to a shell, to YAML or to a CI engine.
_INSTALL = (
    r"^([A-Za-z0-9_][A-Za-z0-9._+-]*/)*[A-Za-z0-9_][A-Za-z0-9._+-]*\.(whl|txt)$"
    r"|^https://[A-Za-z0-9._~:/+%-]+\.whl#sha256=[0-9a-f]{64}$"
)
Install = Annotated[
    str,
    pattern(
        "install",
        _INSTALL,
        "a wheel (`tools/envmatrix.whl`) or a file of requirements with hashes"
        " (`tools/requirements.txt`) in the repository, or `https://HOST/WHEEL.whl#sha256=HASH`",
    ),
]
Url = Annotated[str, Scalar("url", _url, {"type": "string", "pattern": rf"^\s*{_URL}"})]
CommitUrl = Annotated[
    str,
    pattern(
        "commitUrl",
        rf"^{_URL}\S*\{{commit\}}\S*$",
        "a URL with `{commit}`, such as `https://git.example/project/commit/{commit}`",
    ),
]
_GIT_URL = checked("gitUrl", _without_helper, {"pattern": r"\S", "not": {"pattern": _HELPER}})
GitUrl = Annotated[str, Scalar("gitUrl", _git_url, _GIT_URL.schema)]

# The part of `_inside_repository` and `file_glob` that JSON Schema can express.
_NO_CONTROL = r"^[^\u0000-\u001f\u007f]+$"
_RELATIVE = r"^[^/~\\]"
_CLIMBS = r"(^|[/\\])\.\.([/\\]|$)|^[^/\\]*:"
_NO_FILE = r"(^|/)(\.|\*\*)?$|[^/]\*\*|\*\*[^/]"
_PATH = {
    "maxLength": _LONGEST_PATH,
    "allOf": [{"pattern": _NO_CONTROL}, {"pattern": _RELATIVE}],
    "not": {"pattern": _CLIMBS},
}
InsidePath = Annotated[str, checked("path", _inside_repository, _PATH)]
InsideGlob = Annotated[
    str, checked("glob", file_glob, {**_PATH, "not": {"pattern": f"{_CLIMBS}|{_NO_FILE}"}})
]

_Item = TypeVar("_Item")
Some = Annotated[tuple[_Item, ...], Mark.NON_EMPTY]
OneOrMore = Annotated[tuple[_Item, ...], Mark.NON_EMPTY, Mark.ONE_OR_MANY]
