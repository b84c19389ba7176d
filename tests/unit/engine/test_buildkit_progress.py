from __future__ import annotations

import base64
import json

import pytest

from envmatrix.engine.buildkit_progress import BuildProgress

CANCELLED = "process did not complete successfully: context canceled: context canceled"


def vertex(name: str, **state: object) -> dict[str, object]:
    return {"vertexes": [{"digest": f"sha256:{name}", "name": name, **state}]}


def log(name: str, text: str) -> dict[str, object]:
    data = base64.b64encode(text.encode()).decode()
    return {"logs": [{"vertex": f"sha256:{name}", "stream": 2, "data": data}]}


STARTED = "2026-01-01T00:00:00Z"
FAILING = "[devel-os 1/1] RUN --network=none sh /scripts/install.sh"
OTHER = "[runtime-os 1/1] RUN --network=none true"

EVENTS: list[dict[str, object]] = [
    vertex("[internal] load build definition from Dockerfile", started=STARTED),
    vertex(FAILING, started=STARTED),
    vertex(OTHER, started=STARTED),
    {"statuses": [{"id": "transferring context", "vertex": "sha256:x", "current": 1}]},
    log(FAILING, "Reading package lists...\n"),
    log(FAILING, "E: no such package\n"),
    vertex(OTHER, started=STARTED, completed=STARTED, error=CANCELLED),
    vertex(FAILING, started=STARTED, completed=STARTED, error="did not complete: exit code: 100"),
]


def one_a_line(event: dict[str, object]) -> list[str]:
    return [json.dumps(event)]


def over_many_lines(event: dict[str, object]) -> list[str]:
    return json.dumps(event, indent=1).splitlines()


@pytest.fixture(params=[one_a_line, over_many_lines])
def progress(request: pytest.FixtureRequest) -> BuildProgress:
    progress = BuildProgress()
    for event in EVENTS:
        for line in request.param(event):
            progress.feed(f"{line}\n")
    return progress


def test_the_failing_step_is_found_with_what_it_printed(progress: BuildProgress) -> None:
    assert progress.failure() == (
        FAILING,
        ("Reading package lists...", "E: no such package", "did not complete: exit code: 100"),
    )


def test_steps_are_counted(progress: BuildProgress) -> None:
    assert progress.counts == (2, 3)
    assert progress.other_lines == []


def test_steps_that_were_only_cancelled_are_no_failure() -> None:
    progress = BuildProgress()
    progress.feed(json.dumps(vertex(OTHER, started=STARTED, error=CANCELLED)))
    assert progress.failure() is None


def test_of_a_long_log_the_end_is_told() -> None:
    progress = BuildProgress()
    progress.feed(json.dumps(vertex(FAILING, started=STARTED, error="failed")))
    progress.feed(json.dumps(log(FAILING, "".join(f"{n}\n" for n in range(100)))))
    failure = progress.failure()
    assert failure
    assert failure[1] == (*(f"{n}" for n in range(75, 100)), "failed")


def test_lines_that_are_no_events_are_kept() -> None:
    progress = BuildProgress()
    for line in ("ERROR: no builder found\n", "", "[1, 2]", "{no json}", *one_a_line(EVENTS[1])):
        progress.feed(line)
    assert progress.other_lines == ["ERROR: no builder found", "", "[1, 2]", "{no json}"]
    assert list(progress.steps) == [f"sha256:{FAILING}"]


def test_what_buildkit_does_for_itself_is_not_told() -> None:
    steps: list[str] = []
    lines: list[str] = []
    progress = BuildProgress(on_step=steps.append, on_log=lines.append)
    for event in EVENTS:
        progress.feed(json.dumps(event))
    assert steps[:2] == [FAILING, OTHER]
    assert lines == ["Reading package lists...", "E: no such package"]


def test_bytes_that_are_no_text_do_not_stop_a_build() -> None:
    progress = BuildProgress()
    progress.feed(json.dumps(vertex(FAILING, started=STARTED, error="failed")))
    data = base64.b64encode(b"caf\xe9\n").decode()
    progress.feed(json.dumps({"logs": [{"vertex": f"sha256:{FAILING}", "data": data}]}))
    failure = progress.failure()
    assert failure
    assert failure[1] == ("caf\N{REPLACEMENT CHARACTER}", "failed")


def test_a_step_that_was_cached_is_done() -> None:
    progress = BuildProgress()
    progress.feed(json.dumps(vertex(OTHER, cached=True, started=STARTED, completed=STARTED)))
    (step,) = progress.steps.values()
    assert step.is_done


CACHE = "importing cache manifest from registry.example/team/layers:x"


def test_a_cache_that_cannot_be_read_fails_no_build() -> None:
    progress = BuildProgress()
    progress.feed(json.dumps(vertex(CACHE, started=STARTED, error="403 Forbidden")))
    progress.feed("WARNING: local cache import at /srv/x not found due to err: invalid character")

    assert progress.failure() is None
    assert progress.unread_caches() == ("403 Forbidden", "/srv/x: invalid character")


def test_a_failing_step_is_told_rather_than_a_cache_that_is_missed() -> None:
    progress = BuildProgress()
    progress.feed(json.dumps(vertex(CACHE, started=STARTED, error="not found")))
    progress.feed(json.dumps(vertex(FAILING, started=STARTED, error="exit code: 100")))

    assert progress.failure() == (FAILING, ("exit code: 100",))
