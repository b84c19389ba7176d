"""The directory of a pipeline: its plan, and what its jobs leave in `jobs/ID`.

Other machines wrote what is in it, and an engine carried it here: a part may be missing, damaged or
of somebody else, so everything is opened without following links, and only up to a limit.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from envmatrix.app.workspace import Workspace
from envmatrix.confined import Area
from envmatrix.confined.entries import Missing, Refused
from envmatrix.errors import ConfigurationError, OutOfDate
from envmatrix.files import write_whole
from envmatrix.lock.files import IMAGES_LOCK
from envmatrix.matrix.files import BUILD_ROOT
from envmatrix.pipeline.model import Pipeline, PipelineJob, pipeline_of
from envmatrix.pipeline.outcomes import JobOutcome, outcome_document, outcome_of
from envmatrix.pipeline.triggers import engine_of
from envmatrix.pipeline.verdict import AllEvidence, Evidence
from envmatrix.records import dataclass
from envmatrix.vcs import git
from envmatrix.vcs.own_directories import require_own

# The default directory, below the repository.
DIRECTORY = f"{BUILD_ROOT}/ci"
PLAN, OUTCOME, JOBS = "plan.json", "outcome.json", "jobs"
RECORDS, OUTPUTS, JOURNALS = "records", "outputs", "journals"

# In bytes: far more than any document that is ours.
_LARGEST_PLAN, _LARGEST_OUTCOME = 64 << 20, 1 << 20
_HINT = "plan first: `envmatrix ci plan`; on another machine, fetch what it wrote"
HINT_OF_REVISION = (
    "check out the revision of the plan, without changes (`git status`), or plan again: "
    "`envmatrix ci plan`"
)


@dataclass(frozen=True)
class PipelineFiles:
    """The directory of a pipeline."""

    directory: Path

    @classmethod
    def of(cls, workspace: Workspace, directory: Path | None) -> PipelineFiles:
        """Return a directory, by default that of a repository; raise ConfigurationError if commits
        lead it elsewhere."""
        files = cls(directory or workspace.root / DIRECTORY)
        require_own(workspace.root, [files.directory])
        return files

    @cached_property
    def _plan(self) -> bytes:
        try:
            return self.read(PLAN, _LARGEST_PLAN)
        except Missing as error:
            raise ConfigurationError(
                f"there is no `{self.directory / PLAN}`", hint=_HINT
            ) from error
        except Refused as error:  # as a link
            message = f"`{self.directory / PLAN}` is no pipeline: {error.message}"
            raise ConfigurationError(message, hint=_HINT) from error

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file of at most `limit` bytes; Missing where there is none."""
        if not self.directory.is_dir():
            raise Missing(f"there is no `{self.directory}`")
        with Area(self.directory).opened() as area:
            return area.read(name, limit)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline; raise ConfigurationError where there is none."""
        return pipeline_of(self._plan.decode("utf-8", "replace"), str(self.directory / PLAN))

    @cached_property
    def digest(self) -> str:
        """The sha256 (hex) of the plan."""
        return hashlib.sha256(self._plan).hexdigest()

    def require_revision(self, present: str) -> None:
        """Raise OutOfDate if the plan is of another revision than that of a checkout."""
        planned = self.pipeline.revision
        if planned != present:
            message = f"the plan is of the revision `{planned or 'none'}`"
            here = f"this checkout of `{present or 'none'}`"
            raise OutOfDate(f"{message}, and {here}", hint=HINT_OF_REVISION)

    def listed(self, pattern: str) -> Sequence[str]:
        """Return the names of regular files, sorted."""
        with Area(self.directory).opened() as area:
            return [file.name for file in area.files([pattern])]

    def job(self, key: str) -> PipelineJob:
        """Return a job of the pipeline; raise ConfigurationError where there is none."""
        job = self.pipeline.by_id.get(key)
        if job is None:
            message = f"`{self.directory / PLAN}` has no job `{key}`"
            raise ConfigurationError(message, hint="`envmatrix ci plan` writes their ids there")
        return job

    def of_job(self, key: str) -> Path:
        """Return the directory of what a job leaves."""
        return self.directory / JOBS / key

    def outcome(self, key: str) -> JobOutcome | None:
        """Return the outcome of a job, None without one; raise ConfigurationError where it cannot
        be read."""
        name = f"{JOBS}/{key}/{OUTCOME}"
        try:
            content = self.read(name, _LARGEST_OUTCOME)
        except Missing:
            return None
        except Refused as error:
            raise ConfigurationError(error.message) from error
        return outcome_of(content.decode("utf-8", "replace"), str(self.directory / name))

    @property
    def evidence(self) -> AllEvidence:
        """Return what is known of the jobs of the pipeline."""
        return {job.id: self._evidence(job.id) for job in self.pipeline.jobs}

    def _evidence(self, key: str) -> Evidence:
        try:
            return Evidence(self.outcome(key))
        except ConfigurationError as error:
            return Evidence(problem=error.message)

    def write(self, outcome: JobOutcome) -> None:
        write_whole(self.of_job(outcome.id) / OUTCOME, outcome_document(outcome).encode(), 0o644)

    def forget(self, key: str) -> None:
        """Remove the outcome of a job: whoever ends now has none."""
        with suppress(FileNotFoundError, NotADirectoryError):
            (self.of_job(key) / OUTCOME).unlink()


def revision_of(root: Path, directory: Path) -> str:
    """Return the commit of a checkout, marked where files differ from it; empty without git. What
    jobs write is no change: builds, digests of images that they published, and the directory of
    the pipeline. Nor are untracked files of an engine, whose programs leave some, such as caches.
    """
    without, place, top = [BUILD_ROOT, IMAGES_LOCK], directory.resolve(), root.resolve()
    if top in place.parents:
        without.append(str(place.relative_to(top)))
    has_untracked = engine_of(os.environ) is None
    checkout = git.checkout_of(root, without=without, has_untracked=has_untracked)
    return checkout.commit if checkout else ""
