"""The tables of docs/layout.md: where the files of each component are in images."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envmatrix.facts.versions import version_key

PAGE = Path(__file__).parents[1] / "docs/layout.md"

# The page's words for the sources of CUDA.
SOURCES = {
    "debian": "Debian",
    "pypi": "wheels",
    "redist": "archives",
    "nvidia-apt": "packages",
    "nvidia-dnf": "packages",
    "nvidia-cross": "packages",
}

_TABLE = r"<!-- {name} -->\n(?P<text>.*?)<!-- /{name} -->"
_PATH = re.compile(r"`(?P<path>[^`]+)`(?: \((?P<when>[^)]+)\))?")
_WHEN = re.compile(r"(?P<word>not|since|before)? ?(?P<rest>.+)")

# Prints each pattern of its arguments that no file is at. What a link leads to has to be there.
_MISSING = """
cd /usr/local/cuda
for pattern; do
  found=
  for file in $pattern; do [ ! -e "$file" ] || found=1; done
  [ "$found" ] || echo "$pattern"
done
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A path that the page says to be in images, for sources and releases that it says `when`."""

    path: str
    when: str = ""

    def is_for(self, source: str, release: str) -> bool:
        if not (condition := _WHEN.fullmatch(self.when)):
            return True
        if condition["word"] in {"since", "before"}:
            is_later = version_key(release) >= version_key(condition["rest"])
            return is_later == (condition["word"] == "since")
        named = SOURCES[source] in condition["rest"].split(", ")
        return named != (condition["word"] == "not")


def rows(name: str) -> Sequence[Mapping[str, str]]:
    """Return the rows of a table, by the heads of its columns."""
    table = re.search(_TABLE.format(name=name), PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert table, f"{PAGE.name} has no table `{name}`"
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in table["text"].splitlines()
    ]
    return [dict(zip(head, line, strict=True)) for line in lines]


def listed(cell: str) -> Sequence[Listed]:
    return [Listed(match["path"], match["when"] or "") for match in _PATH.finditer(cell)]


def components() -> Mapping[str, Sequence[Listed]]:
    """Return by component where its files are."""
    return {row["component"].strip("`"): listed(row["here"]) for row in rows("components")}


def system(flavour: str) -> Iterator[tuple[str, bool]]:
    """Yield each path of the root and of the system, and whether images of a flavour have it."""
    for row in rows("system"):
        if row["images"] == "all" or flavour in row["images"].split(", "):
            yield from ((entry.path, row["here"] != "none") for entry in listed(row["path"]))


def variables() -> Mapping[str, str]:
    """Return what `devel` images set to one value, and with an empty one what they do not set."""
    values: dict[str, str] = {}
    for row in rows("variables"):
        if row["here"] == "none" or re.fullmatch("`[^`]+`", row["here"]):
            value = "" if row["here"] == "none" else row["here"].strip("`")
            values |= {entry.path: value for entry in listed(row["variable"])}
    return values


def in_image(path: str, words: Mapping[str, str]) -> str:
    """Return a path with what its `<words>` mean in an image."""
    return re.sub("<(.*?)>", lambda match: words[match[1]], path)


def expected(flavour: str, source: str, release: str, names: Collection[str]) -> Mapping[str, bool]:
    """Return whether an image of a flavour that has the components `names` has each path."""
    paths = dict(system(flavour))
    for name in names:
        for entry in components()[name]:
            if entry.is_for(source, release) and (flavour != "runtime" or ".so." in entry.path):
                paths[entry.path] = True
    return paths


def check_files(image: str, source: str, names: Collection[str]) -> None:
    """Assert that an image of this machine's architecture has the files of the components `names`,
    and those of the system, where the page says."""
    environment, _, tag = image.partition(":")
    flavour, release = tag.partition("-")[0], environment.split("cuda")[-1].partition("-")[0]
    is_crossed = flavour == "cross"
    words = {
        "major": release.partition(".")[0],
        "release": release,
        "target": "sbsa-linux" if is_crossed else "x86_64-linux",
        "triplet": "aarch64-linux-gnu" if is_crossed else "x86_64-linux-gnu",
    }
    expectations = expected(flavour, source, release, names)
    paths = {in_image(path, words): is_there for path, is_there in expectations.items()}
    missing = _missing(image, paths)
    assert {path: path not in missing for path in paths} == paths


def _missing(image: str, paths: Collection[str]) -> set[str]:
    """Return those of `paths` that no file of an image is at."""
    command = ["docker", "run", "--rm", "--network=none", image, "sh", "-c", _MISSING, "sh"]
    done = subprocess.run([*command, *paths], check=True, stdout=subprocess.PIPE, text=True)
    return set(done.stdout.splitlines())


def check_variables(image: str) -> None:
    """Assert that a `devel` image sets the variables of the page, but for those set nowhere."""
    inspect = ["docker", "image", "inspect", "--format={{json .Config.Env}}", image]
    printed = subprocess.run(inspect, check=True, stdout=subprocess.PIPE, text=True).stdout
    values = dict(text.split("=", 1) for text in json.loads(printed))
    expectations = variables()
    assert {name: values.get(name, "") for name in expectations} == expectations
