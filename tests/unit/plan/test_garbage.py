from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import inputs_of, with_set

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.targets import MACHINES
from envmatrix.images.contents import StageContents, StagePackage, build_record
from envmatrix.images.definition import Definition, definition_of
from envmatrix.images.environments import environments
from envmatrix.lock.model import Excerpt, Lock, Range
from envmatrix.matrix.model import Matrix
from envmatrix.plan.garbage import (
    GRACE_SECONDS,
    Kind,
    Thing,
    Used,
    garbage,
    images_made_of,
    old_outputs,
    planned_images,
    used_by,
)

KINDS: tuple[Kind, ...] = ("image", "base", "build record", "artifact", "context")

keys = st.sampled_from("abcdef")
things = st.builds(
    Thing, st.sampled_from(KINDS), keys, st.just(1), st.sampled_from([0.0, GRACE_SECONDS, 1e9])
)
uses = st.frozensets(st.tuples(st.sampled_from(KINDS), keys))


@given(st.lists(things), uses, uses)
def test_nothing_that_is_used_or_young_is_garbage_and_all_else_is(
    stored: list[Thing], first: Used, second: Used
) -> None:
    unused = garbage(stored, first | second)

    for thing in stored:
        is_used = (thing.kind, thing.key) in {*first, *second}
        assert (thing in unused) == (not is_used and thing.age >= GRACE_SECONDS)


def test_what_a_repository_needs_is_all_that_its_plan_names(matrix: Matrix, lock: Lock) -> None:
    planned = environments(matrix, lock, shipped_recipes(), matrix.cells)
    definitions = [definition_of(environment) for environment in planned]

    used = used_by(lock, planned_images(definitions), ["context"], ["base"])

    for definition in definitions:
        environment = definition.environment
        for image in environment.images:
            contents = definition.contents(image.flavour, image.arch)
            key = inputs_of(image, contents).fingerprint
            assert ("image", key) in used
            assert ("build record", key) in used
        for base in environment.bases:
            assert ("base image", base.image) in used
        for item in (item for stage in environment.files for item in stage.artifacts):
            assert ("artifact", item.sha256) in used
    assert ("context", "context") in used
    assert ("image", "another") not in used
    assert ("partial file", "any") not in used


def test_excerpts_and_their_ranges_are_kept(lock: Lock) -> None:
    key = next(iter(lock.sets))
    item = lock.sets[key].artifacts[0]
    excerpt = Excerpt(item, ("*",), 1, "1" * 64, (Range(0, 1, "2" * 64),))
    new = with_set(lock, key, replace(lock.sets[key], excerpts=(excerpt,)))
    more = used_by(new, frozenset(), (), ()) - used_by(lock, frozenset(), (), ())
    assert more == {("artifact", "1" * 64), ("artifact", "2" * 64)}


def definition_in(matrix: Matrix, lock: Lock) -> Definition:
    environment, *_ = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return definition_of(environment)


def test_images_of_every_architecture_are_kept(matrix: Matrix, lock: Lock) -> None:
    definition = definition_in(matrix, lock)
    images = planned_images([definition])
    for arch in MACHINES:
        key = definition.contents("runtime", arch).fingerprint(arch)
        assert key in images


def test_another_lock_needs_other_images(matrix: Matrix, lock: Lock) -> None:
    definition = definition_in(matrix, lock)
    image = definition.environment.images[0]
    before = definition.contents(image.flavour, image.arch).fingerprint(image.arch)
    other = replace(lock, epoch=lock.epoch + 1)

    assert before not in planned_images([definition_in(matrix, other)])


def test_images_of_files_that_are_locked_may_be_needed(matrix: Matrix, lock: Lock) -> None:
    contents = definition_in(matrix, lock).contents("devel", "amd64")
    files = {item.sha256 for item in lock.artifacts()}
    other = StageContents("", packages=(StagePackage("a", "1", "f" * 64),))
    assert "f" * 64 not in files
    records = {
        "locked": build_record(contents),
        "steps": build_record(
            replace(contents, stages={**contents.stages, "x": StageContents("y")})
        ),
        "other": build_record(replace(contents, stages={**contents.stages, "x": other})),
        "damaged": "{",
    }
    assert images_made_of(lock, records.items()) == {"locked", "steps"}


def test_outputs_go_once_they_are_old_and_no_record_has_them() -> None:
    day = 24 * 3600
    young, old, recorded = (
        Thing("job output", key, 1, age)
        for key, age in (("young", 3 * day), ("old", 3 * day + 1), ("recorded", 9 * day))
    )
    assert old_outputs([young, old, recorded], {"recorded"}, 3) == (old,)
