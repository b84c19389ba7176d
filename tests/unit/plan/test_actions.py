from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from tests.fakes import inputs_of

from envmatrix.images.contents import BuildContents, StageContents, StagePackage, build_record
from envmatrix.images.model import Image
from envmatrix.plan.actions import (
    FINGERPRINT_LABEL,
    STAGES_LABEL,
    Existing,
    Inputs,
    Local,
    decide,
)

IMAGE = Image("cuda13.0-debian12", "runtime", "amd64")
BASE = {"files": StageContents("f", packages=(StagePackage("a", "1", "0"),))}
CONTENTS = BuildContents(1, {**BASE, "runtime": StageContents("r")})


@pytest.fixture
def inputs() -> Inputs:
    return inputs_of(IMAGE, CONTENTS)


def repinned(contents: BuildContents) -> BuildContents:
    """Return contents with other bytes for a package of a stage."""
    files = StageContents("f", packages=(StagePackage("a", "1", "1"),))
    return replace(contents, stages={**contents.stages, "files": files})


def built_as_labelled(labels: Mapping[str, str]) -> Callable[[str, str], bool]:
    """Return a check that believes the labels of images."""
    return lambda fingerprint, _: labels.get(FINGERPRINT_LABEL) == fingerprint


def reason(
    contents: BuildContents, labels: dict[str, str] | None, *, force: bool = False
) -> tuple[str, str]:
    inputs = inputs_of(IMAGE, contents)
    local = {} if labels is None else {IMAGE.reference: Local("id", labels)}
    if labels and labels.get(FINGERPRINT_LABEL) == inputs.fingerprint:
        local[inputs.reference] = Local("id", labels)
    (action,) = decide([inputs], Existing(local, built_as_labelled(labels or {})), force=force)
    assert action.inputs.image == IMAGE
    return action.verb, action.reason


def test_an_image_that_is_nowhere_is_built() -> None:
    assert reason(CONTENTS, None) == ("build", "never built here")


def test_an_image_of_the_same_inputs_is_reused(inputs: Inputs) -> None:
    assert reason(CONTENTS, dict(inputs.labels)) == ("reuse", "up to date")


@pytest.mark.parametrize("others", [{}, {FINGERPRINT_LABEL: "0" * 64}])
def test_what_people_call_an_image_by_may_be_another_one(
    inputs: Inputs, others: dict[str, str]
) -> None:
    """The image may be of another branch and newer."""
    own = Local("mine", inputs.labels)
    local = {inputs.reference: own, IMAGE.reference: Local("other", others) if others else own}

    (action,) = decide([inputs], Existing(local, lambda _, image: image == "mine"))

    assert (action.verb, action.is_current) == ("reuse", not others)


def test_an_image_that_only_says_what_it_was_made_of_is_built(inputs: Inputs) -> None:
    """Images that are derived from one inherit its labels."""
    derived = Local("derived", inputs.labels)
    local = {inputs.reference: derived, IMAGE.reference: derived}

    (action,) = decide([inputs], Existing(local, lambda _, image: image == "made"))

    expected = ("build", "the engine has one that was not made from here")
    assert (action.verb, action.reason) == expected


def test_a_published_image_takes_the_place_of_one_that_was_not_made_from_here(
    inputs: Inputs,
) -> None:
    local = {inputs.reference: Local("derived", inputs.labels)}
    published = {inputs.fingerprint: "registry.example/images@sha256:1"}

    (action,) = decide([inputs], Existing(local, lambda *_: False, published))

    assert (action.verb, action.published) == ("pull", "registry.example/images@sha256:1")


def test_a_newest_name_that_a_derived_image_has_is_taken_back(inputs: Inputs) -> None:
    local = {
        inputs.reference: Local("made", inputs.labels),
        IMAGE.reference: Local("derived", inputs.labels),
    }

    (action,) = decide([inputs], Existing(local, lambda _, image: image == "made"))

    assert (action.verb, action.is_current) == ("reuse", False)


def test_force_builds_what_is_up_to_date(inputs: Inputs) -> None:
    assert reason(CONTENTS, dict(inputs.labels), force=True) == ("build", "asked for by --force")


def test_a_change_says_more_than_force(inputs: Inputs) -> None:
    assert reason(repinned(CONTENTS), dict(inputs.labels), force=True) == (
        "build",
        "changed: `files`",
    )


@pytest.mark.parametrize(
    ("contents", "changes"),
    [
        (repinned(CONTENTS), "changed: `files`"),
        (replace(CONTENTS, epoch=2), "changed: `epoch`"),
        (
            BuildContents(1, {**BASE, "runtime": StageContents("o"), "more": StageContents("m")}),
            "changed: `more`, `runtime`",
        ),
    ],
)
def test_the_reason_names_the_stages_that_changed(
    inputs: Inputs, contents: BuildContents, changes: str
) -> None:
    assert reason(contents, dict(inputs.labels)) == ("build", changes)


def test_many_changes_are_counted() -> None:
    before = BuildContents(1, {f"s{n}": StageContents("a") for n in range(7)})
    after = BuildContents(1, {f"s{n}": StageContents("b") for n in range(7)})
    assert reason(after, dict(inputs_of(IMAGE, before).labels)) == (
        "build",
        "changed: `s0`, `s1`, `s2`, `s3` and 3 more",
    )


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        (build_record(CONTENTS), "changed: `a` 1: another file"),
        ("FROM scratch AS files\n", "changed: `files`"),
        (None, "changed: `files`"),
    ],
)
def test_the_record_of_an_image_tells_which_package_changed(
    inputs: Inputs, record: str | None, changes: str
) -> None:
    local = {IMAGE.reference: Local("id", inputs.labels)}
    existing = Existing(local, lambda *_: False, record=lambda _: record)
    (action,) = decide([inputs_of(IMAGE, repinned(CONTENTS))], existing)
    assert action.reason == changes


@pytest.mark.parametrize("label", ["", "no json", "[1]", "{}", "[" * 100_000])
def test_an_image_of_unknown_making_is_built(label: str) -> None:
    labels = {FINGERPRINT_LABEL: "other", STAGES_LABEL: label}
    assert reason(CONTENTS, labels) == ("build", "changed: `epoch`, `files`, `runtime`")


def test_equal_stages_built_another_way_are_told_apart(inputs: Inputs) -> None:
    labels = dict(inputs.labels) | {FINGERPRINT_LABEL: "of another envmatrix"}
    assert reason(CONTENTS, labels) == ("build", "built another way, by another envmatrix")


def test_the_labels_hold_what_a_reason_needs_and_no_more(inputs: Inputs) -> None:
    assert set(inputs.labels) == {FINGERPRINT_LABEL, STAGES_LABEL}
    assert inputs.labels[FINGERPRINT_LABEL] == inputs.fingerprint
    short = json.loads(inputs.labels[STAGES_LABEL])
    assert short == {name: digest[:12] for name, digest in inputs.contents.hashes.items()}
