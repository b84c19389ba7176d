"""The jobs whose newest results in a repository are that they passed.

The result of another job that is reused is from another checkout, or from before a run that failed
or was killed. It is recorded again as a run of this repository, so that reports show what is
reused.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from envmatrix.files import readable_text, write_whole
from envmatrix.jobs.model import Job
from envmatrix.machine.cache import exclusive
from envmatrix.records import dataclass
from envmatrix.results.journal import write_ended
from envmatrix.results.location import Location
from envmatrix.results.records import Record, Run

# The id of a job and its name: its kind, a library, a cell, and maybe a step, the machine that it
# requires, and a shard.
_LINE = re.compile(r"([0-9a-f]{64}) (\S+ \S+ \S+(?: \S+){0,2})")


@dataclass(frozen=True, slots=True)
class PassedJobs:
    """The file with the jobs of the results at a location."""

    location: Location

    @property
    def ids(self) -> Mapping[str, str]:
        """The id of each job, by its name; none where the results were removed."""
        return self._ids_in(readable_text(self._file))

    def start(self, run: Run) -> None:
        """Remove the jobs that a run is newer than, before it starts: it may be killed."""
        text = readable_text(self._file)
        if _text(without_outdated(self._ids_in(text), run)) != text:
            with self._changed() as ids:
                remaining = without_outdated(ids, run)
                ids.clear()
                ids.update(remaining)

    def add(self, job: Job) -> None:
        """Add a job whose run passed."""
        with self._changed() as ids:
            ids[str(job)] = job.id

    def record(self, records: Mapping[Job, Record]) -> None:
        """Record results of jobs again, as runs that start now and have ended."""
        with self._changed() as ids:
            for job, record in records.items():
                run = replace(record.run, id=str(uuid.uuid4()), started=time.time())
                write_ended(self.location.journals, replace(record, run=run))
                ids[str(job)] = job.id

    def _ids_in(self, text: str) -> Mapping[str, str]:
        if self.location.is_empty:
            return {}
        matches = map(_LINE.fullmatch, text.splitlines())
        return {match[2]: match[1] for match in matches if match}

    @property
    def _file(self) -> Path:
        return self.location.directory / "passed-jobs"

    @contextmanager
    def _changed(self) -> Iterator[dict[str, str]]:
        """Yield the ids to change; write them at the end, unless an error is raised."""
        self.location.prepare()
        with exclusive(self._file.with_suffix(".lock")):
            ids = {**self.ids}
            yield ids
            write_whole(self._file, _text(ids).encode())


def without_outdated(ids: Mapping[str, str], run: Run) -> Mapping[str, str]:
    """Return the jobs that reports still show beside a newer run: not those of its verb, nor tests
    if it compiles, because reports show a failed compilation in place of earlier tests."""
    words = run.part.split()
    kinds = ("compile", "test", "step") if run.verb == "compile" else (run.verb,)
    outdated = [[kind, run.library, run.cell, *words] for kind in kinds]
    length = 3 + len(words)
    return {name: key for name, key in ids.items() if name.split(" ")[:length] not in outdated}


def _text(ids: Mapping[str, str]) -> str:
    return "".join(f"{key} {name}\n" for name, key in sorted(ids.items()))
