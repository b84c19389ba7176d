"""Which tests `run test --since` selects, by what ninja and CTest tell; CTest is a stand-in."""

from __future__ import annotations

from pathlib import Path

from tests.fakes import FakeExecutor
from tests.unit.sessions.test_test_dependencies import DEPS, GRAPH
from tests.unit.sessions.test_testing import ctest_in

from envmatrix.app.revisions import select_by_files
from envmatrix.engine.tasks import TaskResult
from envmatrix.sessions.sharding import Shard
from envmatrix.sessions.test_dependencies import Selection
from envmatrix.sessions.testing import TestRequest

LISTED = """\
{"tests": [
{"name": "t", "command": ["/build/tests/t"], "properties": []},
{"name": "later", "command": ["/build/libx.so"], "properties": [
 {"name": "DEPENDS", "value": ["t"]}]},
{"name": "other", "command": ["/build/libx.so"], "properties": []}
]}
"""


def selected(root: Path, listed: TaskResult, *, by_ninja: bool = True) -> Selection:
    testing = ctest_in(root, listed)
    with testing.runner.context.build.opened() as build:
        for name, text in {"ninja.graph": GRAPH, "ninja.deps": DEPS}.items() if by_ninja else ():
            build.write(name, text.encode())
    return select_by_files(testing, ["tests/t.cpp"])


def test_tests_are_those_that_ctest_lists(tmp_path: Path) -> None:
    assert selected(tmp_path, TaskResult(0, LISTED)).tests == {
        "t": "depends on `tests/t.cpp`",
        "later": "depends on the test `t`",
    }


def test_all_tests_run_where_ctest_lists_none(tmp_path: Path) -> None:
    failed = selected(tmp_path, TaskResult(1, LISTED))
    assert failed.tests is None
    assert failed.reason.startswith("list of `")
    unreadable = selected(tmp_path, TaskResult(0, "no list"))
    assert unreadable.tests is None
    assert unreadable.reason.startswith("the list of tests of `ctest` cannot be read: ")


def test_a_shard_of_selected_tests_is_of_those_listed_once(tmp_path: Path) -> None:
    testing = ctest_in(tmp_path, TaskResult(0, LISTED))
    with testing.runner.context.build.opened() as build:
        for name, text in {"ninja.graph": GRAPH, "ninja.deps": DEPS}.items():
            build.write(name, text.encode())
    selection = select_by_files(testing, ["tests/t.cpp"])
    testing.run(TestRequest(shard=Shard(1, 2), only=tuple(selection.tests or ())))
    executor = testing.runner.executor
    assert isinstance(executor, FakeExecutor)
    assert sum("--show-only=json-v1" in task.command for task in executor.tasks) == 1


def test_all_tests_run_where_ninja_did_not_build(tmp_path: Path) -> None:
    selection = selected(tmp_path, TaskResult(0, LISTED), by_ninja=False)
    assert selection.reason == "only builds with ninja and CTest tell what tests depend on"
    assert selection.tests is None
