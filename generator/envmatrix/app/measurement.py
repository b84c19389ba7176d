"""Compile the libraries of a cell, and measure them with their benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from envmatrix.app.cell_session import CellSession
from envmatrix.app.compilation import Compilation, compile_recorded
from envmatrix.app.library_runs import Part, gpus_of, parts_on, require_machine, run_each_library
from envmatrix.app.places import Place
from envmatrix.app.testing import placed_name
from envmatrix.engine.gpu import NoGpu, probe_gpus
from envmatrix.engine.tasks import Gpus
from envmatrix.machine.resources import processor_model
from envmatrix.matrix.library import Library
from envmatrix.results.recorder import Recorder
from envmatrix.results.records import ARGUMENTS
from envmatrix.sessions.benchmark import FOREIGN, measure
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner


def measure_libraries(
    session: CellSession,
    gpu: Gpus | NoGpu,
    arguments: Sequence[str],
    show: Callable[[Compilation | Sequence[Measurement]], None],
) -> int:
    """Compile and measure each library on each machine that its benchmarks require, or on `gpu`,
    and show the results; return the exit code. Nothing else is measured meanwhile: a wait for that
    is in no recorded time."""

    def measure_library(
        runner: Runner, recorder: Recorder
    ) -> Iterator[Compilation | Sequence[Measurement]]:
        if runner.context.is_emulated:
            raise Skipped(f"`{session.cell.id}` {FOREIGN}")
        require_machine(session, runner.context)
        gpus = gpus_for(session.place, runner.context, gpu)
        yield from compile_recorded(runner, recorder)
        yield measure_recorded(runner, recorder, gpus, arguments)

    part = Part(extent=ARGUMENTS if arguments else "")

    def parts(library: Library) -> Sequence[Part]:
        return parts_on(session, library.measured_on, part)

    with session.place.measuring(session.console):
        return run_each_library(session, "perf", measure_library, show, parts)


def gpus_for(place: Place, context: BuildContext, gpu: Gpus | NoGpu) -> Gpus | None:
    """Return the GPUs to measure with, those that are required or `gpu`; raise Skipped without
    them."""
    if context.requirement:
        return gpus_of(place, context)
    if isinstance(gpu, NoGpu):
        raise Skipped(gpu.reason)
    return gpu


def device_of(gpus: Gpus | None) -> str:
    """Return the models of the GPUs of this machine that something is measured on, or that of its
    processors."""
    if gpus is None:
        return processor_model()
    present = probe_gpus()
    chosen = [gpu.name for gpu in present if not gpus.chosen or gpu.index in gpus.chosen]
    return " + ".join(chosen) or "GPU"


def measure_recorded(
    runner: Runner, recorder: Recorder, gpus: Gpus | None, arguments: Sequence[str] = ()
) -> Sequence[Measurement]:
    """Run the benchmark of a compiled library; record its measurements, and return them."""
    measurements = [
        replace(item, name=placed_name(item.name, runner.context))
        for item in measure(runner, gpus, arguments)
    ]
    recorder.journal.write(*measurements)
    return measurements
