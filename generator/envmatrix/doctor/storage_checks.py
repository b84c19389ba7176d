"""Checks of directories and file systems."""

from __future__ import annotations

from collections.abc import Callable

from envmatrix.doctor.findings import Verdict, failed, passed
from envmatrix.machine.host import HostFacts
from envmatrix.machine.host_storage import Storage
from envmatrix.machine.remedies import OTHER_CACHE

# What the files and images of a few cells take, and a scratch directory for a base.
CACHE_BYTES = 10 << 30
ENGINE_BYTES = 20 << 30
SCRATCH_BYTES = 2 << 30
# The files of one image.
INODES = 100_000

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "afs", "lustre", "drvfs")


def cache(facts: HostFacts) -> Verdict:
    storage = facts.cache
    if storage.is_directory and storage.is_writable:
        return passed(storage.path)
    if not storage.is_directory:
        return failed(f"`{storage.path}` is no directory", OTHER_CACHE)
    message = f"`{storage.path}` is not writable"
    if storage.owner not in (0, facts.settings.user):
        return failed(f"{message}: it is of user {storage.owner}", OTHER_CACHE)
    hint = f'run `sudo chown -R "$USER" {storage.path}`; {OTHER_CACHE}'
    return failed(message, OTHER_CACHE if storage.owner == facts.settings.user else hint)


def cache_owner(facts: HostFacts) -> Verdict | None:
    if not facts.cache.is_writable or facts.cache.owner == facts.settings.user:
        return None
    message = f"`{facts.cache.path}` is of user {facts.cache.owner}, who cannot change new files"
    return failed(message, "log in as that user, or run `sudo -H`")


def cache_file_system(facts: HostFacts) -> Verdict:
    storage = facts.cache
    if storage.kind in _NETWORK:
        message = f"`{storage.path}` is on {storage.kind}: locks and many small files are slow"
        return failed(message, OTHER_CACHE)
    if not storage.is_executable:
        message = f"`{storage.path}` is mounted with noexec: no Python environment of `noxw` runs"
        return failed(message, OTHER_CACHE)
    return passed(storage.kind or "local")


def temporary(facts: HostFacts) -> Verdict:
    storage = facts.temporary
    if storage.is_directory and storage.is_writable:
        return passed(storage.path)
    return failed(f"`{storage.path}` is no writable directory", "set TMPDIR to one that is")


def scratch(facts: HostFacts) -> Verdict:
    storage = facts.temporary
    if not storage.is_executable:
        message = f"`{storage.path}` is mounted with noexec: no base can be bootstrapped there"
        return failed(message, "set TMPDIR to another directory")
    return _room(storage, SCRATCH_BYTES, "set TMPDIR to another directory")


def cache_room(facts: HostFacts) -> Verdict:
    return _room(facts.cache, CACHE_BYTES, f"run `envmatrix gc`; {OTHER_CACHE}")


def engine_room(facts: HostFacts) -> Verdict | None:
    if facts.engine_data is None:
        return None
    hint = "run `envmatrix gc`, or see `docker system df`"
    return _room(facts.engine_data, ENGINE_BYTES, hint)


def _room(storage: Storage, least: int, hint: str) -> Verdict:
    free = f"{storage.free_bytes / (1 << 30):.1f} GiB"
    if storage.free_bytes >= least:
        return passed(f"{free} are free")
    return failed(f"{free} are free at `{storage.path}`, of {least >> 30} GiB", hint)


def inodes(facts: HostFacts) -> Verdict:
    for storage in filter(None, (facts.cache, facts.engine_data)):
        if storage.free_inodes is not None and storage.free_inodes < INODES:
            message = f"{storage.free_inodes} are free at `{storage.path}`, of {INODES}"
            return failed(message, "remove small files there: `df -i` shows what is full")
    return passed("enough are free")


def working_directory(facts: HostFacts) -> Verdict:
    if facts.working.kind in _NETWORK:
        message = f"on {facts.working.kind}: compiling reads and writes many small files there"
        return failed(message, "have the repository on a disk of this machine")
    return passed(facts.working.kind or "local")


def local(judge: Callable[[HostFacts], Verdict]) -> Callable[[HostFacts], Verdict | None]:
    """Return a check that is left out where another check tells that there is no cache."""
    return lambda facts: judge(facts) if facts.cache.is_directory else None
