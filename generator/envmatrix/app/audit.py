"""Audit the lock: locked packages with updates, and withdrawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.console import Console
from envmatrix.engine.resolver_backend import LocalBackend
from envmatrix.errors import LookupFailed, OutOfDate
from envmatrix.facts.model import Facts
from envmatrix.lock.audit import Archives, Audit, Offer, Offers, audit, offers_of
from envmatrix.lock.libraries import IndexFile
from envmatrix.lock.model import Lock
from envmatrix.machine.cache import cache_directory
from envmatrix.machine.host import host_arch
from envmatrix.machine.http import http_client
from envmatrix.machine.origins import Origins
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher
from envmatrix.store.package_index import index_files


def audit_lock(lock: Lock, facts: Facts, console: Console) -> Audit:
    """Compare locked packages with what archives and the package index offer now."""
    origins, store = Origins(), Store.of_user()
    with TemporaryDirectory(prefix="envmatrix-apt-") as apt, http_client(origins) as client:
        backend = LocalBackend(
            Path(apt), cache_directory(), store, Fetcher(store, origins, client), console, facts,
            origins, host_arch(),
        )  # fmt: skip

        def of_suite(suite: str, arch: str, names: Sequence[str]) -> Offers:
            return offers_of(backend.apt_of_host(suite, arch).show(names))

        def of_security(suite: str, arch: str, names: Sequence[str]) -> Offers:
            return offers_of(backend.security_of(suite, arch).show(names))

        def of_index(project: str) -> Sequence[Offer]:
            return offers_in(index_files(client, origins.pypi_indexes, project))

        return audit(lock, Archives(of_suite, of_security, of_index))


def require_good(result: Audit) -> None:
    """Raise LookupFailed if a source could not be read, and OutOfDate if a finding is urgent."""
    if result.failed:
        raise LookupFailed(
            "not everything could be audited",
            details=result.failed,
            hint="name the archives under [mirrors] in your configuration, and try again",
        )
    if result.is_urgent:
        raise OutOfDate(
            "locked packages have security updates, are withdrawn, or are no longer to be had",
            hint="`envmatrix lock --upgrade NAME` takes what a suite or the index has; what only "
            "its security archive has comes to a suite with its next point release",
        )


def offers_in(files: Sequence[IndexFile]) -> Sequence[Offer]:
    """Return the versions that a project's files in the package index offer."""
    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    offers = []
    for file in files:
        try:
            if file.name.endswith(".whl"):
                version = parse_wheel_filename(file.name)[1]
            else:
                version = parse_sdist_filename(file.name)[1]
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        offers.append(Offer(str(version), file.sha256, file.is_yanked))
    return offers
