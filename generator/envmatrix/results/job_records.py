"""The results of jobs by their ids: the journal of the newest run of each that ended by itself.

Jobs with the same id have the same inputs, in every checkout of a user. Only what this user ran, or
what a directory has that the user trusts, counts; files of such a directory are read with the same
care as journals.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from envmatrix.files import open_regular, readable_text, write_whole
from envmatrix.jobs.model import Job
from envmatrix.machine.cache import JOBS, cache_directory, exclusive
from envmatrix.machine.configuration import configured_jobs, user_configuration
from envmatrix.results.journal import lines_of
from envmatrix.results.records import InvalidRecord, Part, Record, line_of, record_of

_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class JobRecords:
    """Records of jobs: those in the directory `own`, to which runs of this user add theirs, and
    those of `trusted` directories."""

    own: Path
    trusted: Sequence[Path] = ()

    @classmethod
    def of_user(cls) -> JobRecords:
        """Return the records of `[jobs]` in the user's configuration; by default, own ones alone,
        in the cache."""
        setting = configured_jobs(user_configuration())
        return cls(setting.records or cache_directory() / JOBS, setting.trusted)

    def find(self, job: Job) -> Record | None:
        """Return the record of a job, the user's own before others; None where there is none that
        is valid and of this library and cell."""
        for directory in (self.own, *self.trusted):
            record = _read(_file(directory, job.id))
            if record and (record.run.library, record.run.cell) == job.subject[:2]:
                return record
        return None

    def good(self, job: Job) -> Record | None:
        """Return the record of a job whose result can be reused: all of it passed at once."""
        record = self.find(job) if job.is_reusable else None
        return record if record and record.end.state == "passed" else None

    def keep(self, job: Job, parts: Sequence[Part]) -> None:
        """Keep the parts of a run as the result of a job, in place of an earlier one."""
        text = "".join(f"{line_of(part)}\n" for part in parts)
        write_whole(_file(self.own, job.id), text.encode(), 0o644)

    def attempt(self, job: Job) -> str:
        """Return the name of the present attempt at a job. It stays the same until the attempt ends
        by itself, also in the next process."""
        file = _file(self.own, job.id).with_suffix(".attempt")
        name = readable_text(file)
        if not re.fullmatch("[0-9a-f]{32}", name):
            name = uuid.uuid4().hex
            write_whole(file, name.encode())
        return name

    def end_attempt(self, job: Job) -> None:
        _file(self.own, job.id).with_suffix(".attempt").unlink(missing_ok=True)

    def lock(self, job: Job, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Lock a job against other processes of this user's."""
        return exclusive(_file(self.own, job.id).with_suffix(".lock"), on_wait)


def _file(directory: Path, key: str) -> Path:
    return directory / key[:2] / f"{key}{_SUFFIX}"


def _read(file: Path) -> Record | None:
    """Return the record in a file; None where there is none, or no run of this tool wrote it."""
    try:
        with TextIOWrapper(open_regular(file), encoding="utf-8", errors="replace") as handle:
            return record_of(lines_of(handle))
    except (OSError, InvalidRecord):
        return None
