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
from envmatrix.console import Console
from envmatrix.engine.gpu import NoGpu
from envmatrix.sessions.outcomes import Measurement


@click.command("perf", cls=options.Passing, epilog="Example: envmatrix run perf cuda13-x86_64")
@options.cell
@click.option("--device", metavar="NAME", help="A qualified CDI device, such as nvidia.com/gpu=0.")
@options.as_json
def command(
    *,
    device: str | None,
    as_json: bool,
    arguments: Sequence[str],
    console: Console,
    **cell: Unpack[CellArguments],
) -> int:
    """Run the benchmarks in CELL, with a GPU unless they require none. What cannot run here is
    skipped, with what is missing; if nothing can, exit with 77. ARGUMENTs go to the benchmarks."""
    gpu = THIS_MACHINE.choose_gpu(device=device)
    selected = Workspace.here(), cell["name"], cell["libraries"]
    unplaced = gpu.reason if isinstance(gpu, NoGpu) else None
    choose, requirements_of = THIS_MACHINE.choose_gpu, attrgetter("measured_on")
    if reason := unmet_in_cell(*selected, requirements_of, choose, unplaced):
        return skip(f"no GPU for `{cell['name']}`: {reason}" if reason == unplaced else reason)

    def show(result: Compilation | Sequence[Measurement]) -> None:
        if isinstance(result, Compilation):
            display.show_products(result)
            return
        lines = (
            f"{item.name:24} {item.value:12.4g} {item.unit} ({item.direction} is better)"
            for item in result
        )
        display.show([asdict(item) for item in result], lines, as_json=as_json)

    return measure_libraries(open_session(console, **cell), gpu, arguments, show)
