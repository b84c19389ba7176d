"""Where the results of a repository are kept: beside it, or where it is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envmatrix.results.journal import replay, waiting
from envmatrix.store.configuration import configured_results, user_configuration

if TYPE_CHECKING:
    from envmatrix.results.database import Database

VARIABLE = "ENVMATRIX_RESULTS"

_DIRECTORY = ".envmatrix"
_MANY = 50


@dataclass(frozen=True, slots=True)
class Location:
    """`url` is what SQLAlchemy calls one, or a file of SQLite."""

    directory: Path
    url: str | Path

    @classmethod
    def of(cls, root: Path) -> Location:
        """$ENVMATRIX_RESULTS, `[results] url` of the user's configuration, or a file in the
        repository that version control does not see."""
        directory = root / _DIRECTORY
        told = os.environ.get(VARIABLE) or configured_results(user_configuration())
        return cls(directory, told or directory / "results.sqlite")

    @property
    def journals(self) -> Path:
        return self.directory / "journals"

    def prepare(self) -> None:
        """Make the directory; git is told in it to leave it alone."""
        self.journals.mkdir(parents=True, exist_ok=True)
        ignored = self.directory / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")

    @contextmanager
    def opened(self, told: Callable[[str], None]) -> Iterator[Database]:
        """The store, with all that has ended in it; `told` hears of journals that are invalid."""
        from envmatrix.results.database import connect  # SQLAlchemy

        self.prepare()
        with connect(self.url) as database:
            self.replay(database, told)
            yield database

    def replay(self, database: Database, told: Callable[[str], None]) -> int:
        """Store what has ended and is not stored yet; how many runs."""
        return replay(self.journals, database.add, told)

    def keep(self, told: Callable[[str], None]) -> None:
        """Store what has ended, if others look at the store or much has come together: into the
        repository's own file the next report brings it as well, and need not be waited for."""
        count = waiting(self.journals)
        if count and (isinstance(self.url, str) or count > _MANY):
            with self.opened(told):
                pass
