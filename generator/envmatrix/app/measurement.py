"""Run the benchmarks of the libraries of a cell, with a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envmatrix.app.cell_session import CellSession
from envmatrix.app.compilation import Compilation, compile_recorded
from envmatrix.app.library_runs import Part, run_each_library
from envmatrix.engine import docker_client, gpu
from envmatrix.engine.tasks import Gpus
from envmatrix.results.recorder import Recorder
from envmatrix.results.records import ARGUMENTS
from envmatrix.sessions.benchmark import measure
from envmatrix.sessions.failures import Skipped
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.runner import Runner


def choose_gpu(device: str | None) -> Gpus | gpu.NoGpu:
    """Return how to pass the named GPU, or any; or why there is none."""
    with docker_client.connect() as client:
        return gpu.choose(gpu.probe_gpu(client), device)


def measure_libraries(
    session: CellSession,
    gpus: Gpus,
    arguments: Sequence[str],
    show: Callable[[Compilation | Sequence[Measurement]], None],
) -> int:
    """Compile and measure each library, and show the results; return the exit code."""

    def measure_library(runner: Runner, recorder: Recorder) -> None:
        if runner.context.is_emulated:
            here = "a machine of its own architecture"
            raise Skipped(f"`{session.cell.id}` can be measured only on {here}")
        compile_recorded(runner, recorder, show)
        measurements = measure(runner, gpus, arguments)
        recorder.add_measurements(measurements)
        show(measurements)

    part = Part(extent=ARGUMENTS if arguments else "")
    return run_each_library(session, "perf", measure_library, part)
