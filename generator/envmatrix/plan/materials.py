"""What images are made from: their fingerprints, and what has to be there before they are built:
files and bases of the lock. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from envmatrix.images.contents import content_hash
from envmatrix.images.model import BuildNeeds, Image
from envmatrix.lock.model import Lock, StageFile
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.images.definition import Definition


@dataclass(frozen=True, slots=True)
class ImageParts:
    """The fingerprint of an image, and what its build needs."""

    fingerprint: str
    needs: BuildNeeds


@dataclass(frozen=True, slots=True)
class EnvironmentParts:
    """The parts of the images of an environment; `files` are the sha256 (hex) of the generated
    files that define them."""

    epoch: int
    files: Mapping[str, str]
    images: Mapping[Image, ImageParts]


@dataclass(frozen=True, slots=True)
class FileSet:
    """The files of a set of the lock: a hash of them, and how many bytes are downloaded."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Materials:
    """What images are made from. By the key in the lock: `sets` of files, and the `layers` of bases
    by their diffID."""

    images: Mapping[Image, ImageParts]
    sets: Mapping[str, FileSet]
    layers: Mapping[str, str]


def parts_of_images(
    definition: Definition, images: Iterable[Image], host: str
) -> Mapping[Image, ImageParts]:
    """Return the parts of images of a definition, for builds on `host` (Docker's name)."""
    needs_of, parts = definition.environment.needs_of, {}
    for image in images:
        contents = definition.contents(image.name, image.arch)
        needs = needs_of(contents.stages, image.arch, host)
        parts[image] = ImageParts(contents.fingerprint(image.arch), needs)
    return parts


def materials_of(images: Mapping[Image, ImageParts], lock: Lock) -> Materials:
    """Return what images are made from, with the files and bases of a lock."""
    needs: dict[BuildNeeds, BuildNeeds] = {}  # equal ones are one value, and small in a cache
    parts = {
        image: ImageParts(row.fingerprint, needs.setdefault(row.needs, row.needs))
        for image, row in images.items()
    }
    bases = sorted({key for each in needs for key in each.bases})
    sets = sorted({*bases, *(key for each in needs for key in each.sets)})
    return Materials(
        parts,
        {key: _file_set(lock.sets[key].files) for key in sets},
        {key: str(lock.sets[key].diff_id) for key in bases},
    )


def _file_set(files: Iterable[StageFile]) -> FileSet:
    by_hash = {file.sha256: file.downloaded for file in files}
    return FileSet(content_hash(*sorted(by_hash)), sum(by_hash.values()))
