"""How many types and functions does a cell pass through until its first container starts?

`envmatrix run compile` of a cell, with an engine that has its images and starts no container:
  warm  with all that is remembered of the repository
  cold  without: the matrix is expanded, and the lock and the Dockerfile are compared with it
A type of the package counts if one of its objects is the cell or has it, its id or its environment
in a field or a collection; a function if it takes an object that is made for the cell alone, not
for all cells. Targets: 12 types; 35 functions warm, 65 cold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from tests.fake_engine import fake_engine, image_id

from envmatrix.app.workspace import Workspace
from envmatrix.cli import main as envmatrix
from envmatrix.store.image_records import ImageRecords

ROOT = Path(__file__).parents[1]
CELL = "cuda13.5-debian12-x86_64"
PACKAGE = "envmatrix"
# The function that starts a container.
_START = f"{PACKAGE}.engine.containers.Containers.submit"
_DEPTH = 4


@dataclass
class Trace:
    """Types and functions through which a cell passes, each with its module."""

    cell: str
    types: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    is_over: bool = False

    def hear(self, frame: FrameType, event: str, _argument: object) -> None:
        code, module = frame.f_code, str(frame.f_globals.get("__name__"))
        is_own = module.startswith(PACKAGE) and not code.co_name.startswith(("<", "__"))
        if event != "call" or self.is_over or not is_own:
            return
        name = f"{module}.{code.co_qualname}"
        self.is_over = name == _START
        count = code.co_argcount + code.co_kwonlyargcount
        arguments = [frame.f_locals.get(word) for word in code.co_varnames[:count]]
        self.types.update(*(self.types_of(argument) for argument in arguments))
        if any(map(self.is_of_cell, arguments)):
            self.functions.add(name)

    def types_of(self, value: object, depth: int = _DEPTH) -> set[str]:
        """Return the types of an object and of what is in it that have the cell."""
        if not depth or not is_own(value):
            return set()
        items = [item for field in fields_of(value) for item in items_of(field)]
        types = set().union(*(self.types_of(item, depth - 1) for item in items))
        if types or any(map(self._names_cell, items)):
            types.add(f"{type(value).__module__}.{type(value).__qualname__}")
        return types

    def is_of_cell(self, value: object, depth: int = _DEPTH) -> bool:
        """Return whether an object is made for the cell, not for a collection of cells."""
        if self._names_cell(value) or not depth or not is_own(value):
            return self._names_cell(value) and depth < _DEPTH
        return any(self.is_of_cell(item, depth - 1) for item in fields_of(value))

    def _names_cell(self, value: object) -> bool:
        return isinstance(value, str) and value in (self.cell, self.cell.rpartition("-")[0])


def is_own(value: object) -> bool:
    return type(value).__module__.startswith(PACKAGE)


def fields_of(value: object) -> list[object]:
    names = [*getattr(value, "__dict__", ()), *slots_of(value)]
    fields = [getattr(value, name, None) for name in names]
    # A cell has nothing but its axes: its id is made of them.
    return [*fields, str(value)] if "arch" in names and hasattr(value, "environment") else fields


def items_of(value: object) -> list[object]:
    match value:
        case dict():
            return [*value, *value.values()]
        case tuple() | list() | set() | frozenset():
            return [*value]
    return [value]


def slots_of(value: object) -> tuple[str, ...]:
    return tuple(name for base in type(value).__mro__ for name in getattr(base, "__slots__", ()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", default=CELL)
    parser.add_argument("--list", action="store_true", help="show the types and functions")
    parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trace:
        _trace(options.cell)
        return
    with TemporaryDirectory(prefix="envmatrix-path-") as scratch:
        warm, cold = _measure(options.cell, Path(scratch))
    print("| | types | functions |\n|---|---:|---:|")
    for name, trace in (("warm", warm), ("cold", cold)):
        print(f"| {name} | {len(trace['types'])} | {len(trace['functions'])} |")
    for name in (*warm["types"], *cold["functions"]) if options.list else ():
        print(name if name in warm["types"] or name in warm["functions"] else f"{name} (cold)")


def _measure(cell: str, scratch: Path) -> tuple[Mapping[str, list[str]], Mapping[str, list[str]]]:
    repository, cache = _copy(scratch / "repository"), scratch / "cache"
    workspace, records = Workspace(repository), ImageRecords(cache)
    images = workspace.plan(workspace.images([cell]))
    for image in images:
        records.note(image.fingerprint, image_id(image.reference), is_ours=True)
    directory = scratch / "engine"
    with fake_engine(directory, [image.reference for image in images]) as variables:
        path = f"{directory}:{os.environ['PATH']}"
        cache_variables = {"ENVMATRIX_CACHE": str(cache), "PATH": path}
        run = _runner(repository, {**os.environ, **variables, **cache_variables})
        trace = ("-m", "benchmarks.path", "--trace", "--cell", cell)
        cold, warm = json.loads(run(*trace)), json.loads(run(*trace))
        return warm, cold


def _copy(directory: Path) -> Path:
    """Copy what a repository consists of."""
    directory.mkdir()
    shutil.copy(ROOT / "matrix.yaml", directory)
    shutil.copy(ROOT / "matrix.lock.json", directory)
    for name in ("envs", "dockerfiles", "examples"):
        shutil.copytree(ROOT / name, directory / name)
    return directory


def _runner(directory: Path, environment: Mapping[str, str]) -> Callable[..., str]:
    environment = {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    return run


def _trace(cell: str) -> None:
    """Run the command in this process; print what the cell passes through."""
    trace = Trace(cell)
    threading.setprofile(trace.hear)
    sys.setprofile(trace.hear)
    try:
        envmatrix(["run", "compile", cell, "--quiet"])
    except SystemExit:
        pass
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if not trace.is_over:
        sys.exit("no container was about to start")
    print(json.dumps({"types": sorted(trace.types), "functions": sorted(trace.functions)}))


if __name__ == "__main__":
    main()
