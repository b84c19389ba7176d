"""The results of jobs by their ids: the journal of the newest run of each that ended by itself.

Jobs with the same id have the same inputs, in every checkout of a user. Only what this user ran, or
what a directory has that the user trusts, counts; files of such a directory are read with the same
care as journals. With a key, only those files count that a signed file `SHA256SUMS` names.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache, cached_property
from pathlib import Path

from envmatrix.files import open_regular, readable_text, write_whole
from envmatrix.jobs.model import Job
from envmatrix.machine.cache import JOBS, cache_directory, exclusive
from envmatrix.machine.configuration import configured_jobs, user_configuration
from envmatrix.records import dataclass
from envmatrix.results.journal import LARGEST
from envmatrix.results.records import InvalidRecord, Part, Record, line_of, record_of

_SUFFIX = ".jsonl"
# Lines of `sha256sum`, and the files that have them and their signature.
_SUM = re.compile(rf"([0-9a-f]{{64}}) [ *](?:\./)?([0-9a-f]{{2}}/[0-9a-f]{{64}}{_SUFFIX})")
_SUMS, _SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
# The first line: the id of the job, and the digests of its outputs, if they are kept: of the build
# directory, and of what is installed.
_DIGEST = "sha256:[0-9a-f]{64}"
_HEAD = re.compile(rf'\["([0-9a-f]{{64}})", "((?:{_DIGEST}(?: {_DIGEST})?)?)"\]')


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The record of a run that did a job, and the digests of its `outputs` with spaces between
    them, empty if they were not kept."""

    record: Record
    outputs: str


@dataclass(frozen=True)
class JobRecords:
    """Records of jobs: those in the directory `own`, to which runs of this user add theirs, those
    in `supplied` directories, and those of `trusted` ones, signed with the private half of `key` if
    there is one."""

    own: Path
    trusted: Sequence[Path] = ()
    key: Path | None = None
    supplied: Sequence[Path] = ()

    @classmethod
    def of_user(cls) -> JobRecords:
        """Return the records of `[jobs]` in the user's configuration; by default, own ones alone,
        in the cache."""
        setting = configured_jobs(user_configuration())
        return cls(setting.records or cache_directory() / JOBS, setting.trusted, setting.key)

    def find(self, job: Job) -> JobRecord | None:
        """Return the record of a job, the user's own before others; None where there is none that
        is valid and of this job."""
        contents = (
            *(_content(_file(directory, job.id)) for directory in (self.own, *self.supplied)),
            *(self._trusted_content(directory, job) for directory in self.trusted),
        )
        return next(filter(None, (_record(content, job) for content in contents)), None)

    def _trusted_content(self, directory: Path, job: Job) -> bytes:
        file = _file(directory, job.id)
        content = _content(file)
        if self.key is None or not content:
            return content
        name = file.relative_to(directory).as_posix()
        is_signed = self._sums[directory].get(name) == hashlib.sha256(content).hexdigest()
        return content if is_signed else b""

    @cached_property
    def _sums(self) -> Mapping[Path, Mapping[str, str]]:
        """The sha256 of each file that a trusted directory has a signature for, by its name."""
        return {directory: _signed_sums(directory, self.key) for directory in self.trusted}

    def good(self, job: Job) -> JobRecord | None:
        """Return the record of a job whose result can be reused: all of it passed at once."""
        result = self.find(job) if job.is_reusable else None
        return result if result and result.record.end.state == "passed" else None

    def good_among(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, JobRecord]]:
        """Yield the jobs whose results can be reused, with their records. Most of thousands of jobs
        have none, so directories are listed instead of files being opened."""
        names, directories = cache(_names), (self.own, *self.supplied, *self.trusted)
        for job in jobs:
            file = f"{job.id}{_SUFFIX}"
            is_present = any(file in names(directory, job.id[:2]) for directory in directories)
            if is_present and (result := self.good(job)):
                yield job, result

    def keep(self, job: Job, parts: Sequence[Part], outputs: str = "") -> None:
        """Keep the parts of a run as the result of a job, in place of an earlier one, with the
        digest of its outputs if they are kept as well."""
        lines = (json.dumps([job.id, outputs]), *map(line_of, parts))
        text = "".join(f"{line}\n" for line in lines)
        write_whole(_file(self.own, job.id), text.encode(), 0o644)

    def forget(self, job: Job) -> None:
        """Forget the user's own result of a job: a later run of it had none."""
        _file(self.own, job.id).unlink(missing_ok=True)

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

    def outputs(self) -> Iterator[str]:
        """Yield the digests of the outputs that records have, also of those that are not signed."""
        for directory in (self.own, *self.trusted):
            for file in directory.glob(f"*/*{_SUFFIX}"):
                head = _content(file).partition(b"\n")[0].decode("utf-8", "replace")
                if (match := _HEAD.fullmatch(head)) and match[2]:
                    yield from match[2].split()

    def lock(self, job: Job, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Lock a job against other processes of this user's."""
        return exclusive(_file(self.own, job.id).with_suffix(".lock"), on_wait)


def _file(directory: Path, key: str) -> Path:
    return directory / key[:2] / f"{key}{_SUFFIX}"


def _names(directory: Path, part: str) -> frozenset[str]:
    """Return the names of the files in a part of a directory of records."""
    return frozenset(file.name for file in (directory / part).glob(f"*{_SUFFIX}"))


def _content(file: Path) -> bytes:
    """Return the content of a file; nothing where it cannot be read, or is too large for a run."""
    try:
        with open_regular(file) as handle:
            content = handle.read(LARGEST + 1)
    except OSError:
        return b""
    return content if len(content) <= LARGEST else b""


def _record(content: bytes, job: Job) -> JobRecord | None:
    """Return the record of a job that a file has; None if no run of this tool wrote it, or it is
    that of another job."""
    head, _, text = content.decode("utf-8", "replace").partition("\n")
    match = _HEAD.fullmatch(head)
    if match is None or match[1] != job.id:
        return None
    try:
        record = record_of(text.split("\n"))
    except InvalidRecord:
        return None
    if (record.run.library, record.run.cell) != job.subject[:2]:
        return None
    return JobRecord(record, match[2])


def _signed_sums(directory: Path, key: Path | None) -> Mapping[str, str]:
    content, signature = _content(directory / _SUMS), _content(directory / _SIGNATURE)
    if key is None or not content:
        return {}
    from envmatrix.publishing.cosign import is_signed_file  # 65 ms, of which httpx takes most

    if not is_signed_file(content, signature, key):
        return {}
    matches = (_SUM.fullmatch(line) for line in content.decode("ascii", "replace").splitlines())
    return {match[2]: match[1] for match in matches if match}
