from __future__ import annotations

from tests.fakes import artifact

from envmatrix.images.model import BuildNeeds, Image
from envmatrix.lock.model import BootstrapRequest, Lock, PackageSet
from envmatrix.plan.materials import ImageParts, materials_of

REQUEST = BootstrapRequest("amd64", "bookworm", ())
ONE, OTHER = artifact("one", size=30), artifact("other", size=4)
LOCK = Lock(
    1,
    {
        "base": PackageSet(REQUEST, (ONE,), "sha256:1"),
        "both": PackageSet(REQUEST, (ONE, OTHER)),
        "both, in another order": PackageSet(REQUEST, (OTHER, ONE)),
        "of another image": PackageSet(REQUEST, (OTHER,)),
    },
)


def image(flavour: str) -> Image:
    return Image("environment", flavour, "amd64")


def test_materials_have_what_the_builds_of_images_need() -> None:
    needs = BuildNeeds(("both",), ("base",))
    own = {
        image("runtime"): ImageParts("runtime", needs),
        image("devel"): ImageParts("devel", BuildNeeds()),
    }
    materials = materials_of(own, LOCK)
    assert materials.images == own
    assert {key: files.size for key, files in materials.sets.items()} == {"base": 30, "both": 34}
    assert materials.layers == {"base": "sha256:1"}


def test_sets_with_the_same_files_are_equal() -> None:
    parts = ImageParts("runtime", BuildNeeds(tuple(LOCK.sets)))
    sets = materials_of({image("runtime"): parts}, LOCK).sets
    assert sets["both"] == sets["both, in another order"]
    assert len({files.sha256 for files in sets.values()}) == 3
