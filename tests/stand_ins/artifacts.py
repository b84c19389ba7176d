"""A stand-in for GitHub's service of artifacts: directories below $STAND_IN_ARTIFACTS."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

WILDCARDS = "*?["


def alternatives(pattern: str) -> list[str]:
    """Return the patterns that one with braces stands for."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if not match:
        return [pattern]
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [whole for word in match[1].split(",") for whole in alternatives(f"{head}{word}{tail}")]


def root_of(pattern: str) -> Path:
    """Return the directory before the first wildcard of a pattern."""
    parts = Path(pattern).parts
    fixed = [part for part in parts if not any(sign in part for sign in WILDCARDS)]
    if len(fixed) == len(parts):
        path = Path(pattern)
        return path.parent if path.is_file() else path
    first = next(i for i, part in enumerate(parts) if any(sign in part for sign in WILDCARDS))
    return Path(*parts[:first])


def files_of(pattern: str) -> set[Path]:
    """Return the files that a pattern matches, or that are below directories that it matches."""
    paths = [*Path().glob(pattern)]
    below = [file for path in paths if path.is_dir() for file in path.rglob("*")]
    return {path for path in (*paths, *below) if path.is_file()}


def upload(
    store: Path, name: str, patterns: Sequence[str], missing: str, *, is_replaced: bool
) -> None:
    if not re.fullmatch(r'[^"<>:|*?\r\n\\/]+', name):
        sys.exit(f"::error::The artifact name is not valid: {name}")
    includes = [line for line in patterns if not line.startswith("!")]
    excluded: set[Path] = set().union(
        *(files_of(line[1:]) for line in patterns if line.startswith("!"))
    )
    files: set[Path] = set().union(*map(files_of, includes)) - excluded
    if bad := [file for file in files if re.search(r'["<>:|*?\r\n]', str(file))]:
        sys.exit(f"::error::The path for one of the files in artifact is not valid: {bad[0]}")
    if not files:
        message = f"No files were found with the provided path: {includes}"
        if missing != "ignore":
            print(f"::{missing if missing == 'error' else 'warning'}::{message}")
        sys.exit(1 if missing == "error" else 0)
    target = store / name
    if target.exists() and not is_replaced:
        sys.exit(f"::error::an artifact with this name already exists: {name}")
    root = root_of(includes[0])
    with tempfile.TemporaryDirectory(dir=store, prefix=".") as scratch:
        whole = Path(scratch, "whole")
        for file in files:
            place = whole / file.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)  # modes are lost, as in archives of GitHub's
        if target.exists():
            target.rename(Path(scratch, "old"))
        whole.rename(target)


def download(store: Path, name: str, pattern: str, path: Path, *, is_merged: bool) -> None:
    if name and not (store / name).is_dir():
        sys.exit(f"::error::Artifact '{name}' not found")
    present = sorted(entry.name for entry in store.iterdir() if not entry.name.startswith("."))
    names = (
        [name]
        if name
        else [
            entry
            for entry in present
            if any(fnmatchcase(entry, choice) for choice in alternatives(pattern or "*"))
        ]
    )
    for entry in names:
        flat = name or is_merged or len(names) == 1
        shutil.copytree(store / entry, path if flat else path / entry, dirs_exist_ok=True)
    print(f"Total of {len(names)} artifact(s) downloaded")


def main() -> None:
    store = Path(os.environ["STAND_IN_ARTIFACTS"])
    store.mkdir(parents=True, exist_ok=True)
    values = {key: value for key, value in os.environ.items() if key.startswith("INPUT_")}
    name, paths = values["INPUT_NAME"], values["INPUT_PATHS"]
    if sys.argv[1] == "upload":
        lines = [line.strip() for line in paths.splitlines() if line.strip()]
        is_replaced = values["INPUT_OVERWRITE"] == "true"
        upload(store, name, lines, values["INPUT_MISSING"], is_replaced=is_replaced)
    else:
        is_merged = values["INPUT_MERGE"] == "true"
        download(store, name, values["INPUT_PATTERN"], Path(paths), is_merged=is_merged)


if __name__ == "__main__":
    main()
