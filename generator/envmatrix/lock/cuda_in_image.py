"""Contents of an image with CUDA, checked against the requested components. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from fnmatch import translate
from functools import cache

from envmatrix.errors import LookupFailed
from envmatrix.facts.components import markers
from envmatrix.lock.model import ImageRequest, InImageRequest
from envmatrix.records import dataclass

# The shell script that lists an image's contents. Links are followed, so a file is listed under
# every path to it: /usr/local/cuda/include may be a link, as /usr/local/cuda itself is.
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

_DEFINITION = re.compile(r"\s*(?P<name>\S+) \s*(?P<value>\d{1,18})")

_CUDA = "/usr/local/cuda"
_PLACES = {
    "include": (f"{_CUDA}/include", "/usr/include", "/usr/include/*-linux-gnu"),
    "lib": (f"{_CUDA}/lib64", "/usr/lib/*-linux-gnu", "/usr/lib64"),
}
_HINT = "name another image, or another `source` for these cells, under `sources` in matrix.yaml"


@dataclass(frozen=True)
class ProbedImage:
    """Contents of an image. `os` and `numbers` are the definitions of os-release and of the
    headers; `cuda` is the release, if any."""

    os: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    cuda: str = ""
    paths: frozenset[str] = frozenset()

    @property
    def cudnn(self) -> str:
        names = ("CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")
        return ".".join(str(self.numbers[name]) for name in names if name in self.numbers)

    def matching(self, pattern: str) -> list[str]:
        """Return the files that match a pattern of markers.yaml."""
        top, _, rest = pattern.partition("/")
        places = [f"{place}/{rest}" for place in _PLACES.get(top, ())] or [f"{_CUDA}/{pattern}"]
        expression = re.compile("|".join(map(translate, places)))
        return sorted(path for path in self.paths if expression.match(path))


def parse_contents(printed: str) -> ProbedImage:
    """Parse the output of `PROBE`."""
    rows: dict[str, list[str]] = {"os": [], "json": [], "#define": [], "file": []}
    for line in printed.splitlines():
        kind, _, rest = line.partition(" ")
        rows.setdefault(kind, []).append(rest)
    pairs = (line.partition("=") for line in rows["os"])
    matches = filter(None, map(_DEFINITION.match, rows["#define"]))
    numbers = {match["name"]: int(match["value"]) for match in matches}
    return ProbedImage(
        os={name: value.strip("\"'") for name, _, value in pairs},
        numbers=numbers,
        cuda=_release("".join(rows["json"]), numbers.get("CUDA_VERSION", 0)),
        paths=frozenset(rows["file"]),
    )


def _release(version_json: str, number: int) -> str:
    """Return 12.4.1 of version.json, or 12.4 for 12040 in cuda.h; "" if both are missing."""
    try:
        return str(json.loads(version_json)["cuda"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def component_versions(
    request: InImageRequest, base: ImageRequest, contents: ProbedImage
) -> Mapping[str, str]:
    """Return the version of each component of `request`, "" where no file names it.

    Raise LookupFailed with every component or version that the image lacks.
    """
    is_cudnn = "cudnn" in request.components
    product, actual = ("cuDNN", contents.cudnn) if is_cudnn else ("CUDA", contents.cuda)
    problems = [*_os_problems(base, contents), *_version_problems(product, actual, request.version)]
    versions: dict[str, str] = {}
    for name in request.components:
        missing = [pattern for pattern in markers()[name].files if not contents.matching(pattern)]
        if missing:
            problems.append(
                f"component `{name}` is not in it: there is no `{'`, no `'.join(missing)}`"
            )
        versions[name] = actual if is_cudnn else _version_of(name, contents)
    if problems:
        message = f"the image `{base.image}` for {base.arch} is not what the matrix asks for"
        raise LookupFailed(message, details=problems, hint=_HINT)
    return versions if is_cudnn else {"cuda": actual, **versions}


def _os_problems(base: ImageRequest, contents: ProbedImage) -> Iterator[str]:
    suite = contents.os.get("VERSION_CODENAME", "")
    if suite != base.suite:
        name = contents.os.get("PRETTY_NAME") or "unknown"
        yield f"its operating system is {name}, and its suite `{suite}`, not `{base.suite}`"


def _version_problems(product: str, actual: str, version: str) -> Iterator[str]:
    if not actual:
        yield f"nothing in it tells a version of {product}"
    elif not f"{actual}.".startswith(f"{version}."):
        yield f"it has {product} {actual}, not {version}"


def _version_of(component: str, contents: ProbedImage) -> str:
    """Return the longest version in a library's file name: libcudart.so.12.4.127."""
    pattern = next((text for text in markers()[component].files if text.endswith(".so.*")), None)
    names = contents.matching(pattern) if pattern else []
    return max((name.rpartition(".so.")[2] for name in names), key=len, default="")


def component_of(file: str) -> str | None:
    """Return the component of a header, library or CMake target by its name or directory, if any:
    `curand_kernel.h`, `cublasLt`, `thrust/sort.h`."""
    directory, _, name = file.rpartition("/")
    for component, marker in markers().items():
        for pattern in marker.files:
            marker_directory, _, marker_name = pattern.rpartition("/")
            if name == marker_name or (directory and marker_directory.endswith(directory)):
                return component
    word = name.removeprefix("lib").lower()
    beginnings = [beginning for beginning in _beginnings() if word.startswith(beginning)]
    if not beginnings:
        return None
    component = _beginnings()[max(beginnings, key=len)]
    static = f"{component}-static"
    return static if "_static" in word and static in markers() else component


@cache
def _beginnings() -> Mapping[str, str]:
    """Map prefixes of headers, libraries and CMake targets to their component."""
    return {
        beginning: component
        for component, marker in markers().items()
        for beginning in (component, *marker.names)
    }
