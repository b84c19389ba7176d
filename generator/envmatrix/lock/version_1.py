"""Version 1 of the lock file, rewritten as version 2: no pin is looked up again.

It had a table of artifacts, which sets named by text, and requests whose packages were texts of a
grammar for each resolver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from envmatrix.lock import strict
from envmatrix.lock.strict import Invalid

_COLUMNS = ["name", "version", "path", "size", "sha256"]
# A package of a product with releases of its own, as cuDNN is; those of CUDA are without one now.
_REDIST = re.compile(r"(?!cuda/)(?P<product>\w+)/(?P<name>\w+)(:(?P<variant>\w+))?@(?P<version>.+)")


def upgraded(document: object) -> dict[str, object]:
    """Return the document of version 2; raise Invalid for one that has none."""
    rows = strict.field(document, "artifacts", lambda value: strict.entries(value, _artifact))
    table = {
        f"{row['name']} {row['version']} {sha256[:12]}": {**row, "sha256": sha256}
        for sha256, row in rows.items()
    }
    return {
        "epoch": strict.field(document, "epoch", strict.count),
        "columns": _COLUMNS,
        "sets": strict.field(
            document, "sets", lambda value: strict.entries(value, partial(_set, table))
        ),
    }


def _artifact(row: object) -> Mapping[str, object]:
    columns = ("origin", *_COLUMNS[:-1])
    for name in columns:
        strict.field(row, name, strict.count if name == "size" else strict.string)
    return strict.mapping(row)


def _set(table: Mapping[str, Mapping[str, object]], row: object) -> dict[str, object]:
    artifacts: dict[str, list[object]] = {}
    for reference in strict.field(row, "artifacts", strict.strings):
        if reference not in table:
            raise Invalid(f"has `{reference}`, which is none of the file", ["artifacts"])
        item = table[reference]
        artifacts.setdefault(str(item["origin"]), []).append([item[name] for name in _COLUMNS])
    fields = strict.mapping(row)
    return {
        "request": _request(fields),
        "versions": fields.get("found", {}),
        "artifacts": artifacts,
        **{name: fields[name] for name in ("diff_id", "inputs") if name in fields},
    }


def _request(row: Mapping[str, object]) -> dict[str, object]:
    packages = strict.field(row, "packages", strict.strings)
    fields = {name: row[name] for name in ("resolver", "arch", "suite", "below") if name in row}
    match strict.field(row, "resolver", strict.word):
        case "image":
            return {**fields, "image": _first(row, "packages")}
        case "wheels":
            return {**fields, "requirements": list(packages)}
        case "in-image":
            fields.pop("below", None)
            components = [package.partition("==")[0] for package in packages]
            version = _first(row, "packages").partition("==")[2].removesuffix(".*")
            base = _first(row, "below")
            return {**fields, "version": version, "components": components, "base": base}
        case "git" | "perforce" | "sdist" | "archive" | "debian-source" as resolver:
            place, pin = strict.field(row, "packages", lambda value: strict.sequence(value, 2))
            return {"resolver": resolver, "place": place, "pin": row.get("suite", pin)}
        case "nvidia-apt" | "nvidia-dnf":
            suite = strict.field(row, "suite", strict.string)
            repository, _, directory = suite.partition("/")
            del fields["suite"]
            fields |= {"repository": repository}
            fields |= {"cross": directory.removeprefix("cross-linux-")} if directory else {}
    specs = [*map(_package, packages)]
    releases = {release for _, release in specs if release}
    release = {"release": max(releases)} if releases else {}
    return {**fields, "packages": [package for package, _ in specs], **release}


def _first(row: Mapping[str, object], name: str) -> str:
    texts = strict.field(row, name, strict.strings)
    if not texts:
        raise Invalid("must not be empty", [name])
    return texts[0]


def _package(package: str) -> tuple[dict[str, str], str]:
    """Return the fields of a package, and the CUDA release that it is of, if any."""
    if match := _REDIST.fullmatch(package):
        return {name: part for name, part in match.groupdict().items() if part}, ""
    name, _, release = package.removeprefix("cuda/").partition("@")
    name, _, version = name.partition("=")
    name, _, arch = name.partition(":")
    fields = {"name": name, "version": version.removeprefix("="), "arch": arch}
    return {key: part for key, part in fields.items() if part}, release
