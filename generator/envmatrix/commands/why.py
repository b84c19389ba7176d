"""`envmatrix why`: explain why a cell exists or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date

import click

from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.commands.completions import complete_cell, complete_library
from envmatrix.console import Console
from envmatrix.facts.cuda import CudaRelease
from envmatrix.matrix.compatibility import Verdict
from envmatrix.matrix.lifetime import Lifetime, lifetimes
from envmatrix.matrix.selection import (
    Explanation,
    LibraryExplanation,
    explain,
    explain_libraries,
)
from envmatrix.matrix.tiers import tiers_with


@click.command(epilog="Example: envmatrix why cuda12.4-debian13-aarch64")
@click.argument("cell", shell_complete=complete_cell)
@click.argument("library", required=False, shell_complete=complete_library)
@options.reporting
def command(*, cell: str, library: str | None, as_json: bool, console: Console) -> None:
    """Explain why CELL exists, or why it cannot, rule by rule, and show what it needs; or why
    LIBRARY, such as NAME@VARIANT, is built in it or not."""
    matrix = Workspace.here().matrix
    if library is not None:
        variants = explain_libraries(matrix, cell, library)
        rows = [_variant_row(each) for each in variants]
        display.show(rows, _variant_lines(variants), as_json=as_json)
        return
    explanation = explain(matrix, cell)
    tiers = tiers_with(matrix, explanation.cell)
    release = matrix.facts.release(explanation.cell.cuda)
    ends = lifetimes([explanation.cell], matrix.facts)
    options.warn_of_ends([explanation.cell], matrix.facts, console)
    row = {**_row(explanation, release, ends), "tiers": tiers}
    display.show(row, _lines(explanation, tiers, release, ends), as_json=as_json)


def _row(
    explanation: Explanation, release: CudaRelease | None, ends: Sequence[Lifetime]
) -> dict[str, object]:
    return {
        "cell": explanation.cell.id,
        "present": explanation.present,
        "reason": explanation.reason,
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
    state = "exists" if explanation.present else "does not exist"
    yield f"{explanation.cell} {state}: {explanation.reason}"
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


def _variant_row(explanation: LibraryExplanation) -> Mapping[str, object]:
    return {
        "cell": explanation.cell.id,
        "library": explanation.library.name,
        "present": explanation.present,
        "rules": [asdict(verdict) for verdict in explanation.verdicts],
    }


def _variant_lines(explanations: Iterable[LibraryExplanation]) -> Iterator[str]:
    for row in explanations:
        state = "is built" if row.present else "is not built"
        yield f"{row.library.name} {state} in {row.cell}"
        yield from _verdict_lines(row.verdicts)


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
