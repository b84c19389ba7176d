"""Shows the progress of jobs."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.console import Console, Display, JobConsole
from envmatrix.jobs.execution import STATES, Execution, JobResult
from envmatrix.jobs.model import Job
from envmatrix.records import dataclass
from envmatrix.text import one_line, rough_duration

# More jobs than these are counted, not named.
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Shows the jobs of an execution: a line when each ends, and on a terminal those that run, with
    their steps, above the number of all others; elsewhere a line when each starts."""

    console: Console
    display: Display
    execution: Execution

    def started(self, job: Job) -> Console:
        if self.display.is_live:
            self.display.begin(str(job))
        else:
            self.display.started(str(job), "start", f"about {rough_duration(job.seconds)}")
        self._show_total()
        return JobConsole(str(job), self.console, self.display)

    def ended(self, job: Job, result: JobResult) -> None:
        self.display.finished(str(job), result.state)
        if result.message:
            self.console.say(f"         {one_line(result.message)}")
        self._show_total()

    def interrupted(self, jobs: Sequence[Job]) -> None:
        names = [*map(str, jobs[:_MOST_NAMED])]
        if len(jobs) > _MOST_NAMED:
            names.append(f"{len(jobs) - _MOST_NAMED} more")
        what = f"ending {', '.join(names)}" if names else "nothing runs"
        self.console.say(f"interrupted: {what}; Ctrl-C again ends at once")

    def _show_total(self) -> None:
        counts = self.execution.counts
        words = [f"{self.execution.queued} queued", f"{len(self.execution.running)} running"]
        words += [f"{counts[state]} {state}" for state in STATES if counts[state]]
        self.display.total(counts.total(), len(self.execution.graph.jobs), ", ".join(words))
