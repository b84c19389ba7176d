"""All of it once: published and signed, pulled elsewhere, and made again from a mirror alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine
from tests.integration.conftest import CELL, Checkout

from envmatrix.lock import lock_file
from envmatrix.store.artifacts import sha256_of


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for much, which is not kept."""
    directory = tmp_path / "place"
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


def ids(other: Engine) -> dict[str, str]:
    rows = other.run("image", "ls", "--format={{json .}}", "--no-trunc").stdout.splitlines()
    images = [json.loads(row) for row in rows]
    return {
        f"{row['Repository']}:{row['Tag']}": row["ID"]
        for row in images
        if row["Repository"].startswith("envmatrix/cuda")
    }


def wipe(other: Engine) -> None:
    """Leave no image, base or name of any kind."""
    if images := set(other.run("image", "ls", "--quiet").stdout.split()):
        other.run("image", "rm", "--force", *images)


@pytest.mark.parametrize("kind", ["directory", pytest.param("registry", marks=pytest.mark.long)])
def test_what_is_published_is_made_again_from_a_mirror(
    signed: Checkout, registry: str, other: Engine, place: Path, kind: str
) -> None:
    mirror = str(place / "mirror") if kind == "directory" else f"oci://{registry}/files"
    port = int(registry.rpartition(":")[2])
    signed.use(f"{registry}/roundtrip")
    signed.run("push", "--sign", "--key", "keys/cosign.key")
    signed.run("mirror", mirror)
    again = json.loads(signed.run("mirror", mirror, "--dry-run", "--json").stdout)
    assert (again["lacking"], again["files"] > 100) == (0, True)

    signed.variables["DOCKER_HOST"] = other.address
    with other.reaching(port):
        signed.run("pull", "--verify")
    pulled = ids(other)
    assert len(pulled) == 4
    wipe(other)

    # From here on there is a mirror and nothing else: no network, unless it is in a registry.
    signed.variables |= {"ENVMATRIX_CACHE": str(place / "cache"), "ENVMATRIX_MIRROR": mirror}
    if kind == "directory":
        signed.before = ("unshare", "--net")
    signed.run("lock", "--check")
    built = signed.run("build", "--no-pull")
    assert "from the mirror" in built.stderr
    assert ids(other) == pulled
    if kind == "directory":
        # Bases are made again where apt's own user cannot read their packages.
        (place / "private").mkdir(mode=0o700)
        signed.variables["TMPDIR"] = str(place / "private")
        verified = json.loads(signed.run("verify", CELL, "--json").stdout)
        assert [row["differences"] for row in verified] == [[], []]
    else:
        with other.reaching(port):
            signed.run("verify", "--published", "--no-bases", CELL)
    wipe(other)


@pytest.mark.long
def test_a_mirror_is_checked_and_what_it_lacks_is_named(
    checkout: Checkout, other: Engine, place: Path
) -> None:
    wipe(other)
    checkout.run("mirror", str(place / "mirror"))
    item = lock_file.load(checkout.root).artifacts()[0]
    file = place / "mirror/sha256" / item.sha256[:2] / item.sha256
    file.chmod(0o644)
    file.write_bytes(b"x" * item.size)
    checkout.variables |= {
        "DOCKER_HOST": other.address,
        "ENVMATRIX_CACHE": str(place / "cache"),
        "ENVMATRIX_MIRROR": str(place / "mirror"),
    }
    checkout.before = ("unshare", "--net")

    done = checkout.run("build", "--no-pull", expect=5)

    assert f"`{item.filename}`" in done.stderr
    assert "the mirror: its sha256 is" in done.stderr
    checkout.before = ()
    checkout.variables.pop("ENVMATRIX_CACHE")
    checkout.run("mirror", str(place / "mirror"))
    assert sha256_of(file) == item.sha256


def test_a_mirror_that_is_not_there_is_an_error(checkout: Checkout, other: Engine) -> None:
    wipe(other)
    checkout.variables |= {"DOCKER_HOST": other.address, "ENVMATRIX_MIRROR": "/nowhere"}

    assert "$ENVMATRIX_MIRROR" in checkout.run("build", "--no-pull", expect=2).stderr
    assert "names no repository" in checkout.run("mirror", "oci://host", expect=2).stderr
