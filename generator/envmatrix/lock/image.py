"""What an image with CUDA says of itself, and whether that is what is asked for. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache

from envmatrix.errors import LookupFailed
from envmatrix.lock.model import Request
from envmatrix.matrix.rows import mapping, texts

# What an image is asked, by its own shell. Links are followed, so a file has the names of all ways
# that lead to it: /usr/local/cuda/include may be a link, as /usr/local/cuda itself is.
PROBE = r"""
sed 's/^/os /' /etc/os-release
[ ! -f /usr/local/cuda/version.json ] || tr -d '\n' </usr/local/cuda/version.json | sed 's/^/json /'
echo
grep -hsE '^#define +(CUDA_VERSION|CUDNN_(MAJOR|MINOR|PATCHLEVEL)) ' \
  /usr/local/cuda/include/cuda.h /usr/local/cuda/include/cudnn_version.h \
  /usr/include/cudnn_version.h /usr/include/*-linux-gnu/cudnn_version.h
find -L /usr/local/cuda/ -type f 2>/dev/null | sed 's/^/file /'
find -L /usr/include/ /usr/lib/ /usr/lib64/ -maxdepth 2 -type f 2>/dev/null | sed 's/^/file /'
"""

_CUDA = "/usr/local/cuda"
_PLACES = {
    "include": (f"{_CUDA}/include", "/usr/include", "/usr/include/*-linux-gnu"),
    "lib": (f"{_CUDA}/lib64", "/usr/lib/*-linux-gnu", "/usr/lib64"),
}
_WANTED = re.compile(r"(?P<name>[\w-]+)==(?P<version>[\d.]+)\.\*")
_HINT = "name another image, or another `source` for these cells, under `sources` in matrix.yaml"


@dataclass(frozen=True)
class Contents:
    """`os`, `numbers`: what os-release and the headers define; `cuda`: the release, if any."""

    os: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    cuda: str = ""
    paths: frozenset[str] = frozenset()

    @property
    def cudnn(self) -> str:
        names = ("CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")
        return ".".join(str(self.numbers[name]) for name in names if name in self.numbers)

    def matching(self, pattern: str) -> list[str]:
        """The files that a pattern of markers.yaml means."""
        top, _, rest = pattern.partition("/")
        places = [f"{place}/{rest}" for place in _PLACES.get(top, ())] or [f"{_CUDA}/{pattern}"]
        wanted = re.compile("|".join(map(translate, places)))
        return sorted(path for path in self.paths if wanted.match(path))


def read(said: str) -> Contents:
    """What `PROBE` printed."""
    rows: dict[str, list[str]] = {"os": [], "json": [], "#define": [], "file": []}
    for line in said.splitlines():
        kind, _, rest = line.partition(" ")
        rows.setdefault(kind, []).append(rest)
    pairs = (line.partition("=") for line in rows["os"])
    numbers = {name: int(value) for name, value in map(_definition, rows["#define"]) if value}
    return Contents(
        os={name: value.strip("\"'") for name, _, value in pairs},
        numbers=numbers,
        cuda=_release("".join(rows["json"]), numbers.get("CUDA_VERSION", 0)),
        paths=frozenset(rows["file"]),
    )


def _definition(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition(" ")
    number = re.match(r"\d{,18}", value.strip())
    return name, number[0] if number else ""


def _release(version_json: str, number: int) -> str:
    """12.4.1 of version.json, or 12.4 of the 12040 in cuda.h: both files may be missing."""
    try:
        return str(json.loads(version_json)["cuda"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def answer(request: Request, base: Request, contents: Contents) -> Mapping[str, str]:
    """The components that `request` asks for, each with its version where a file tells it.

    Raises LookupFailed with everything that the image lacks.
    """
    found: dict[str, str] = {}
    wrong = [*_os_problems(base, contents)]
    for text in request.packages:
        wanted = _WANTED.fullmatch(text)
        assert wanted is not None  # noqa: S101 -- requests are made by `lock.sources`
        name, version = wanted["name"], wanted["version"]
        wrong += _version_problems(name, version, contents)
        lacking = [pattern for pattern in markers()[name] if not contents.matching(pattern)]
        if lacking:
            wrong.append(
                f"component `{name}` is not in it: there is no `{'`, no `'.join(lacking)}`"
            )
        found[name] = contents.cudnn if name == "cudnn" else _version_of(name, contents)
    if wrong:
        message = f"the image `{base.packages[0]}` for {base.arch} is not what the matrix asks for"
        raise LookupFailed(message, details=tuple(dict.fromkeys(wrong)), hint=_HINT)
    return found if "cudnn" in found else {"cuda": contents.cuda, **found}


def _os_problems(base: Request, contents: Contents) -> Iterator[str]:
    suite = contents.os.get("VERSION_CODENAME", "")
    if suite != base.suite:
        name = contents.os.get("PRETTY_NAME") or "unknown"
        yield f"its operating system is {name}, and its suite `{suite}`, not `{base.suite}`"


def _version_problems(name: str, wanted: str, contents: Contents) -> Iterator[str]:
    what, found = ("cuDNN", contents.cudnn) if name == "cudnn" else ("CUDA", contents.cuda)
    if not found:
        yield f"nothing in it tells a version of {what}"
    elif not f"{found}.".startswith(f"{wanted}."):
        yield f"it has {what} {found}, not {wanted}"


def _version_of(component: str, contents: Contents) -> str:
    """The longest that a library carries in its name: libcudart.so.12.4.127."""
    pattern = next((text for text in markers()[component] if text.endswith(".so.*")), None)
    names = contents.matching(pattern) if pattern else []
    return max((name.rpartition(".so.")[2] for name in names), key=len, default="")


@cache
def markers() -> Mapping[str, Sequence[str]]:
    """Component -> the files that it is known by."""
    return {name: texts(row["files"]) for name, row in mapping("markers.yaml").items()}


def component_of(file: str) -> str | None:
    """The component that a header, a library or CMake's target is of, by its name or by its
    directory: `curand_kernel.h`, `cublasLt`, `thrust/sort.h`; None for what is of none."""
    directory, _, name = file.rpartition("/")
    for component, files in markers().items():
        for known in files:
            there, _, own = known.rpartition("/")
            if name == own or (directory and there.endswith(directory)):
                return component
    word = name.removeprefix("lib").lower()
    named = [beginning for beginning in _beginnings() if word.startswith(beginning)]
    if not named:
        return None
    component = _beginnings()[max(named, key=len)]
    static = f"{component}-static"
    return static if "_static" in word and static in markers() else component


@cache
def _beginnings() -> Mapping[str, str]:
    """How names of headers, libraries and CMake's targets begin -> their component."""
    rows = mapping("markers.yaml")
    return {
        beginning: component
        for component, row in rows.items()
        for beginning in (component, *texts(row.get("names", [])))
    }
