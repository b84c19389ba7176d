from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.jobs.budget import Budget, Goal, History, Selection, select_goals
from envmatrix.jobs.model import Graph, Job, Resources
from envmatrix.jobs.schedule import estimate
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.tiers import pairs_of

CELLS = load_matrix(Path(__file__).parents[3]).cells
MACHINE = Resources(4, 8, 1)
ONE, GPU = Resources(1, 1), Resources(1, 1, 1)
NEW_FAILURE = History(0, is_new_failure=True)


@dataclass(frozen=True)
class Case:
    """A graph with the jobs that are wanted."""

    graph: Graph
    goals: list[Goal]

    def select(self, seconds: float | None = None, gpu_seconds: float | None = None) -> Selection:
        return select_goals(self.graph, self.goals, MACHINE, Budget(seconds, gpu_seconds))

    @property
    def histories(self) -> dict[str, History]:
        return {goal.job.id: goal.history for goal in self.goals}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw images that compilations share, and a test of each compilation."""
    seconds, resources = st.integers(0, 9), st.sampled_from([ONE, Resources(2, 6), Resources(9, 1)])
    images = [
        Job(f"image {index}", "image", (), (), ONE, draw(seconds)) for index in range(draw(seconds))
    ]
    jobs, goals = [*images], []
    for index in range(draw(st.integers(0, 12))):
        needs = draw(st.sets(st.sampled_from(images), max_size=2)) if images else set()
        compilation = Job(
            *(f"compile {index}", "compile", (), tuple(sorted(job.id for job in needs))),
            *(draw(resources), draw(seconds)),
        )
        takes = draw(st.sampled_from([ONE, GPU, Resources(4, 1, 4)]))
        test = Job(f"test {index}", "test", (), (compilation.id,), takes, draw(seconds))
        days, is_new = draw(st.none() | st.integers(0, 3)), draw(st.booleans())
        history = History(days, is_new_failure=is_new and days is not None)
        jobs += [compilation, test]
        goals.append(Goal(test, draw(st.sampled_from(CELLS)), history))
    return Case(Graph.of(jobs), goals)


budgets = st.none() | st.integers(0, 60)


def gpu_seconds(graph: Graph) -> float:
    return sum(job.seconds * job.resources.at_most(MACHINE).gpus for job in graph.jobs.values())


@given(cases(), budgets, budgets)
def test_no_budget_is_exceeded(case: Case, seconds: int | None, gpus: int | None) -> None:
    selection = case.select(seconds, gpus)
    assert seconds is None or estimate(selection.graph, [MACHINE]).seconds <= seconds
    assert gpus is None or gpu_seconds(selection.graph) <= gpus


@given(cases(), budgets, budgets)
def test_every_goal_is_chosen_or_left_out_with_a_reason(
    case: Case, seconds: int | None, gpus: int | None
) -> None:
    selection = case.select(seconds, gpus)
    choices = [*selection.chosen, *selection.left_out]
    assert sorted(choice.job.id for choice in choices) == sorted(case.histories)
    assert all(choice.reason for choice in choices)
    assert seconds is not None or gpus is not None or not selection.left_out


@given(cases(), budgets, budgets)
def test_the_graph_has_the_chosen_goals_and_their_needs_alone(
    case: Case, seconds: int | None, gpus: int | None
) -> None:
    selection = case.select(seconds, gpus)
    jobs = selection.graph.jobs
    chosen = [choice.job.id for choice in selection.chosen]
    needs = {need for job in jobs.values() for need in job.needs}
    assert jobs.keys() == {*chosen, *needs}
    assert [*jobs] == case.graph.needed_for(chosen)  # in the same order in each process
    numbers = {key: number for number, key in enumerate(jobs)}
    assert all(numbers[need] < numbers[job.id] for job in jobs.values() for need in job.needs)


@given(cases(), budgets, budgets)
def test_new_failures_come_first_then_what_was_not_run_for_the_longest(
    case: Case, seconds: int | None, gpus: int | None
) -> None:
    selection = case.select(seconds, gpus)
    for choices in (selection.chosen, selection.left_out):
        ranks = [case.histories[choice.job.id].rank for choice in choices]
        assert ranks == sorted(ranks)


@given(cases(), st.integers(0, 60), st.integers(0, 60), budgets)
def test_a_larger_budget_never_has_a_less_valuable_first_choice(
    case: Case, seconds: int, more: int, gpus: int | None
) -> None:
    order = [choice.job.id for choice in case.select().chosen]
    smaller, larger = case.select(seconds, gpus), case.select(seconds + more, gpus)
    if smaller.chosen:
        assert order.index(larger.chosen[0].job.id) <= order.index(smaller.chosen[0].job.id)


@given(cases(), budgets, budgets)
def test_a_choice_is_the_same_each_time(case: Case, seconds: int | None, gpus: int | None) -> None:
    assert case.select(seconds, gpus) == case.select(seconds, gpus)


def case_of(*histories: History, seconds: float = 10, takes: Resources = ONE) -> Case:
    """Return tests in different cells that need one compilation of 10 seconds."""
    jobs = [Job(f"test {index}", "test", (), ("compile",), takes, seconds)
            for index in range(len(histories))]  # fmt: skip
    compilation = Job("compile", "compile", (), (), Resources(4, 8), 10)
    goals = [Goal(*row) for row in zip(jobs, CELLS, histories, strict=False)]
    return Case(Graph.of([compilation, *jobs]), goals)


def ids(selection: Selection) -> list[str]:
    return [choice.job.id for choice in selection.chosen]


def test_reasons_say_what_is_valuable_and_what_is_missing() -> None:
    case = case_of(History(), History(12), NEW_FAILURE, History(1), History(0))
    choices = case.select().chosen
    assert [choice.reason.partition(", covers")[0] for choice in choices] == [
        "failed, and passed before",
        "never run",
        "not run for 12 days",
        "not run for 1 day",
        "run within a day",
    ]
    assert {choice.reason for choice in case.select(5).left_out} == {
        "takes too long with what it needs: about 20 s"
    }
    assert {choice.reason for choice in case.select(25).left_out} == {"no time is left"}


def test_what_goals_share_costs_once() -> None:
    case = case_of(*[History()] * 3, seconds=10, takes=Resources(4, 8))
    assert [len(case.select(seconds).chosen) for seconds in (19, 20, 30, 40)] == [0, 1, 2, 3]


def test_a_goal_that_is_too_long_keeps_none_from_being_chosen() -> None:
    long = Job("long", "test", (), (), ONE, 100)
    case = case_of(History(3), History(3))
    jobs = [*case.graph.jobs.values(), long]
    goals = [Goal(long, CELLS[0], NEW_FAILURE), *case.goals]
    selection = Case(Graph.of(jobs), goals).select(50)
    assert sorted(ids(selection)) == ["test 0", "test 1"]
    assert [choice.job for choice in selection.left_out] == [long]


def test_measurements_cost_gpu_minutes() -> None:
    jobs = [Job(name, "measure", (), (), Resources(4, 0, 1), 60) for name in ("one", "other")]
    case = Case(Graph.of(jobs), [Goal(job, CELLS[0]) for job in jobs])
    assert [len(case.select(gpu_seconds=limit).chosen) for limit in (59, 60, 120)] == [0, 1, 2]


def test_when_the_gpu_minutes_are_used_up_the_rest_runs_without() -> None:
    case = case_of(NEW_FAILURE, NEW_FAILURE, takes=GPU)
    plain = Goal(Job("plain", "test", (), (), ONE, 10), CELLS[0], History(0))
    selection = Case(Graph.of([*case.graph.jobs.values(), plain.job]), [*case.goals, plain]).select(
        gpu_seconds=15
    )
    assert ids(selection) == ["test 0", "plain"]
    assert [choice.reason for choice in selection.left_out] == ["no GPU minutes are left"]
    assert {choice.reason for choice in case.select(gpu_seconds=6).left_out} == {
        "takes too many GPU minutes: 0.2"
    }


def test_of_equal_goals_those_come_first_that_cover_more_pairs() -> None:
    jobs = [Job(f"{index:04}", "test", (), (), ONE, 1) for index in range(len(CELLS))]
    goals = [Goal(*row) for row in zip(jobs, CELLS, strict=True)]
    chosen = Case(Graph.of(jobs), goals).select().chosen
    cells: dict[str, Cell] = {goal.job.id: goal.cell for goal in goals}
    count = sum("covers" in choice.reason for choice in chosen)
    first = [cells[choice.job.id] for choice in chosen[:count]]
    assert pairs_of(first) == pairs_of(CELLS)
    assert len(first) < len(CELLS) / 2
    assert "covers 6 pairs" in chosen[0].reason
