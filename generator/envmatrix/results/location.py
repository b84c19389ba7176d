"""The location of a repository's results: in its directory, or in a configured database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.errors import EnvmatrixError
from envmatrix.machine.configuration import configured_results, user_configuration
from envmatrix.records import dataclass
from envmatrix.text import number_of
from envmatrix.vcs.own_directories import require_own

if TYPE_CHECKING:
    from envmatrix.results.database import Database

VARIABLE = "ENVMATRIX_RESULTS"

_DIRECTORY = ".envmatrix"
_MANY = 50


@dataclass(frozen=True, slots=True)
class Location:
    """`url` is a URL of SQLAlchemy, or the path of an SQLite file; without one runs stay in their
    journals, until somebody stores them elsewhere."""

    directory: Path
    url: str | Path | None

    @classmethod
    def of(cls, root: Path) -> Location:
        """Return the location of $ENVMATRIX_RESULTS, of `[results] url` in the user's
        configuration, or of a file in the repository that git ignores."""
        directory = root / _DIRECTORY
        url = os.environ.get(VARIABLE) or configured_results(user_configuration())
        return cls(directory, url or cls(directory, None).own_store)

    @property
    def own_store(self) -> Path:
        """The file in the repository that has results where no other place is configured."""
        return self.directory / "results.sqlite"

    @property
    def journals(self) -> Path:
        return self.directory / "journals"

    @property
    def failed_jobs(self) -> Path:
        """The file with the names of the jobs that failed when they were last to be done."""
        return self.directory / "failed-jobs"

    @property
    def is_empty(self) -> bool:
        """True if no run was recorded in a store of the repository's own."""
        if self.url is None:
            return True
        has_store = isinstance(self.url, str) or self.url.exists()
        return not has_store and not any(self.journals.glob("*"))

    @property
    def _is_read_only(self) -> bool:
        """True if a file is there, and SQLite cannot write to it or to the files beside it."""
        if not isinstance(self.url, Path) or not self.url.is_file():
            return False
        paths = (self.url, self.url.parent)
        return not all(os.access(path, os.W_OK, effective_ids=True) for path in paths)

    def prepare(self) -> None:
        """Create the directory, with a .gitignore that excludes it; raise ConfigurationError if
        commits lead it elsewhere."""
        require_own(self.directory.parent, [self.directory])
        self.journals.mkdir(parents=True, exist_ok=True)
        ignored = self.directory / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")

    @contextmanager
    def open_store(self, warn: Callable[[str], None]) -> Iterator[Database]:
        """Open the store with all ended runs; pass messages about invalid journals to `warn`. A
        file that this user cannot write to is opened as it is."""
        if self.url is None:
            raise EnvmatrixError(f"the runs in `{self.journals}` are not stored")
        from envmatrix.results.database import connect, connect_read_only  # SQLAlchemy

        if isinstance(self.url, Path) and self._is_read_only:
            self._warn_of_read_only(warn)
            with connect_read_only(self.url) as database:
                yield database
            return
        self.prepare()
        with connect(self.url) as database:
            self.replay(database, warn)
            yield database

    def _warn_of_read_only(self, warn: Callable[[str], None]) -> None:
        from envmatrix.results.journal import count_journals

        missing = count_journals(self.journals)
        runs = f", and lacks {number_of(missing, 'recorded run')}" if missing else ""
        warn(f"the results store `{self.url}` is read-only{runs}")

    def replay(self, database: Database, warn: Callable[[str], None]) -> None:
        """Store the runs that have ended, and the summaries that they change; nothing where the
        store cannot be written to."""
        if self._is_read_only:
            return
        from envmatrix.results.journal import replay
        from envmatrix.results.places import refresh

        if replay(self.journals, database.add, warn):
            refresh(database, time.time())

    def keep(self, warn: Callable[[str], None]) -> None:
        """Store the runs that have ended, if the store is shared or there are many: into the
        repository's own file the next report stores them as well."""
        from envmatrix.results.journal import count_journals

        count = count_journals(self.journals)
        is_due = isinstance(self.url, str) or (self.url is not None and count > _MANY)
        if count and is_due:
            with self.open_store(warn):
                pass
