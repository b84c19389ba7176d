"""What does it cost to schedule jobs, apart from the jobs?

Jobs that only wait, in threads as real ones have them, with their progress as plain lines:
  running  64 jobs at once, each of 10 s, twice: CPU time of this process per second
  many     20,000 jobs that end at once, of which 64 run at a time: CPU time and memory
  bound    the time of a graph of 12 cells of four libraries on a machine of 4 to 64 processors, as
           the schedule has it, to the least that any order could take
Target: 1 % of a processor, 150 MB, and near 1.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from itertools import product

from benchmarks import timing

from envmatrix.app.job_execution import execute
from envmatrix.app.job_progress import JobProgress
from envmatrix.console import Console
from envmatrix.jobs.execution import Execution, JobResult
from envmatrix.jobs.model import Graph, Job, Resources
from envmatrix.jobs.schedule import estimate

_AT_ONCE, _SECONDS, _MANY = 64, 10.0, 20_000
_MACHINE = Resources(_AT_ONCE, 1 << 40)
_PROCESSORS = (4, 8, 16, 64)


def main() -> None:
    timing.arguments(__doc__, rounds=1).parse_args()
    timing.announce("The cost of the schedule")
    idle = _usage(2 * _AT_ONCE, _SECONDS)
    many = _usage(_MANY, 0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = [
        ["64 jobs at once: CPU time to wall time", f"{100 * idle.cpu / idle.wall:.2f} %"],
        ["20,000 jobs: CPU time of each", f"{1000 * many.cpu / _MANY:.2f} ms"],
        ["20,000 jobs: memory of the process", timing.megabytes(peak)],
        *(
            [f"{count} processors: time to the bound", f"{_to_bound(count):.2f}"]
            for count in _PROCESSORS
        ),
    ]
    print(timing.table(["", "measured"], rows))


def _usage(count: int, seconds: float) -> timing.Usage:
    """Execute jobs that wait for so many seconds each."""
    graph = Graph.of(
        Job(
            f"{number:064x}",
            "compile",
            ("library", f"cell{number}"),
            (),
            Resources(1, 1 << 30),
            seconds,
        )
        for number in range(count)
    )

    def work(job: Job, _console: Console) -> JobResult:
        time.sleep(job.seconds)
        return JobResult("done")

    console = Console(-1)
    execution = Execution(graph, _MACHINE)
    with console.display() as display:
        observer = JobProgress(console, display, execution)
        return timing.timed(lambda: execute(execution, work, observer))


def _to_bound(processors: int) -> float:
    machine = Resources(processors, processors << 32)
    times = estimate(Graph.of(_jobs(machine)), [machine])
    return times.seconds / times.bound


def _jobs(machine: Resources) -> Iterator[Job]:
    """Yield the jobs of 12 cells of four libraries: images that take two minutes, compilations of a
    half to four minutes that take half of the machine, and tests."""
    share = Resources(min(8, machine.processors // 2), 4 << 30)
    for cell in range(12):
        yield Job(f"image {cell}", "image", (str(cell),), (), Resources(1, 1 << 30), 120.0)
    for cell, library in product(range(12), range(4)):
        subject, seconds = (str(library), str(cell)), 30.0 * 2**library
        compilation = f"compile {library} {cell}"
        yield Job(compilation, "compile", subject, (f"image {cell}",), share, seconds)
        yield Job(f"test {library} {cell}", "test", subject, (compilation,), share, seconds / 4)


if __name__ == "__main__":
    main()
