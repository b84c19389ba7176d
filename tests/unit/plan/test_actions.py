from __future__ import annotations

import json

import pytest

from envmatrix.plan.actions import (
    FINGERPRINT_LABEL,
    STAGES_LABEL,
    Existing,
    Inputs,
    decide,
    inputs_of,
)
from envmatrix.plan.images import Image

IMAGE = Image("cuda13.0-debian12", "runtime", "amd64")
TEXT = """\
ARG SOURCE_DATE_EPOCH=1
FROM scratch AS files
ADD a /
FROM files AS runtime
"""


@pytest.fixture
def inputs() -> Inputs:
    return inputs_of(IMAGE, TEXT)


def reason(text: str, labels: dict[str, str] | None, *, force: bool = False) -> tuple[str, str]:
    inputs = inputs_of(IMAGE, text)
    local = {} if labels is None else {IMAGE.reference: labels}
    if labels and labels.get(FINGERPRINT_LABEL) == inputs.fingerprint:
        local[inputs.reference] = labels
    (action,) = decide([inputs], Existing(local), force=force)
    assert action.image == IMAGE
    return action.verb, action.reason


def test_an_image_that_is_nowhere_is_built() -> None:
    assert reason(TEXT, None) == ("build", "never built here")


def test_an_image_of_the_same_inputs_is_reused(inputs: Inputs) -> None:
    assert reason(TEXT, dict(inputs.labels)) == ("reuse", "up to date")


@pytest.mark.parametrize("others", [{}, {FINGERPRINT_LABEL: "0" * 64}])
def test_what_people_call_an_image_by_may_be_another_one(
    inputs: Inputs, others: dict[str, str]
) -> None:
    """Of another branch, that was built since."""
    local = {inputs.reference: inputs.labels, IMAGE.reference: others or inputs.labels}

    (action,) = decide([inputs], Existing(local))

    assert (action.verb, action.is_current) == ("reuse", not others)


def test_force_builds_what_is_up_to_date(inputs: Inputs) -> None:
    assert reason(TEXT, dict(inputs.labels), force=True) == ("build", "asked for by --force")


def test_a_change_says_more_than_force(inputs: Inputs) -> None:
    text = TEXT.replace("ADD a", "ADD b")
    assert reason(text, dict(inputs.labels), force=True) == ("build", "changed: `files`")


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (TEXT.replace("ADD a", "ADD b"), "changed: `files`"),
        (TEXT.replace("EPOCH=1", "EPOCH=2"), "changed: `epoch`"),
        (TEXT + "COPY --from=more / /\nFROM scratch AS more\n", "changed: `more`, `runtime`"),
    ],
)
def test_the_reason_names_the_stages_that_changed(inputs: Inputs, text: str, changes: str) -> None:
    assert reason(text, dict(inputs.labels)) == ("build", changes)


def test_many_changes_are_counted() -> None:
    before = "".join(f"FROM scratch AS s{n}\nADD a /\n" for n in range(7))
    copies = "".join(f"COPY --from=s{n} / /\n" for n in range(7))
    text = f"{before}FROM scratch AS runtime\n{copies}"
    labels = dict(inputs_of(IMAGE, text).labels)
    assert reason(text.replace("ADD a", "ADD b"), labels) == (
        "build",
        "changed: `s0`, `s1`, `s2`, `s3` and 3 more",
    )


@pytest.mark.parametrize("label", ["", "no json", "[1]", "{}"])
def test_an_image_of_unknown_making_is_built(label: str) -> None:
    labels = {FINGERPRINT_LABEL: "other", STAGES_LABEL: label}
    assert reason(TEXT, labels) == ("build", "changed: `epoch`, `files`, `runtime`")


def test_equal_stages_built_another_way_are_told_apart(inputs: Inputs) -> None:
    labels = dict(inputs.labels) | {FINGERPRINT_LABEL: "of another envmatrix"}
    assert reason(TEXT, labels) == ("build", "built another way, by another envmatrix")


def test_the_labels_hold_what_a_reason_needs_and_no_more(inputs: Inputs) -> None:
    assert set(inputs.labels) == {FINGERPRINT_LABEL, STAGES_LABEL}
    assert inputs.labels[FINGERPRINT_LABEL] == inputs.fingerprint
    short = json.loads(inputs.labels[STAGES_LABEL])
    assert short == {name: digest[:12] for name, digest in inputs.stages.items()}
