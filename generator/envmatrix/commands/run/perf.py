"""`envmatrix run perf`: measure libraries in a cell, with a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Unpack

import click

from envmatrix.app.cell_session import CellArguments, open_session
from envmatrix.app.compilation import Compilation
from envmatrix.app.library_runs import skip
from envmatrix.app.measurement import measure_libraries
from envmatrix.app.places import THIS_MACHINE
from envmatrix.app.requirements import unmet_in_cell
from envmatrix.app.workspace import Workspace
from envmatrix.commands import display, options
from envmatrix.comparison.model import Limits
from envmatrix.console import Console
from envmatrix.engine.gpu import NoGpu
from envmatrix.sessions.outcomes import Comparison, Measurement


@click.command(
    "perf",
    cls=options.Passing,
    epilog="Example: envmatrix run perf cuda13-x86_64 --against origin/main",
)
@options.cell
@click.option("--device", metavar="NAME", help="A qualified CDI device, such as nvidia.com/gpu=0.")
@click.option(
    "--against",
    metavar="REVISION",
    help="Build this revision as well, and compare with it in interleaved pairs of runs.",
)
@options.comparing
@options.as_json
def command(
    *,
    device: str | None,
    against: str | None,
    limits: Limits,
    seconds: float,
    as_json: bool,
    arguments: Sequence[str],
    console: Console,
    **cell: Unpack[CellArguments],
) -> int:
    """Run the benchmarks in CELL, with a GPU unless they require none. What cannot run here is
    skipped, with what is missing; if nothing can, exit with 77. ARGUMENTs go to the benchmarks.

    With --against, a benchmark that is slower than at REVISION fails: see docs/performance.md."""
    gpu = THIS_MACHINE.choose_gpu(device=device)
    if device and isinstance(gpu, NoGpu):
        return skip(f"no GPU for `{cell['name']}`: {gpu.reason}")
    selected = Workspace.here(), cell["name"], cell["libraries"]
    unplaced = gpu.reason if isinstance(gpu, NoGpu) else None
    choose, requirements_of = THIS_MACHINE.choose_gpu, attrgetter("measured_on")
    reason = unmet_in_cell(*selected, requirements_of, choose, unplaced)
    if reason and against is None:  # machine code is compared without a GPU as well
        return skip(f"no GPU for `{cell['name']}`: {reason}" if reason == unplaced else reason)

    def show(result: Compilation | Sequence[Measurement] | Sequence[Comparison]) -> None:
        if isinstance(result, Compilation):
            if not as_json:
                display.show_products(result)
            return
        rows = [asdict(item) for item in result]
        display.show(rows, map(_line, result), as_json=as_json)

    session = open_session(console, **cell)
    if against is None:
        return measure_libraries(session, gpu, arguments, show)
    from envmatrix.app.comparing import ComparisonRequest, compare_libraries

    request = ComparisonRequest(against, limits, seconds, arguments)
    return compare_libraries(session, gpu, request, options.today(), show)


def _line(item: Measurement | Comparison) -> str:
    if isinstance(item, Comparison):
        return f"{item.state:10} {item.name:28} {item.message}"
    return f"{item.name:28} {item.value:12.4g} {item.unit} ({item.direction} is better)"
