"""`envmatrix lock`: resolve packages; the only verb that looks versions up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from envmatrix.app.audit import audit_lock, require_good
from envmatrix.app.workspace import find_repository
from envmatrix.commands import display, options
from envmatrix.console import Console, output
from envmatrix.engine.resolver_backend import LocalBackend, on_host
from envmatrix.errors import LookupFailed, OutOfDate
from envmatrix.facts.model import Facts
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.files import write_whole
from envmatrix.lock.audit import Audit
from envmatrix.lock.lock_file import FILE, dumps, load
from envmatrix.lock.model import Lock
from envmatrix.lock.requests import all_requests, drift
from envmatrix.lock.resolution import Resolution, upgrade_rule
from envmatrix.lock.resolvers.nvidia import NvidiaMirror
from envmatrix.lock.resolvers.registry import Services, resolvers_of
from envmatrix.machine.cache import cache_directory, record_checkout
from envmatrix.machine.host import host_arch
from envmatrix.machine.http import fetch_bytes, http_client
from envmatrix.machine.origins import Origins
from envmatrix.machine.processes import run
from envmatrix.matrix.files import MATRIX
from envmatrix.matrix.loading import load_matrix
from envmatrix.store.artifacts import Store
from envmatrix.store.downloads import Fetcher, measure_download
from envmatrix.store.mirrors import mirror_of_user
from envmatrix.store.package_index import index_entry, index_files
from envmatrix.store.unfinished_locks import UnfinishedLock
from envmatrix.vcs import source_trees

_MOST_NAMED = 3


@click.command(epilog="Example: envmatrix lock --upgrade g++-12")
@click.option(
    "--check", is_flag=True, help="Exit with 4 if the lock is out of date with the matrix."
)
@click.option("--upgrade", is_flag=True, help="Take newer versions of NAME..., or of everything.")
@click.option(
    "--audit",
    is_flag=True,
    help="Compare locked packages with what is offered now; exit with 4 if a finding is urgent.",
)
@click.argument("names", nargs=-1)
@options.as_json
@options.verbosity
def command(
    *,
    check: bool,
    upgrade: bool,
    audit: bool,
    names: tuple[str, ...],
    as_json: bool,
    console: Console,
) -> None:
    """Resolve every package and wheel of every cell to a path, a size and a sha256.

    With --audit, resolve nothing: compare the locked packages with what the archives, their
    security updates and the package index offer now.
    """
    _check_options(names, check=check, upgrade=upgrade, audit=audit)
    if as_json and not audit:
        raise click.UsageError("--json goes with --audit only")
    root = find_repository()
    matrix = load_matrix(root)
    options.warn_of_ends(matrix.cells, matrix.facts, console)
    previous = load(root) if (root / FILE).exists() else None
    if audit:
        if previous is None:
            _require_current(None, ())
        else:
            result = audit_lock(previous, matrix.facts, console)
            _show_audit(result, as_json=as_json)
            require_good(result)
        return
    if check:
        _require_current(previous, drift(previous, matrix, shipped_recipes()) if previous else ())
        console.say(f"`{FILE}` is up to date with `{MATRIX}`")
        return
    requests = all_requests(matrix, shipped_recipes())
    record_checkout(cache_directory(), root)
    upgraded = names if upgrade else None
    rule = upgrade_rule(upgraded, previous)
    journal = UnfinishedLock.of(
        cache_directory(), root, dumps(previous) if previous else "", upgraded
    )
    resolved = journal.find()
    if resolved:
        console.say("resuming: what the last run resolved before it failed is kept")
    with _resolution(matrix.facts, console) as resolution:
        lock = resolution.resolve(requests, previous, rule, resolved, journal.keep)
    _write(root / FILE, lock, len(matrix.cells), console)
    journal.forget()


@contextmanager
def _resolution(facts: Facts, console: Console) -> Iterator[Resolution]:
    """Yield a resolution that looks up with the programs and mirrors of this machine."""
    origins, store = Origins(), Store.of_user()
    with (
        TemporaryDirectory(prefix="envmatrix-apt-") as name,
        http_client(origins) as client,
        mirror_of_user() as mirror,
    ):
        directory = Path(name)
        fetcher = Fetcher(store, origins, client, mirror=mirror)
        backend = LocalBackend(
            directory, cache_directory(), store, fetcher, console, facts, origins, host_arch()
        )
        services = Services(
            facts,
            directory,
            apt=on_host,
            pip=lambda argv: run(argv, failing=LookupFailed),
            wheel=lambda artifact: index_entry(client, origins.pypi_indexes, artifact),
            index=lambda project: index_files(client, origins.pypi_indexes, project),
            archives=lambda path: fetch_bytes(client, origins.nvidia, path),
            nvidia=NvidiaMirror(
                origins.nvidia[0],
                origins.nvidia_keyring,
                lambda path: fetch_bytes(client, origins.nvidia[:1], path),
            ),
            commits=partial(source_trees.commits, cache_directory()),
            depot=source_trees.depot,
            measure=partial(measure_download, client, store),
            unpack=partial(source_trees.tree, cache_directory(), store),
        )
        yield Resolution(resolvers_of(services), backend, facts, console)


def _check_options(names: tuple[str, ...], *, check: bool, upgrade: bool, audit: bool) -> None:
    flags = {"--check": check, "--upgrade": upgrade, "--audit": audit}
    options_set = [name for name, is_set in flags.items() if is_set]
    if len(options_set) > 1:
        raise click.UsageError(f"{' and '.join(options_set)} do different things; give one of them")
    if names and not upgrade:
        raise click.UsageError("packages are named with --upgrade only")


def _require_current(previous: Lock | None, drifted: tuple[str, ...]) -> None:
    if previous is None:
        raise OutOfDate(f"there is no `{FILE}`", hint="make it: `envmatrix lock`")
    if drifted:
        raise OutOfDate(
            f"`{FILE}` is out of date with `{MATRIX}`",
            details=drifted,
            hint="bring it up to date: `envmatrix lock`",
        )


def _write(file: Path, lock: Lock, cells: int, console: Console) -> None:
    text = dumps(lock)
    if file.exists() and file.read_text(encoding="utf-8") == text:
        console.say(f"`{FILE}` is up to date")
        return
    write_whole(file, text.encode())
    console.say(
        f"`{FILE}`: {cells} cells, {len(lock.sets)} sets, {len(lock.artifacts())} artifacts"
    )


def _show_audit(result: Audit, *, as_json: bool) -> None:
    if not as_json:
        output("\n".join(_audit_lines(result)))
        return
    display.print_json(
        {
            "audited": result.audited,
            "findings": [asdict(finding) for finding in result.findings],
            "not_audited": dict(result.not_audited),
            "failed": list(result.failed),
        }
    )


def _audit_lines(result: Audit) -> list[str]:
    lines = [
        f"{finding.state:10} {finding.package} {finding.version} ({finding.arch}, {finding.where})"
        + (f": {finding.offered} is offered" if finding.offered else ": nothing is offered")
        for finding in result.findings
    ]
    reasons: dict[str, list[str]] = {}
    for key, reason in result.not_audited.items():
        reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
        lines.append(f"not asked  {', '.join(keys[:_MOST_NAMED])}{more}: {reason}")
    return [*lines, f"{result.audited} packages were audited, {len(result.findings)} findings"]
