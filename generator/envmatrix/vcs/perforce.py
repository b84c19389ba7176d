"""Depot paths of a Perforce server, by its own client library."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envmatrix.errors import ConfigurationError, LookupFailed


def depot(path: str, changelist: str) -> str:
    """Return the hash of the names and revisions of the files in a depot path at a changelist."""
    with _connect() as client:
        return _digest(_files(client, path, changelist))


def sync(path: str, changelist: str, digest: str, target: Path) -> None:
    """Write the files of a depot path at a changelist; LookupFailed where they are not those of
    `digest`."""
    with _connect() as client:
        files = _files(client, path, changelist)
        if _digest(files) != digest:
            raise LookupFailed(
                f"`{path}` at changelist {changelist} is not what was locked",
                hint="files were obliterated or the server is another one: `envmatrix lock`",
            )
        target.mkdir(parents=True)
        for name, revision in files:
            file = target / name.removeprefix(f"{path}/")
            if target not in file.resolve().parents:
                raise LookupFailed(f"the depot has a file outside of `{path}`: `{name}`")
            file.parent.mkdir(parents=True, exist_ok=True)
            client.run("print", "-q", "-o", str(file), f"{name}#{revision}")


def _files(client: Any, path: str, changelist: str) -> list[tuple[str, str]]:
    rows = client.run("files", "-e", f"{path}/...@{changelist}")
    files = sorted((row["depotFile"], row["rev"]) for row in rows)
    if not files:
        raise LookupFailed(f"the depot has no files in `{path}` at changelist {changelist}")
    return files


def _digest(files: list[tuple[str, str]]) -> str:
    text = "".join(f"{name}#{revision}\n" for name, revision in files)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _connect() -> Iterator[Any]:
    """Connect to the user's server; raise its errors as LookupFailed."""
    try:
        module = importlib.import_module("P4")
    except ModuleNotFoundError as error:
        hint = "install it: `pip install 'envmatrix[perforce]'`"
        raise ConfigurationError("Perforce's client is missing", hint=hint) from error
    client = module.P4()
    try:
        client.connect()
        try:
            yield client
        finally:
            client.disconnect()
    except module.P4Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise LookupFailed(
            "the Perforce server refused or did not answer",
            details=lines[-5:],
            hint="P4PORT, P4USER and `p4 login` say where and as whom; try `p4 info`",
        ) from error
