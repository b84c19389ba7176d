from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.targets import MACHINES
from envmatrix.images.dockerfile import dockerfile
from envmatrix.images.environments import environments
from envmatrix.images.model import Image
from envmatrix.lock.model import Lock
from envmatrix.matrix.model import Matrix
from envmatrix.plan.actions import inputs_of
from envmatrix.plan.garbage import GRACE_SECONDS, Kind, Thing, Used, garbage, used_by

KINDS: tuple[Kind, ...] = ("image", "base", "recipe", "artifact", "context")

keys = st.sampled_from("abcdef")
things = st.builds(
    Thing, st.sampled_from(KINDS), keys, st.just(1), st.sampled_from([0.0, GRACE_SECONDS, 1e9])
)
uses = st.builds(Used, st.dictionaries(st.sampled_from(KINDS), st.frozensets(keys)))


@given(st.lists(things), uses, uses)
def test_nothing_that_is_used_or_young_is_garbage_and_all_else_is(
    kept: list[Thing], one: Used, other: Used
) -> None:
    found = garbage(kept, one | other)

    for thing in kept:
        is_used = one.has(thing) or other.has(thing)
        assert (thing in found) == (not is_used and thing.age >= GRACE_SECONDS)


def test_what_a_repository_needs_is_all_that_its_plan_names(matrix: Matrix, lock: Lock) -> None:
    planned = environments(matrix, lock, shipped_recipes(), matrix.cells)
    texts = {its.name: dockerfile(its) for its in planned}

    used = used_by(lock, texts.values(), ["context"], ["base"])

    for environment in planned:
        for image in environment.images:
            key = inputs_of(image, texts[environment.name]).fingerprint
            assert used.has(Thing("image", key, 0, 0))
            assert used.has(Thing("recipe", key, 0, 0))
        for base in environment.bases:
            assert used.has(Thing("base image", base.image, 0, 0))
        for item in (item for stage in environment.files for item in stage.artifacts):
            assert used.has(Thing("artifact", item.sha256, 0, 0))
    assert used.has(Thing("context", "context", 0, 0))
    assert not used.has(Thing("image", "another", 0, 0))
    assert not used.has(Thing("partial file", "any", 0, 0))


def test_images_of_every_architecture_are_kept(matrix: Matrix, lock: Lock) -> None:
    (environment, *_) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    text = dockerfile(environment)
    used = used_by(lock, [text], [], [])
    for arch in MACHINES:
        key = inputs_of(Image(environment.name, "runtime", arch), text).fingerprint
        assert used.has(Thing("image", key, 0, 0))


def test_another_lock_needs_other_images(matrix: Matrix, lock: Lock) -> None:
    (environment, *_) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    text = dockerfile(environment)
    image = environment.images[0]
    before = inputs_of(image, text).fingerprint
    other = text.replace(f"SOURCE_DATE_EPOCH={lock.epoch}", f"SOURCE_DATE_EPOCH={lock.epoch + 1}")
    assert other != text

    assert not used_by(lock, [other], [], []).has(Thing("image", before, 0, 0))
