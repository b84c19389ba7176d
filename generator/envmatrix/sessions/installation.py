"""Installs a compiled library into the directory from which others that need it take it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from envmatrix.confined import Directory
from envmatrix.errors import EnvmatrixError
from envmatrix.files import readable_text, write_whole
from envmatrix.sessions import prefixes, tasks
from envmatrix.sessions.context import BuildContext, installation_record, installed_area
from envmatrix.sessions.runner import Runner

# As much as one library may install, in bytes: all of it is hashed.
_LARGEST = 16 << 30


def install(runner: Runner, inputs: str) -> None:
    """Install a compiled library that was made of `inputs`. Where it is the same as before, it
    keeps its times, so that nothing that was made of it is made again."""
    context = runner.context
    with context.installing.opened() as directory:
        directory.clear()
    argv = tasks.shell_arguments(tasks.join_commands(prefixes.installation(context)))
    runner.check(runner.run(tasks.in_compiler(context, argv), "install"))
    with context.installing.opened() as directory:
        identity = _checked_identity(directory, context)
    with context.installed.opened() as directory:
        is_same = directory.identity == identity
    if not is_same:
        installation_record(context.directory, context.build.name).unlink(missing_ok=True)
        context.installed.replace_by(context.installing)
    _record(context, inputs, identity)


def note_restored(context: BuildContext) -> None:
    """Note what was installed elsewhere, and brought here."""
    with context.installed.opened() as directory:
        _record(context, "elsewhere", directory.identity)


def is_installed_from(context: BuildContext, inputs: str) -> bool:
    """Return whether what is installed was made of `inputs`."""
    directory, name = context.directory, context.build.name
    record = readable_text(installation_record(directory, name)).split()
    return record[:1] == [_hash(inputs)] and is_present(directory, name)


def is_present(parent: Path, name: str) -> bool:
    """Return whether the library whose build directory has this parent and name is installed."""
    if not readable_text(installation_record(parent, name)):
        return False
    with installed_area(parent, name).opened() as directory:
        return not directory.is_empty


def _hash(inputs: str) -> str:
    return hashlib.sha256(inputs.encode()).hexdigest()


def _checked_identity(directory: Directory, context: BuildContext) -> str:
    library = context.library.declared_name
    if directory.is_empty:
        raise EnvmatrixError(
            f"`{library}` installed nothing into {context.prefix}",
            hint=f"commands of `install` find the directory in $PREFIX; the log is "
            f"{context.log('install')}",
        )
    if directory.size > _LARGEST:
        raise EnvmatrixError(f"`{library}` installs more than {_LARGEST >> 30} GB")
    directory.clear_privileges()
    return directory.identity


def _record(context: BuildContext, inputs: str, identity: str) -> None:
    file = installation_record(context.directory, context.build.name)
    write_whole(file, f"{_hash(inputs)} {identity}\n".encode())
