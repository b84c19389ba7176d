from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from envmatrix.images.contents import BuildContents
from envmatrix.images.model import Image
from envmatrix.lock.images_lock import ImagesLock, PublishedImage, PublishedIndex
from envmatrix.plan.actions import Inputs
from envmatrix.plan.publication import image_tag, index_document, indexes_of, registry_reference

ENVIRONMENT = "cuda13.0-debian12"


def inputs(flavour: str, arch: str, fingerprint: str = "ab" * 32) -> Inputs:
    return Inputs(Image(ENVIRONMENT, flavour, arch), fingerprint, BuildContents(1, {}))


some = st.lists(
    st.builds(
        inputs,
        st.sampled_from(["runtime", "devel"]),
        st.sampled_from(["amd64", "arm64"]),
        st.sampled_from(["ab" * 32, "cd" * 32]),
    ),
    unique_by=lambda item: item.image,
)


@given(some, st.randoms())
def test_the_order_of_images_makes_no_other_index(rows: list[Inputs], random: object) -> None:
    shuffled = sorted(rows, key=lambda _: getattr(random, "random")())  # noqa: B009

    assert indexes_of(rows) == indexes_of(shuffled)
    assert sum(len(index.images) for index in indexes_of(rows)) == len(rows)


def test_a_tag_holds_the_fingerprint_and_so_names_one_thing() -> None:
    first, second = inputs("runtime", "amd64"), inputs("runtime", "amd64", "cd" * 32)

    assert image_tag(first) == f"{ENVIRONMENT}-runtime-amd64-abababababab"
    assert image_tag(first) != image_tag(second)
    (index,) = indexes_of([first, inputs("runtime", "arm64")])
    (changed,) = indexes_of([second, inputs("runtime", "arm64")])
    assert index.moving_tag == changed.moving_tag == f"{ENVIRONMENT}-runtime"
    assert index.tag != changed.tag
    assert index.tag.startswith(f"{index.moving_tag}-")


def test_equal_images_make_an_equal_index() -> None:
    (index,) = indexes_of([inputs("runtime", "arm64"), inputs("runtime", "amd64")])
    images = {
        arch: PublishedImage(f"sha256:{number * 64}", "ab" * 32, ())
        for arch, number in (("arm64", "1"), ("amd64", "2"))
    }
    sizes = {image.digest: 7 for image in images.values()}

    text = index_document(index, images, sizes)

    assert text == index_document(index, dict(reversed(images.items())), sizes)
    rows = json.loads(text)["manifests"]
    assert [row["platform"]["architecture"] for row in rows] == ["amd64", "arm64"]
    assert {row["size"] for row in rows} == {7}


def test_a_registry_is_asked_for_a_digest_where_the_lock_has_one() -> None:
    devel = inputs("devel", "amd64")
    image = PublishedImage(f"sha256:{'1' * 64}", devel.fingerprint, ())
    index = PublishedIndex("registry.example/x", f"sha256:{'2' * 64}", "0" * 64, {"amd64": image})
    lock = ImagesLock({(ENVIRONMENT, "devel"): index})

    assert registry_reference(devel, lock) == image.digest
    assert registry_reference(replace(devel, fingerprint="cd" * 32), lock).endswith("-cdcdcdcdcdcd")
    assert registry_reference(devel, ImagesLock()) == image_tag(devel)
