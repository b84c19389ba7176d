from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
from tests.unit.sessions.test_binaries import elf, member

from envmatrix.confined import Area
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.products import (
    Kind,
    find_products,
    kinds_of_entries,
    no_product,
)


def test_artifacts_are_the_files_that_match_each_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, content in (("libx.so.1", elf(62)), ("sub/liby.so", elf(183)), ("notes.txt", b"x")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "libx.so").symlink_to("libx.so.1")
    (tmp_path / "sub.so").mkdir()
    with Area(tmp_path).opened() as build:
        products = find_products(build, ["libx.so*", "*.so*", "**/*.so", "notes.*"])
    assert [(product.path, product.machine, product.size) for product in products] == [
        ("libx.so.1", "x86_64", 20),
        ("notes.txt", None, 1),
        ("sub/liby.so", "aarch64", 20),
    ]
    assert products[1].sha256 == sha256(b"x").hexdigest()


@pytest.mark.parametrize("name", ["a\nb.so", "a\x1b[31m.so", "a\u202e.so", os.fsdecode(b"\xff.so")])
def test_an_artifact_whose_name_cannot_be_printed_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with (
        Area(tmp_path).opened() as build,
        pytest.raises(EnvmatrixError, match="has a name that cannot be printed") as error,
    ):
        find_products(build, ["*.so"])
    assert error.value.message.isprintable()


def test_artifacts_that_would_be_hashed_for_ever_are_an_error(tmp_path: Path) -> None:
    with (tmp_path / "huge.so").open("wb") as file:
        file.truncate(1 << 40)
    with (
        Area(tmp_path).opened() as build,
        pytest.raises(EnvmatrixError, match="`artifacts` have more than 16 GB"),
    ):
        find_products(build, ["*.so"])


def test_a_thin_archive_is_for_the_machine_of_its_members_in_the_build_directory(
    tmp_path: Path,
) -> None:
    build = tmp_path / "build"
    (build / "objects").mkdir(parents=True)
    (build / "objects/a.o").write_bytes(elf(183))
    (tmp_path / "outside.o").write_bytes(elf(62))
    names = b"objects/a.o/\n../outside.o/\n"
    thin = member("//", names) + member("/0", b"", length=9) + member("/13", b"", length=9)
    (build / "libx.a").write_bytes(b"!<thin>\n" + thin)
    with Area(build).opened() as directory:
        (product,) = find_products(directory, ["*.a"])
    assert product.machine == "aarch64"


def test_what_is_in_a_build_directory_is_told_by_kind(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libx.so.1").write_bytes(elf(62))
    (tmp_path / "libx.so").symlink_to("lib/libx.so.1")
    (tmp_path / "notes").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    with Area(tmp_path).opened() as build:
        entries = kinds_of_entries(build)
    assert entries == {
        "lib": "directory",
        "lib/libx.so.1": "binary",
        "libx.so": "link",
        "notes": "file",
        "pipe": "other",
    }


MADE: dict[str, Kind] = {
    "CMakeFiles": "directory",
    "CMakeFiles/x.dir/a.cpp.o": "binary",
    "CMakeFiles/3.25/probe": "binary",
    "build.ninja": "file",
    "lib": "directory",
    "lib/libvector.so": "link",
    "lib/libvector.so.1.0": "binary",
    "app": "binary",
}


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("libvector.so*", "did you mean `lib/libvector.so.1.0`?"),
        ("lib/libvektor.so.1.0", "did you mean `lib/libvector.so.1.0`?"),
        ("lib/libvector.so", "`lib/libvector.so` is a link, not a file: write `lib/libvector.so*`"),
        ("lib", "`lib` is a directory: write `lib/*`"),
        ("*.dll", "the build made `lib/libvector.so.1.0`, `app`"),
    ],
)
def test_what_was_expected_is_told_with_what_there_is(pattern: str, hint: str) -> None:
    error = no_product([pattern], MADE)
    assert error.message == f"the build made none of the library's `artifacts`: `{pattern}`"
    assert error.hint is not None
    assert hint in error.hint
    assert "probe" not in error.hint


def test_a_build_of_headers_alone_is_told_to_have_no_products() -> None:
    error = no_product(["*.so"], {"build.ninja": "file"})
    assert "leave `artifacts` out" in str(error.hint)


def test_of_many_files_some_are_named_and_the_others_counted() -> None:
    error = no_product(["x"], {f"program{number}": "binary" for number in range(9)})
    assert str(error.hint).endswith("`program4` and 4 more")


def test_a_file_of_any_name_is_suggested_in_one_line() -> None:
    error = no_product(["*/libx.so"], {"lib\nx/libx.so": "binary"})
    assert "\n" not in (error.hint or "")
    assert "`lib\\nx/libx.so`" in (error.hint or "")
