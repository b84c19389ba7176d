"""The tasks of an executor by their keys."""

from __future__ import annotations

import pytest

from envmatrix.engine.submissions import Submissions
from envmatrix.errors import Cancelled, EngineError


@pytest.fixture
def submissions() -> Submissions[str]:
    return Submissions()


def test_a_task_is_submitted_once(submissions: Submissions[str]) -> None:
    assert submissions.submit("a", lambda: "first") == "first"
    assert submissions.submit("a", lambda: "second") == "first"
    assert submissions.find("a") == "first"


def test_a_removed_key_is_free(submissions: Submissions[str]) -> None:
    submissions.submit("a", lambda: "first")
    assert submissions.remove("a") == "first"
    assert submissions.remove("a") is None
    with pytest.raises(EngineError, match="no task `a`"):
        submissions.find("a")
    assert submissions.submit("a", lambda: "second") == "second"


def test_a_cancelled_key_is_told_from_an_unknown_one_until_it_is_submitted_again(
    submissions: Submissions[str],
) -> None:
    submissions.submit("a", lambda: "first")
    assert submissions.cancel("a") == "first"
    assert submissions.cancel("a") is None
    with pytest.raises(Cancelled):
        submissions.find("a")
    submissions.submit("a", lambda: "second")
    submissions.remove("a")
    with pytest.raises(EngineError, match="no task `a`"):
        submissions.find("a")


def test_nothing_is_submitted_once_it_is_closed(submissions: Submissions[str]) -> None:
    submissions.submit("a", lambda: "first")
    assert submissions.close() == ("a",)
    with pytest.raises(Cancelled):
        submissions.submit("b", lambda: "second")
    assert submissions.find("a") == "first"


def test_a_key_that_no_name_may_have_is_not_submitted(submissions: Submissions[str]) -> None:
    with pytest.raises(ValueError, match="no key of a task"):
        submissions.submit("../a", lambda: "first")
    assert submissions.close() == ()
