"""The contents of an image before it is built, and their fingerprint: a hash of the stages, scripts
and files that it depends on. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, field
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any

from envmatrix.records import dataclass

# The version of building and exporting: raise it when a change of these changes images.
_BUILD = 3

# The version of the JSON document.
_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class StagePackage:
    """A file of the lock, by its sha256 (hex)."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class StageContents:
    """The contents of a stage: the sha256 (hex) of its steps, the image below it if there is one,
    and its files."""

    steps: str
    base: str = ""
    packages: tuple[StagePackage, ...] = ()

    @cached_property
    def sha256(self) -> str:
        return content_hash(self.steps, self.base, *(package.sha256 for package in self.packages))


class StagesOnDemand(Mapping[str, StageContents]):
    """The stages of an image, read when they are first needed."""

    def __init__(self, read: Callable[[], Mapping[str, StageContents]]) -> None:
        self._read = read

    @cached_property
    def _stages(self) -> Mapping[str, StageContents]:
        return self._read()

    def __getitem__(self, name: str) -> StageContents:
        return self._stages[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)


@dataclass(frozen=True, slots=True)
class BuildContents:
    """The contents of an image: the stages that it depends on, by name. `epoch` is the
    SOURCE_DATE_EPOCH of its layers."""

    epoch: int
    stages: Mapping[str, StageContents] = field(hash=False)

    @property
    def hashes(self) -> Mapping[str, str]:
        """The sha256 (hex) of each stage by name; that of the epoch is under ""."""
        stages = {name: stage.sha256 for name, stage in sorted(self.stages.items())}
        return {"": content_hash(str(self.epoch)), **stages}

    @property
    def packages(self) -> Iterator[StagePackage]:
        return (package for stage in self.stages.values() for package in stage.packages)

    def fingerprint(self, arch: str) -> str:
        rows = (f"{name} {digest}" for name, digest in self.hashes.items())
        return content_hash(f"{_BUILD} linux/{arch}", *rows)


def content_hash(*rows: str) -> str:
    """Return the sha256 (hex) of texts, as a list in JSON."""
    # What `json.dumps` writes, in a third of its time: plans of jobs hash tens of thousands.
    document = f"[{', '.join(map(encode_basestring_ascii, rows))}]"
    return hashlib.sha256(document.encode()).hexdigest()


def build_record(contents: BuildContents) -> str:
    """Return contents as JSON; equal contents are equal texts."""
    stages = {name: asdict(stage) for name, stage in contents.stages.items()}
    document = {"version": _VERSION, "epoch": contents.epoch, "stages": stages}
    return json.dumps(document, sort_keys=True) + "\n"


def contents_in(text: str) -> BuildContents | None:
    """Return the contents in a JSON document; None for another version and anything else."""
    try:
        document = json.loads(text)
        if document["version"] != _VERSION:
            return None
        stages = {name: _stage_in(row) for name, row in document["stages"].items()}
        return BuildContents(int(document["epoch"]), stages)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None


def _stage_in(row: Any) -> StageContents:
    words = ("name", "version", "sha256")
    packages = (StagePackage(*(str(file[word]) for word in words)) for file in row["packages"])
    return StageContents(str(row["steps"]), str(row["base"]), tuple(packages))
