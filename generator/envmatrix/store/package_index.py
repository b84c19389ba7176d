"""Indexes of Python packages, by the JSON form of the simple API (PEP 691, PEP 700)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import urljoin

import httpx

from envmatrix.errors import Absent, LookupFailed
from envmatrix.lock.model import Artifact
from envmatrix.lock.resolvers.sources import IndexFile
from envmatrix.machine.http import WrongContent, hint_of, is_absence, message_of, read_body
from envmatrix.records import dataclass
from envmatrix.store.outages import Attempt, NoConnection, Outages


@dataclass(frozen=True, slots=True)
class PackageIndexes:
    """Indexes at `urls`: a project has the files that all of them list."""

    client: httpx.Client
    urls: Sequence[str]
    outages: Outages

    def files(self, project: str) -> tuple[IndexFile, ...]:
        """Return the files of a project; Absent where no index has it."""
        files, failures = self._list_files(project)
        if not files and failures:
            raise _unlisted_error(project, failures)
        return tuple(files)

    def entry(self, artifact: Artifact) -> tuple[str, int]:
        """Return URL and size in bytes of `artifact`."""
        files, failures = self._list_files(artifact.name)
        for file in files:
            if file.sha256 == artifact.sha256:
                return file.url, file.size
        if failures and (not files or not all(map(is_absence, failures))):
            raise _unlisted_error(artifact.name, failures)
        pages = ", ".join(f"{index}/{artifact.name}/" for index in self.urls)
        raise Absent(f"{pages} lists no file with sha256 {artifact.sha256}")

    def _list_files(self, project: str) -> tuple[Sequence[IndexFile], Sequence[LookupFailed]]:
        """Return the files of a project, and the errors of the indexes that list none."""
        files: list[IndexFile] = []
        failures: list[LookupFailed] = []
        for index, attempt in self.outages.attempts(self.urls):
            try:
                files += _index_files(self.client, f"{index}/{project}/", attempt)
            except LookupFailed as error:
                failures.append(error)
        return files, failures


def _unlisted_error(project: str, failures: Sequence[LookupFailed]) -> LookupFailed:
    """Return the error for a project that no index lists, Absent where all indexes answered."""
    for error in failures:
        if not isinstance(error, Absent):
            return error
    return Absent(
        f"the index has no project `{project}`",
        details=[error.message for error in failures],
        hint="is its name right? an index that has it goes into your configuration as [mirrors] "
        "pypi-index, or into pip's",
    )


def _index_files(client: httpx.Client, page: str, attempt: Attempt) -> Iterator[IndexFile]:
    try:
        with attempt():
            url, content = read_body(client, page, accept="application/vnd.pypi.simple.v1+json")
        for file in json.loads(content)["files"]:
            yield IndexFile(
                str(file.get("filename", "")),
                urljoin(str(url.copy_with(userinfo=b"")), file["url"]),
                file.get("hashes", {}).get("sha256", ""),
                int(file.get("size") or 0),
                bool(file.get("yanked")),
            )
    except (httpx.HTTPError, httpx.InvalidURL, WrongContent, NoConnection) as error:
        kind = Absent if is_absence(error) else LookupFailed
        raise kind(f"{page}: {message_of(error)}", hint=hint_of([error])) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LookupFailed(
            f"{page} is no JSON index (PEP 691)", hint="name a mirror of its files, [mirrors] pypi"
        ) from error
