"""What is read of wheels, which may be anything."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from tests.archives import zipped
from tests.unit.sessions.test_binaries import shared_object
from tests.unit.sessions.wheels.examples import EXTENSION, NAME, read, wheel

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.wheels.contents import glibc_minor


def test_a_wheel_has_tags_requirements_and_machine_code(tmp_path: Path) -> None:
    contents = read(tmp_path, wheel(requires=["numpy>=2", "torch; extra == 'torch'"]))
    assert {str(tag) for tag in contents.named} == {"cp311-cp311-linux_x86_64"}
    assert contents.named == contents.tags
    assert [requirement.name for requirement in contents.requirements] == ["numpy", "torch"]
    assert [(code.path, code.machine) for code in contents.code] == [(EXTENSION, "x86_64")]
    assert contents.external == ("libc.so.6", "libcudart.so.13")
    assert contents.glibc == 34


def test_libraries_that_are_in_a_wheel_are_not_external(tmp_path: Path) -> None:
    files = {
        "a/b.so": shared_object("libown.so.1", "libc.so.6"),
        "a/libown.so.1": shared_object("libm.so.6"),
        "a/notes": b"text",
    }
    assert read(tmp_path, wheel(files=files)).external == ("libc.so.6", "libm.so.6")


@pytest.mark.parametrize(
    ("version", "minor"),
    [("GLIBC_2.34", 34), ("GLIBC_2.2.5", 2), ("GLIBCXX_3.4", 0), ("GLIBC_PRIVATE", 0)],
)
def test_versions_of_glibc_have_a_minor_version(version: str, minor: int) -> None:
    assert glibc_minor(version) == minor


def without(name: str) -> bytes:
    """Return a wheel that lacks a file."""
    with zipfile.ZipFile(BytesIO(wheel())) as archive:
        rows = [(row.filename, archive.read(row), 0o644) for row in archive.infolist()]
    return zipped(*(row for row in rows if not row[0].endswith(name)))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"text", "not a zip file"),
        (wheel()[:-30], "not a zip file"),
        (without("WHEEL"), "it has no `WHEEL`"),
        (without("METADATA"), "it has no `METADATA`"),
        (wheel().replace(b"Tag: cp311", b"Tap: cp311"), "CRC"),
        (wheel(requires=["???"]), "is invalid for 'requires-dist'"),
        (wheel(requires=[f"a; {'(' * 5000}"]), "'a; (((((((((("),
        (zipped(("a.dist-info/WHEEL", b"", 0o644), ("b.dist-info/WHEEL", b"", 0o644)), "more than"),
        (zipped(("a.dist-info/WHEEL", b"", 0o644)), "no `METADATA`"),
        (zipped(("a.dist-info/METADATA", b"x" * (5 << 20), 0o644)), "more than 4 MiB"),
    ],
)
def test_what_is_no_wheel_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(EnvmatrixError, match=f"`{NAME}` is no valid wheel") as error:
        read(tmp_path, content)
    assert complaint in error.value.message
    assert len(error.value.message) < 500


def test_a_name_without_tags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvmatrixError, match=r"`a-1\.0\.whl` is no valid wheel"):
        read(tmp_path, wheel(), "a-1.0.whl")
