"""The location of a repository's results: in its directory, or in a configured database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.machine.configuration import configured_results, user_configuration
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.results.database import Database

VARIABLE = "ENVMATRIX_RESULTS"

_DIRECTORY = ".envmatrix"
_MANY = 50


@dataclass(frozen=True, slots=True)
class Location:
    """`url` is a URL of SQLAlchemy, or the path of an SQLite file."""

    directory: Path
    url: str | Path

    @classmethod
    def of(cls, root: Path) -> Location:
        """Return the location of $ENVMATRIX_RESULTS, of `[results] url` in the user's
        configuration, or of a file in the repository that git ignores."""
        directory = root / _DIRECTORY
        url = os.environ.get(VARIABLE) or configured_results(user_configuration())
        return cls(directory, url or directory / "results.sqlite")

    @property
    def journals(self) -> Path:
        return self.directory / "journals"

    @property
    def is_empty(self) -> bool:
        """True if no run was recorded in a store of the repository's own."""
        has_store = isinstance(self.url, str) or self.url.exists()
        return not has_store and not any(self.journals.glob("*"))

    def prepare(self) -> None:
        """Create the directory, with a .gitignore that excludes it."""
        self.journals.mkdir(parents=True, exist_ok=True)
        ignored = self.directory / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")

    @contextmanager
    def open_store(self, warn: Callable[[str], None]) -> Iterator[Database]:
        """Open the store with all ended runs; pass messages about invalid journals to `warn`."""
        from envmatrix.results.database import connect  # SQLAlchemy

        self.prepare()
        with connect(self.url) as database:
            self.replay(database, warn)
            yield database

    def replay(self, database: Database, warn: Callable[[str], None]) -> None:
        """Store the runs that have ended, and the summaries that they change."""
        from envmatrix.results.journal import replay
        from envmatrix.results.places import refresh

        if replay(self.journals, database.add, warn):
            refresh(database, time.time())

    def keep(self, warn: Callable[[str], None]) -> None:
        """Store the runs that have ended, if the store is shared or there are many: into the
        repository's own file the next report stores them as well."""
        from envmatrix.results.journal import count_journals

        count = count_journals(self.journals)
        if count and (isinstance(self.url, str) or count > _MANY):
            with self.open_store(warn):
                pass
