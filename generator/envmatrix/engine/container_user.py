"""The user of programs in a container: the calling user, by a name that the container resolves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envmatrix.files import write_whole
from envmatrix.machine.cache import cache_directory

# The same on every machine, so that no name of a person gets into build outputs.
_NAME = "envmatrix"
_HOME = "/tmp"  # noqa: S108 -- in memory, of the container alone

# Users and groups of every image, by the ids that distributions agree on.
_USERS = {
    0: "root:x:0:0:root:/root:/bin/sh",
    1: "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    2: "bin:x:2:2:bin:/bin:/usr/sbin/nologin",
    65534: "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
}
_GROUPS = {0: "root:x:0:", 1: "daemon:x:1:", 2: "bin:x:2:", 65534: "nogroup:x:65534:"}


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """A user and its group, by their numbers."""

    uid: int
    gid: int

    @classmethod
    def calling(cls) -> ContainerUser:
        return cls(os.getuid(), os.getgid())

    @property
    def name(self) -> str:
        return _USERS[self.uid].partition(":")[0] if self.uid in _USERS else _NAME

    @property
    def home(self) -> str:
        return _HOME

    def entries(self) -> Mapping[str, str]:
        """Return path -> text of files that define the user in a container; empty for root, whom
        every image has."""
        if self.uid == 0 and self.gid == 0:
            return {}
        own = {self.uid: f"{_NAME}:x:{self.uid}:{self.gid}::{_HOME}:/bin/sh"}
        group = {self.gid: f"{_NAME}:x:{self.gid}:"}
        tables = {"/etc/passwd": own | _USERS, "/etc/group": group | _GROUPS}
        return {
            name: "".join(f"{row}\n" for _, row in sorted(rows.items()))
            for name, rows in tables.items()
        }

    def files(self) -> Mapping[str, Path]:
        """Return path in the container -> file of this machine with its text."""
        directory = cache_directory() / "people" / f"{self.uid}-{self.gid}"
        files: dict[str, Path] = {}
        for name, text in self.entries().items():
            file = files[name] = directory / Path(name).name
            if not file.exists() or file.read_text("utf-8") != text:
                write_whole(file, text.encode())
        return files
