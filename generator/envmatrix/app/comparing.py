"""Compare the benchmarks of libraries with those of another revision: both are built in the same
images and measured on the same machine, in interleaved pairs, until the result is clear."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

from envmatrix.app.cell_session import CellSession
from envmatrix.app.compilation import Compilation, compile_recorded
from envmatrix.app.library_runs import (
    Needs,
    Part,
    locked_build,
    parts_on,
    recorded_run,
    require_machine,
    run_each_library,
)
from envmatrix.app.measurement import device_of, gpus_for
from envmatrix.app.snapshots import session_at, snapshot_at
from envmatrix.app.testing import judge, placed_name
from envmatrix.codegen.differences import differences
from envmatrix.comparison.family import decide
from envmatrix.comparison.model import Limits, Pair, Verdict
from envmatrix.console import Console
from envmatrix.engine.gpu import NoGpu
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import EnvmatrixError
from envmatrix.matrix.library import Library
from envmatrix.records import dataclass
from envmatrix.results.recorder import Recorder
from envmatrix.results.records import ARGUMENTS, BAD
from envmatrix.results.waivers import load_waivers
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.benchmark import FOREIGN, measure
from envmatrix.sessions.codegen import code_of
from envmatrix.sessions.context import BuildContext
from envmatrix.sessions.failures import Skipped, StepFailed
from envmatrix.sessions.outcomes import STATE_OF, Comparison, Measurement, TestOutcome
from envmatrix.sessions.products import Product
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.testing import TestRun
from envmatrix.text import number_of
from envmatrix.vcs.git import commit_named

# More differences of machine code are on the page of the run.
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """The revision to compare with, the limits of verdicts, the most seconds to measure, and the
    arguments for benchmarks."""

    revision: str
    limits: Limits
    seconds: float
    arguments: Sequence[str] = ()


def compare_libraries(
    session: CellSession,
    gpu: Gpus | NoGpu,
    request: ComparisonRequest,
    today: date,
    show: Callable[[Compilation | Sequence[Comparison]], None],
) -> int:
    """Build each library and what it was at a revision, compare their benchmarks on each machine
    that they require, and show the results; return the exit code. A slower benchmark fails as a
    test does, and can be waived."""
    waivers = load_waivers(session.workspace.root)
    commit = commit_named(session.workspace.root, request.revision)
    snapshot = snapshot_at(session.workspace, request.revision, session.console)
    past = session_at(session, snapshot, request.revision)
    past_libraries = {library.name: library for library in past.libraries}
    examined: set[str] = set()

    def compare(runner: Runner, recorder: Recorder) -> Iterator[Compilation | Sequence[Comparison]]:
        context = runner.context
        if context.is_emulated:
            raise Skipped(f"`{session.cell.id}` {FOREIGN}")
        (compilation,) = compile_recorded(runner, recorder)
        yield compilation
        part = Part(requirement=context.requirement)
        session.console.say(f"baseline `{request.revision}`")
        with built(past, past_libraries[context.library.name], part) as (baseline, products):
            if context.library.name not in examined:  # once for all machines
                examined.add(context.library.name)
                sides = (baseline, products), (runner, compilation.products)
                recorder.journal.write(*compare_code(*sides, session.console))
            require_machine(session, context)
            gpus = gpus_for(session.place, context, gpu)
            rows = measure_pairs(Sides(baseline, runner, gpus, request.arguments), request)
        named = replace(request, revision=commit)
        comparisons = comparisons_of(rows, named, device_of(gpus), context)
        if not comparisons:
            message = f"no benchmark of `{context.library.name}` printed a measurement"
            raise EnvmatrixError(message, hint=f"the output is {context.log('perf')}")
        recorder.journal.write(*comparisons)
        outcomes = tuple(map(outcome_of, comparisons))
        recorder.add_tests(outcomes)
        yield comparisons
        run = TestRun(outcomes, context.junit, _failure(outcomes, context))
        judge(run, runner, waivers, today)

    part = Part(extent=ARGUMENTS if request.arguments else "")

    def parts(library: Library) -> Sequence[Part]:
        return parts_on(session, library.measured_on, part)

    with session.place.measuring(session.console):
        return run_each_library(session, "perf", compare, show, parts)


Built = tuple[Runner, Sequence[Product]]


@contextmanager
def built(session: CellSession, library: Library, part: Part) -> Iterator[Built]:
    """Build a library, and yield its runner with its products."""
    Needs(session).install_for(library)
    with (
        locked_build(session, library, "compile") as context,
        recorded_run(session, context, "compile", part) as (runner, recorder),
    ):
        (compilation,) = compile_recorded(runner, recorder)
        yield runner, compilation.products


def compare_code(before: Built, after: Built, console: Console) -> Sequence[Finding]:
    """Return how the machine code of kernels differs, and show it; none where it cannot be read,
    with a warning."""
    try:
        codes = [code_of(*side) for side in (before, after)]
    except EnvmatrixError as error:
        console.warn(f"machine code is not compared: {error.message}")
        return []
    findings = [
        Finding("codegen", "kernel", str(row), path)
        for path in sorted({*codes[0], *codes[1]})
        for row in differences(codes[0].get(path, {}), codes[1].get(path, {}))
    ]
    count = sum(len(kernels) for kernels in codes[1].values())
    if count:
        console.say(f"code     {number_of(len(findings), 'difference')} in {count} kernels")
    for finding in findings[:_MOST_SHOWN]:
        console.say(f"code     {finding.message}")
    return findings


@dataclass(frozen=True, slots=True)
class Sides:
    """The runners of both sides of a comparison, and how benchmarks run."""

    baseline: Runner
    change: Runner
    gpus: Gpus | None
    arguments: Sequence[str] = ()

    def measured(self, number: int) -> Row:
        """Run the benchmarks of both sides, the baseline first in rows with an even number, so
        that what changes with time affects both alike."""
        if number % 2:
            change = self._measured(self.change)
            return self._measured(self.baseline), change
        return self._measured(self.baseline), self._measured(self.change)

    def _measured(self, runner: Runner) -> Mapping[str, Measurement]:
        # Neither steps nor lines for each of many runs.
        silent = replace(runner, console=Console(-1), on_step=lambda _step: None)
        return {row.name: row for row in measure(silent, self.gpus, self.arguments)}


# The measurements of the baseline and of the change by their names, of one pair of runs.
Row = tuple[Mapping[str, Measurement], Mapping[str, Measurement]]


def measure_pairs(sides: Sides, request: ComparisonRequest) -> Sequence[Row]:
    """Measure pairs until all verdicts are clear, or no more may be measured."""
    end, most = time.monotonic() + request.seconds, request.limits.pairs
    rows: list[Row] = []
    while len(rows) < most and time.monotonic() < end:
        rows.append(sides.measured(len(rows)))
        decision = decide(series_of(rows), request.limits)
        total = len(decision.verdicts)
        sides.change.console.say(
            f"pair     {len(rows)} of at most {most}: {total - len(decision.open)} of "
            f"{number_of(total, 'benchmark')} clear"
        )
        if not decision.open:
            break
    return rows


def series_of(rows: Sequence[Row]) -> Mapping[str, Sequence[Pair]]:
    """Return the pairs of each benchmark that both sides have with one meaning, as times: of what
    is better if it is more, the reciprocal."""
    series: dict[str, list[Pair]] = {}
    for baseline, change in rows:
        for name in change:
            if not difference(baseline.get(name), change[name]):
                pair = Pair(_time(baseline[name]), _time(change[name]))
                series.setdefault(name, []).append(pair)
    return series


def _time(row: Measurement) -> float:
    if row.direction == "lower" or not row.value:
        return row.value
    return 1 / row.value


def difference(baseline: Measurement | None, change: Measurement | None) -> str:
    """Return why a benchmark of both sides cannot be compared; nothing if it can."""
    if change is None:
        return "missing: only the baseline has it"
    if baseline is None:
        return "new: the baseline does not have it"
    before, now = (f"{row.unit}, {row.direction} is better" for row in (baseline, change))
    return "" if before == now else f"its unit was `{before}`, and is `{now}`"


def comparisons_of(
    rows: Sequence[Row], request: ComparisonRequest, device: str, context: BuildContext
) -> Sequence[Comparison]:
    """Return the comparisons of all benchmarks of either side, in the order of their names."""
    series = series_of(rows)
    verdicts = decide(series, request.limits).verdicts
    names = {name for row in rows for side in row for name in side}
    comparisons = []
    for name in sorted(names):
        both = [(baseline.get(name), change.get(name)) for baseline, change in rows]
        unmatched = next(filter(None, (difference(*pair) for pair in both)), "")
        is_new = all(baseline is None for baseline, _ in both)
        verdict = Verdict("undecided" if is_new else "invalid", notes=[unmatched])
        if not unmatched:
            verdict = verdicts[name]
        values = [(first.value, second.value) for first, second in both if first and second]
        unit = next(side.unit for pair in both for side in pair if side)
        comparisons.append(
            Comparison(
                placed_name(name, context),
                verdict.state,
                verdict.effect,
                verdict.half_width,
                request.revision,
                device,
                unit,
                unmatched or str(verdict),
                json.dumps(values),
            )
        )
    return comparisons


def outcome_of(comparison: Comparison) -> TestOutcome:
    """Return a comparison as the outcome of a test, which waivers and reports know."""
    return TestOutcome(comparison.name, STATE_OF[comparison.state], 0.0, comparison.message)


def _failure(outcomes: Sequence[TestOutcome], context: BuildContext) -> StepFailed | None:
    bad = [outcome for outcome in outcomes if outcome.state in BAD]
    if not bad:
        return None
    count = f"{len(bad)} of {number_of(len(outcomes), 'benchmark')}"
    where = f"`{context.library.name}` in `{context.cell.id}`"
    return StepFailed(
        1,
        "product",
        f"slower or not comparable: {count} of {where}",
        "all pairs are on the page of the run: `envmatrix serve`",
        (),
        failures=[(outcome.state, f"{outcome.name}: {outcome.message}") for outcome in bad],
    )
