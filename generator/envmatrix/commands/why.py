"""`envmatrix why`: explain why a cell exists or not, and why a package is in the lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING

import click

from envmatrix.app.explanations import (
    MachineExplanation,
    PackageExplanation,
    explain_impossible,
    explain_machines,
    explain_name,
    explain_names,
)
from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.commands.completions import complete_cell
from envmatrix.console import Console
from envmatrix.facts.cuda import CudaRelease
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.lifetime import Lifetime, lifetimes
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.selection import (
    Explanation,
    LibraryExplanation,
    Presence,
    explain_libraries,
)
from envmatrix.matrix.tiers import tiers_with
from envmatrix.text import leading_names

if TYPE_CHECKING:
    from envmatrix.plan.package_reasons import Membership


# More cells that use a set are counted, not named.
_MOST_NAMED = 3


@click.command(epilog="Example: envmatrix why cuda12.4-debian13-aarch64")
@click.argument("names", metavar="[CELL|PACKAGE]...", nargs=-1, shell_complete=complete_cell)
@options.library
@options.reporting
def command(
    *, names: Sequence[str], libraries: Sequence[str], as_json: bool, console: Console
) -> None:
    """Explain why a cell exists, or why it cannot; or why a package is in the lock.

    A single CELL is explained rule by rule, with what it needs; of several, or of a pattern such as
    'cuda13*', each gets a line. Of a PACKAGE, show the sets of the lock that contain it, what asks
    for it there, and which cells use them. Without a name, explain all impossible cells. With
    --library, explain why cells of the matrix build a library or a variant, or do not.
    """
    workspace = Workspace.here()
    if libraries:
        rows = explain_libraries(workspace.matrix, workspace.cells(names), libraries)
        machines = {
            (row.library.name, row.cell): [*explain_machines(workspace.matrix, row)] for row in rows
        }
        documents = [_variant_row(row, machines[row.library.name, row.cell]) for row in rows]
        display.show(documents, _variant_lines(rows, machines), as_json=as_json)
        return
    if not names:
        _show_all([*explain_impossible(workspace)], as_json=as_json)
        if not workspace.matrix.impossible:
            console.say("every cell of the matrix is possible")
        return
    row = None if names[1:] else explain_name(workspace, names[0])
    if row is None:
        _show_all([*explain_names(workspace, names)], as_json=as_json)
    elif isinstance(row, PackageExplanation):
        display.show(_package_row(row), _package_lines(row), as_json=as_json)
    else:
        _show_cell(row, workspace.matrix, console, as_json=as_json)


def _show_all(rows: Sequence[Presence | PackageExplanation], *, as_json: bool) -> None:
    """Show cells in a line each, and packages."""
    documents = [
        _package_row(row) if isinstance(row, PackageExplanation) else _presence_row(row)
        for row in rows
    ]
    lines = (
        line
        for row in rows
        for line in (_package_lines(row) if isinstance(row, PackageExplanation) else [str(row)])
    )
    display.show(documents, lines, as_json=as_json)


def _show_cell(
    explanation: Explanation, matrix: Matrix, console: Console, *, as_json: bool
) -> None:
    tiers = tiers_with(matrix, explanation.cell)
    release = matrix.facts.release(explanation.cell.cuda)
    ends = lifetimes([explanation.cell], matrix.facts)
    options.warn_of_ends([explanation.cell], matrix.facts, console)
    row = {**_row(explanation, release, ends), "tiers": tiers}
    display.show(row, _lines(explanation, tiers, release, ends), as_json=as_json)


def _presence_row(presence: Presence) -> dict[str, object]:
    return {
        "cell": presence.cell.id,
        "present": presence.present,
        "reason": presence.reason,
    }


def _package_row(row: PackageExplanation) -> dict[str, object]:
    return {"package": row.package, "sets": [*map(_membership_row, row.memberships)]}


def _membership_row(row: Membership) -> dict[str, object]:
    return {
        "set": row.key,
        "version": row.version,
        "requested": row.is_requested,
        "requesters": row.requesters,
        "requests": row.requests,
        "cells": [cell.id for cell in row.cells],
    }


def _package_lines(row: PackageExplanation) -> Iterator[str]:
    for membership in row.memberships:
        yield from _membership_lines(row.package, membership)


def _membership_lines(package: str, row: Membership) -> Iterator[str]:
    yield f"{package} {row.version} in `{row.key}`"
    if not row.cells:
        yield "  used by no cell of the matrix any more: see `envmatrix lock --check`"
        return
    if row.is_requested:
        yield f"  requested by {' and '.join(row.requesters) or 'envmatrix itself'}"
    elif row.requests[1:]:
        yield f"  comes with a package that the set requests: {', '.join(row.requests)}"
    else:
        yield f"  comes with {''.join(row.requests)}, which the set requests"
    yield f"  used by {leading_names([cell.id for cell in row.cells], _MOST_NAMED, 'cell')}"


def _row(
    explanation: Explanation, release: CudaRelease | None, ends: Sequence[Lifetime]
) -> dict[str, object]:
    return {
        **_presence_row(explanation),
        "rules": [asdict(verdict) for verdict in explanation.verdicts],
        "cuda": _release_row(release) if release else None,
        "end_of_life": [_lifetime_row(lifetime, options.today()) for lifetime in ends],
        "position": str(explanation.position) if explanation.position else None,
        "names": list(explanation.names),
        "nearest": str(explanation.nearest) if explanation.nearest else None,
    }


def _release_row(release: CudaRelease) -> dict[str, object]:
    driver, host = release.driver, release.host
    return {
        "driver": {"minimum": driver.minimum, "shipped": driver.shipped, "ref": driver.ref},
        "clang": {"min": host.clang_min, "max": host.clang_max, "ref": host.ref},
        "sm": {"known": list(release.sm), "ref": release.sm_ref},
    }


def _lifetime_row(lifetime: Lifetime, today: date) -> dict[str, object]:
    lts = lifetime.eol.lts
    return {
        "name": lifetime.name,
        "what": lifetime.support,
        "until": str(lifetime.eol.support),
        "lts": str(lts) if lts else None,
        "state": lifetime.state(today),
        "replacement": lifetime.replacement,
        "ref": lifetime.eol.ref,
    }


def _lines(
    explanation: Explanation,
    tiers: Sequence[str],
    release: CudaRelease | None,
    ends: Sequence[Lifetime],
) -> Iterator[str]:
    yield str(explanation)
    if explanation.position:
        yield f"  asked for at {explanation.position}"
    if explanation.names:
        yield f"  also called {', '.join(explanation.names)}"
    if tiers:
        yield f"  in tiers {', '.join(tiers)}"
    yield from _verdict_lines(explanation.verdicts)
    yield from _release_lines(release) if release else ()
    for lifetime in ends:
        lts = f", LTS until {lifetime.eol.lts}" if lifetime.eol.lts else ""
        yield f"  {lifetime.name}: {lifetime.support} until {lifetime.eol.support}{lts}"
    if explanation.nearest:
        yield f"nearest: {explanation.nearest}"


def _variant_row(
    explanation: LibraryExplanation, machines: Sequence[MachineExplanation]
) -> Mapping[str, object]:
    return {
        "cell": explanation.cell.id,
        "library": explanation.library.name,
        "present": explanation.present,
        "rules": [asdict(verdict) for verdict in explanation.verdicts],
        "machines": [
            {
                "for": row.purpose,
                "requires": str(row.requirement),
                "rules": [asdict(verdict) for verdict in row.verdicts],
                "unmet": row.unmet,
            }
            for row in machines
        ],
    }


def _variant_lines(
    explanations: Iterable[LibraryExplanation],
    machines: Mapping[tuple[str, Cell], Sequence[MachineExplanation]],
) -> Iterator[str]:
    for row in explanations:
        state = "is built" if row.present else "is not built"
        yield f"{row.library.name} {state} in {row.cell}"
        yield from _verdict_lines(row.verdicts)
        for machine in machines[row.library.name, row.cell]:
            yield f"  {machine.purpose} needs {machine.requirement}"
            yield from (f"  {line}" for line in _verdict_lines(machine.verdicts))
            unmet = machine.unmet.partition(": ")[2] if machine.unmet else ""
            yield f"    {'no ' if unmet else 'ok '} this machine{f': {unmet}' if unmet else ''}"


def _verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        yield f"  {'ok ' if verdict.passed else 'no '} {verdict.rule}: {verdict.explanation}"
        if not verdict.passed:
            yield f"      source: {verdict.ref}"


def _release_lines(release: CudaRelease) -> Iterator[str]:
    driver, host = release.driver, release.host
    shipped = f"; the release ships {driver.shipped}" if driver.shipped else ""
    yield (
        f"  driver {driver.minimum} or later: "
        f"minor-version compatibility of CUDA {release.major}{shipped}"
    )
    yield f"  Clang {host.clang_min} to {host.clang_max}"
    yield f"  GPU architectures {', '.join(release.sm)}"
