"""Version 1 of the lock file, rewritten as version 2: no pin is looked up again.

It had a table of artifacts, which sets named by text, and requests whose packages were texts of a
grammar for each resolver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from envmatrix.lock import strict

_COLUMNS = ["name", "version", "path", "size", "sha256"]
# A package of a product with releases of its own, as cuDNN is; those of CUDA are without one now.
_REDIST = re.compile(r"(?!cuda/)(?P<product>\w+)/(?P<name>\w+)(:(?P<variant>\w+))?@(?P<version>.+)")


def upgraded(document: Any) -> dict[str, object]:
    """Return the document of version 2; raise as `FileFormat.readers` do."""
    table = {
        f"{row['name']} {row['version']} {sha256[:12]}": {**row, "sha256": sha256}
        for sha256, row in strict.mapping(document["artifacts"]).items()
    }
    rows = strict.mapping(document["sets"]).items()
    return {
        "epoch": document["epoch"],
        "columns": _COLUMNS,
        "sets": {key: _set(row, table) for key, row in rows},
    }


def _set(row: Any, table: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    artifacts: dict[str, list[object]] = {}
    for reference in strict.strings(row["artifacts"]):
        item = table[reference]
        columns = [item[name] for name in _COLUMNS]
        artifacts.setdefault(strict.string(item["origin"]), []).append(columns)
    sealed = {name: row[name] for name in ("diff_id", "inputs") if name in row}
    return {
        "request": _request(row),
        "versions": row.get("found", {}),
        "artifacts": artifacts,
        **sealed,
    }


def _request(row: Any) -> dict[str, object]:
    packages = strict.strings(row["packages"])
    fields = {name: row[name] for name in ("resolver", "arch", "suite", "below") if name in row}
    match fields["resolver"]:
        case "image":
            return {**fields, "image": packages[0]}
        case "wheels":
            return {**fields, "requirements": list(packages)}
        case "in-image":
            base = fields.pop("below")[0]
            components = [package.partition("==")[0] for package in packages]
            version = packages[0].partition("==")[2].removesuffix(".*")
            return {**fields, "version": version, "components": components, "base": base}
        case "git" | "perforce" | "sdist" | "archive" | "debian-source" as resolver:
            place, pin = packages
            return {"resolver": resolver, "place": place, "pin": row.get("suite", pin)}
        case "nvidia-apt" | "nvidia-dnf":
            repository, _, directory = strict.string(fields.pop("suite")).partition("/")
            fields |= {"repository": repository}
            fields |= {"cross": directory.removeprefix("cross-linux-")} if directory else {}
    specs = [*map(_package, packages)]
    releases = {release for _, release in specs if release}
    release = {"release": max(releases)} if releases else {}
    return {**fields, "packages": [package for package, _ in specs], **release}


def _package(package: str) -> tuple[dict[str, str], str]:
    """Return the fields of a package, and the CUDA release that it is of, if any."""
    if match := _REDIST.fullmatch(package):
        return {name: part for name, part in match.groupdict().items() if part}, ""
    name, _, release = package.removeprefix("cuda/").partition("@")
    name, _, version = name.partition("=")
    name, _, arch = name.partition(":")
    fields = {"name": name, "version": version.removeprefix("="), "arch": arch}
    return {key: part for key, part in fields.items() if part}, release
