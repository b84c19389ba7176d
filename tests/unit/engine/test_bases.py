"""Bases, by a program in the place of mmdebstrap."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.fakes import artifact

from envmatrix.console import Console, Display
from envmatrix.engine.bases import (
    BaseLayout,
    adopt,
    base_identity,
    base_layout,
    bootstrap,
    bootstrap_command,
    cached_base,
    load_base,
)
from envmatrix.engine.foreign_bases import HELPER
from envmatrix.errors import Absent, EngineError
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.model import BootstrapRequest, PackageSet
from envmatrix.parallel import INTERRUPTION
from envmatrix.store.artifacts import Store
from envmatrix.store.image_records import ImageRecords


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("E: unable to pick chroot mode automatically (use --mode for manual selection)", "uidmap"),
        ("E: arm64 can neither be executed natively nor via qemu", "qemu-aarch64"),
    ],
)
def test_what_mmdebstrap_lacks_is_told_with_its_remedy(
    output: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text(f"#!/bin/sh\necho '{output}' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    base = PackageSet(BootstrapRequest("arm64", "bookworm", (PackageSpec("apt"),)), ())
    with pytest.raises(EngineError, match="`mmdebstrap` failed with exit code 1") as caught:
        bootstrap(Store(tmp_path / "store"), base, 0, tmp_path / "base")
    assert hint in str(caught.value.hint)
    assert caught.value.details == (output,)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(("name", "has_links"), [("usr-is-merged", True), ("usrmerge", False)])
def test_links_into_usr_are_made_for_the_package_that_asserts_them(
    name: str, *, has_links: bool
) -> None:
    base = PackageSet(BootstrapRequest("amd64", "bookworm", ()), (artifact(name),))
    words = bootstrap_command(base, Path("/repository"), Path("/rootfs"))
    assert ("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr" in words) == has_links


def tar(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return target.getvalue()


LAYER = tar({"./var/lib/dpkg/status": "Package: base-files\n"})
SHA256 = hashlib.sha256(LAYER).hexdigest()
REQUEST = BootstrapRequest("amd64", "bookworm", (PackageSpec("apt"),))
BASE = PackageSet(
    REQUEST,
    (artifact("apt"),),
    diff_id=f"sha256:{SHA256}",
)


@dataclass(frozen=True)
class Mirror:
    """A mirror with one file for everything, or none."""

    content: bytes | None = LAYER

    def read(self, sha256: str) -> Iterator[bytes]:
        if self.content is None:
            raise Absent(f"the mirror does not have {sha256}")
        yield self.content


def test_a_base_depends_on_its_packages_their_system_and_the_epoch() -> None:
    others = (
        replace(BASE, artifacts=(artifact("apt", "2.0"),)),
        replace(BASE, request=replace(REQUEST, arch="arm64")),
        replace(BASE, request=replace(REQUEST, suite="trixie")),
    )
    identities = {base_identity(base, 1) for base in (BASE, *others)} | {base_identity(BASE, 2)}
    assert len(identities) == 5
    assert base_identity(replace(BASE, diff_id=None), 1) == base_identity(BASE, 1)


def test_a_layer_of_a_mirror_becomes_an_image_of_one_layer(tmp_path: Path) -> None:
    directory = tmp_path / "bases/base"
    assert adopt(Mirror(), BASE, 1, directory)
    layout = BaseLayout(directory)
    assert layout.layer.read_bytes() == LAYER
    assert layout.read("var/lib/dpkg/status") == "Package: base-files\n"
    manifest, _, digest = layout.context.rpartition("@sha256:")
    assert manifest == f"oci-layout://{directory}"
    document = json.loads((directory / "blobs/sha256" / digest).read_text())
    assert [row["digest"] for row in document["layers"]] == [f"sha256:{SHA256}"]
    config = directory / "blobs/sha256" / document["config"]["digest"].removeprefix("sha256:")
    assert json.loads(config.read_text())["created"] == "1970-01-01T00:00:01Z"
    assert [file.name for file in directory.parent.iterdir()] == ["base"]


@pytest.mark.parametrize("mirror", [Mirror(None), Mirror(LAYER + b"!")], ids=["none", "another"])
def test_another_layer_of_a_mirror_leaves_nothing(mirror: Mirror, tmp_path: Path) -> None:
    assert not adopt(mirror, BASE, 1, tmp_path / "bases/base")
    assert [*(tmp_path / "bases").iterdir()] == []


def test_a_base_that_is_not_locked_is_in_no_mirror(tmp_path: Path) -> None:
    assert not adopt(Mirror(), replace(BASE, diff_id=None), 1, tmp_path / "base")


def test_a_cached_base_is_taken_only_if_it_is_the_locked_one(tmp_path: Path) -> None:
    store, display = Store(tmp_path / "store"), Display(Console(-1))
    layout = base_layout(tmp_path, store, BASE, 1, display, Mirror())
    assert base_layout(tmp_path, store, BASE, 1, display) == layout
    with pytest.raises(EngineError, match="came out as"):
        base_layout(tmp_path, store, replace(BASE, diff_id="sha256:0"), 1, display)


FOREIGN = PackageSet(replace(REQUEST, arch="arm64"), ())


@pytest.fixture
def helper(tmp_path: Path) -> BaseLayout:
    """A base of this machine, for mmdebstrap to make one of another architecture."""
    adopt(Mirror(), BASE, 1, tmp_path / "helper")
    return BaseLayout(tmp_path / "helper")


def as_mmdebstrap(script: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shell script in the place of mmdebstrap, with the path of the layer as $layer."""
    program = directory / "programs/mmdebstrap"
    program.parent.mkdir()
    head = "for word; do case $word in */layer.tar) layer=$word ;; esac; done"
    program.write_text(f"#!/bin/sh\nset -eu\n{head}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


# Writes whether programs of a helper come first in $PATH.
WRITE_WAY = """\
case $(command -v chroot) in
  */envmatrix-repository-*) way=helped ;;
  *) way=emulated ;;
esac
echo $way >"$layer"
"""


def layer_by(way: str) -> str:
    content = f"{way}\n".encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_base_of_another_architecture_is_made_by_programs_of_this_machine(
    helper: BaseLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_mmdebstrap(WRITE_WAY, tmp_path, monkeypatch)
    store, display = Store(tmp_path / "store"), Display(Console(-1))
    layout = base_layout(tmp_path, store, FOREIGN, 1, display, helper=helper)
    assert layout.diff_id == layer_by("helped")


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        ("", "made another base than the lock names"),
        (
            'test "$(cat "$layer")" = emulated',
            "do not make it: `mmdebstrap` failed with exit code 1",
        ),
    ],
)
def test_a_base_that_native_programs_do_not_make_is_emulated_and_the_user_told_why(
    failure: str,
    problem: str,
    helper: BaseLayout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_mmdebstrap(f"{WRITE_WAY}\n{failure}", tmp_path, monkeypatch)
    locked = replace(FOREIGN, diff_id=layer_by("emulated"))
    store, display = Store(tmp_path / "store"), Display(Console())
    layout = base_layout(tmp_path, store, locked, 1, display, helper=helper)
    assert layout.diff_id == layer_by("emulated")
    reason = f"native programs {problem}; emulating all of it, which takes longer"
    assert f"base     bookworm-arm64: {reason}" in capsys.readouterr().err.splitlines()


def test_an_interrupted_base_is_not_emulated(
    helper: BaseLayout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_mmdebstrap("exit 1", tmp_path, monkeypatch)
    monkeypatch.setattr(INTERRUPTION, "is_set", True)
    store, display = Store(tmp_path / "store"), Display(Console())
    with pytest.raises(EngineError, match="`mmdebstrap` failed"):
        base_layout(tmp_path, store, FOREIGN, 1, display, helper=helper)
    assert "emulating" not in capsys.readouterr().err


def test_a_helper_replaces_what_installs_apt(helper: BaseLayout, tmp_path: Path) -> None:
    assert "--include=apt" in bootstrap_command(FOREIGN, tmp_path, Path("/rootfs"))
    (tmp_path / HELPER).symlink_to(helper.layer)
    words = bootstrap_command(FOREIGN, tmp_path, Path("/rootfs"))
    assert "--include=apt" not in words
    assert any(
        f"-oDir::Bin::dpkg={tmp_path}/dpkg-of-new-root install apt" in word for word in words
    )


def test_a_cached_base_is_a_helper_only_if_it_is_the_locked_one(tmp_path: Path) -> None:
    assert cached_base(tmp_path, BASE, 1) is None
    layout = base_layout(tmp_path, Store(tmp_path), BASE, 1, Display(Console(-1)), Mirror())
    assert cached_base(tmp_path, BASE, 1) == layout
    assert cached_base(tmp_path, replace(BASE, diff_id="sha256:0"), 1) is None


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a program `docker`: what it loads is in `loaded`; it inspects an image once
    one is loaded, and fails with the text of `error`, if any."""
    directory = tmp_path / "engine"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2376")
    program = directory / "docker"
    program.write_text(
        """#!/bin/sh
cd "${0%/*}"
if [ "$1" = load ]; then
    [ ! -e error ] || { cat error; exit 1; }
    cat > loaded
elif [ -e loaded ]; then
    echo '[["envmatrix/base:x"], "sha256:image", null]'
fi
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    return directory


def test_a_base_is_loaded_under_its_name_and_its_id_recorded(engine: Path, tmp_path: Path) -> None:
    layout = base_layout(tmp_path, Store(tmp_path), BASE, 1, Display(Console(-1)), Mirror())
    records = ImageRecords(tmp_path)
    load_base(layout, "envmatrix/base:x", records)
    with tarfile.open(engine / "loaded") as archive:
        member = archive.extractfile("index.json")
        assert member
        (manifest,) = json.loads(member.read())["manifests"]
        assert f"blobs/sha256/{SHA256}" in archive.getnames()
    name = {"io.containerd.image.name": "docker.io/envmatrix/base:x"}
    assert manifest["annotations"] == name
    assert records.has("envmatrix/base:x", "sha256:image")
    assert records.is_ours("envmatrix/base:x")


def test_a_base_that_is_not_loaded_is_an_error_with_what_docker_says(
    engine: Path, tmp_path: Path
) -> None:
    layout = base_layout(tmp_path, Store(tmp_path), BASE, 1, Display(Console(-1)), Mirror())
    (engine / "error").write_text("no space left on device\n")
    with pytest.raises(EngineError, match="does not load the base") as caught:
        load_base(layout, "envmatrix/base:x", ImageRecords(tmp_path))
    assert caught.value.details == ("no space left on device",)
