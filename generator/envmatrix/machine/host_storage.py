"""Facts about directories of this machine: who may write there, and what the file system offers."""

from __future__ import annotations

import os
from pathlib import Path

from envmatrix.files import readable_text
from envmatrix.records import dataclass

_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Storage:
    """A directory that may not exist yet: what is true of it, or of the nearest one above that
    exists. `owner` is a user id, `kind` the type of the file system; `free_inodes` is None where
    the file system has as many as it needs."""

    path: str
    is_directory: bool
    is_writable: bool
    owner: int
    kind: str
    is_executable: bool
    free_bytes: int
    free_inodes: int | None


def storage_at(path: Path) -> Storage:
    place = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    try:
        status, room = place.stat(), os.statvfs(place)
    except OSError:  # a link that leads nowhere, or a server that is gone
        return Storage(str(path), False, False, os.geteuid(), "", True, 0, None)
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    return Storage(
        path=str(path),
        is_directory=place.is_dir(),
        is_writable=os.access(place, os.W_OK | os.X_OK) and not room.f_flag & os.ST_RDONLY,
        owner=status.st_uid,
        kind=kind_of(device, readable_text(_MOUNTS)),
        is_executable=not room.f_flag & os.ST_NOEXEC,
        free_bytes=room.f_bavail * room.f_frsize,
        free_inodes=room.f_favail if room.f_files else None,
    )


def kind_of(device: str, mounts: str) -> str:
    """Return the type of the file system of a device by the text of mountinfo, see proc(5); empty
    where it is not among them, as with volumes of Btrfs."""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2:3] == [device]:
            return rest.partition(" ")[0]
    return ""
