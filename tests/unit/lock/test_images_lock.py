from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate
from envmatrix.lock.images_lock import (
    FILE,
    ImagesLock,
    PublishedImage,
    PublishedIndex,
    dumps,
    load,
    loads,
    save,
)

hexadecimal = st.sampled_from("0123456789abcdef").map(lambda digit: digit * 64)
digests = hexadecimal.map(lambda text: f"sha256:{text}")
images = st.builds(PublishedImage, digests, hexadecimal, st.lists(digests, max_size=3).map(tuple))
indexes = st.builds(
    PublishedIndex,
    st.sampled_from(["registry.example/team/images", "127.0.0.1:5000/x"]),
    digests,
    hexadecimal,
    st.dictionaries(st.sampled_from(["amd64", "arm64"]), images, min_size=1),
)
keys = st.tuples(
    st.sampled_from(["cuda12.4-debian12", "cuda13.0-debian13"]),
    st.sampled_from(["runtime", "devel", "cross"]),
)
locks = st.builds(ImagesLock, st.dictionaries(keys, indexes))


@given(locks)
def test_a_lock_comes_back_as_it_was_and_equal_locks_are_equal_bytes(lock: ImagesLock) -> None:
    again = loads(dumps(lock))

    assert again == lock
    assert dumps(again) == dumps(lock)


@given(locks, locks)
def test_what_is_published_now_stands_beside_what_was(
    before: ImagesLock, after: ImagesLock
) -> None:
    both = before.with_published(after.indexes, {"cuda12.4-debian12"})

    assert {environment for environment, _ in both.indexes} <= {"cuda12.4-debian12"}
    for environment, flavour, index in both:
        assert index == (after.find(environment, flavour) or before.find(environment, flavour))


def test_consumers_are_given_digests(tmp_path: Path) -> None:
    image = PublishedImage(f"sha256:{'1' * 64}", "a" * 64, ())
    index = PublishedIndex("registry.example/x", f"sha256:{'2' * 64}", "b" * 64, {"arm64": image})
    save(ImagesLock({("cuda12.4-debian12", "devel"): index}), tmp_path)

    published = load(tmp_path).find("cuda12.4-debian12", "devel")

    assert published is not None
    assert published.reference == f"registry.example/x@sha256:{'2' * 64}"
    assert load(tmp_path).find_image("cuda12.4-debian12", "devel", "amd64") is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_where_nothing_was_published_there_is_an_empty_lock(tmp_path: Path) -> None:
    assert not [*load(tmp_path)]


PLATFORM = {"digest": f"sha256:{'1' * 64}", "fingerprint": "a" * 64, "diff_ids": []}


def row(**changes: object) -> str:
    image: dict[str, object] = {
        "image": f"registry.example/x@sha256:{'2' * 64}",
        "fingerprint": "b" * 64,
        "platforms": {"linux/amd64": PLATFORM},
    }
    environments = {"cuda12.4-debian12": {"devel": image | changes}}
    return json.dumps({"version": 1, "environments": environments})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{\n 1}", ConfigurationError, f"{FILE}:2:2: not JSON"),
        ("[]", ConfigurationError, "not a lock of images: the document must be"),
        ("{}", ConfigurationError, "lacks the key `version`"),
        ('{"version": 0}', OutOfDate, "has version 0"),
        (row(image="registry.example/x:latest"), ConfigurationError, "does not match"),
        (row(image=f"x y/z@sha256:{'2' * 64}"), ConfigurationError, "does not match"),
        (row(fingerprint="b"), ConfigurationError, "does not match"),
        (row(platforms={}), ConfigurationError, "devel.platforms` must not be empty"),
        (row(platforms={"amd64": PLATFORM}), ConfigurationError, "platforms` does not match"),
        (
            row(platforms={"linux/amd64": {**PLATFORM, "x": 1}}),
            ConfigurationError,
            "an unknown key",
        ),
        (row(digest="x"), ConfigurationError, "devel.digest` is an unknown key"),
        ('{"version": 1, "environments": {}, "x": 1}', ConfigurationError, "`x` is an unknown key"),
        (
            '{"version": 1, "environments": {},\n "version": 1}',
            ConfigurationError,
            f"{FILE}:2:2: key",
        ),
        (row(platforms=7), ConfigurationError, "devel.platforms` must be a mapping, not `7`"),
    ],
)
def test_what_is_no_such_lock_is_told(text: str, error: type[EnvmatrixError], message: str) -> None:
    with pytest.raises(error) as caught:
        loads(text)

    (problem,) = caught.value.problems
    assert message in str(problem)
    assert "envmatrix push" in str(problem.hint)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["image", "fingerprint", "platforms"])


@given(st.dictionaries(KEYS, VALUES), VALUES)
def test_any_document_gives_a_lock_or_a_refusal(changes: dict[str, object], value: object) -> None:
    for text in (
        row(**changes),
        json.dumps(value),
        json.dumps({"version": 1, "environments": value}),
    ):
        try:
            lock = loads(text)
        except (ConfigurationError, OutOfDate):
            continue
        assert dumps(loads(dumps(lock))) == dumps(lock)
