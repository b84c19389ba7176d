from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from tests.archives import Entry, ar, entry, noise, package, pieces, tar, xz_of, zipped, zstd_of

from envmatrix.excerpts.planning import (
    LEAST_SAVED,
    compose,
    is_large,
    is_promising,
    plan_excerpt,
)
from envmatrix.excerpts.reading import BytesReader, RangesReader, Unsuitable
from envmatrix.lock.model import Excerpt

BLOCK = 300_000
HEADERS = ("usr/include/*",)

Compress = Callable[[Sequence[bytes]], bytes]


def file_of(name: str, content: bytes) -> Entry:
    item = entry(f"./{name}")
    item.content = content
    return item


def deb_of(*files: Entry, compress: Compress = xz_of, suffix: str = "xz") -> bytes:
    data = compress([*pieces(tar(*files, format=tarfile.GNU_FORMAT), BLOCK)])
    return ar(
        **{"debian-binary": b"2.0\n", "control_tar_xz": b"control", f"data_tar_{suffix}": data}
    )


def excerpt_of(content: bytes, patterns: Sequence[str], name: str = "a_1_amd64.deb") -> Excerpt:
    excerpt = plan_excerpt(package(content, name), BytesReader(content), patterns, 0)
    assert excerpt
    return excerpt


def composed(excerpt: Excerpt, content: bytes) -> bytes:
    """Make an excerpt of its ranges alone."""
    rows = [
        (part.offset, BytesReader(content[part.offset : part.offset + part.size]))
        for part in excerpt.ranges
    ]
    return compose(excerpt, RangesReader(len(content), rows))


def members_of(deb: bytes) -> Mapping[str, bytes]:
    """Return the files of an excerpt of a package."""
    start = deb.index(b"data.tar ") + 60
    with tarfile.open(fileobj=io.BytesIO(deb[start:])) as archive:
        contents = ((row.name, archive.extractfile(row)) for row in archive if row.isreg())
        return {name: content.read() for name, content in contents if content}


@cache
def library() -> bytes:
    return noise(6 * BLOCK)


FILES = (
    file_of("usr/include/a.h", b"a"),
    file_of("usr/lib/large.a", library()),
    file_of("usr/include/deep/b.h", b"b" * 5000),
    file_of("usr/lib/other.a", library()),
)
DEB = deb_of(*FILES)


@pytest.mark.parametrize(("compress", "suffix"), [(xz_of, "xz"), (zstd_of, "zst")])
def test_an_excerpt_has_the_selected_members_alone(compress: Compress, suffix: str) -> None:
    content = deb_of(*FILES, compress=compress, suffix=suffix)
    excerpt = excerpt_of(content, HEADERS)
    assert members_of(composed(excerpt, content)) == {
        "./usr/include/a.h": b"a",
        "./usr/include/deep/b.h": b"b" * 5000,
    }
    assert excerpt.downloaded < 4 * BLOCK < len(content) / 3


def test_an_excerpt_of_ranges_is_that_of_the_whole_file() -> None:
    content = DEB
    excerpt = excerpt_of(content, HEADERS)
    assert composed(excerpt, content) == compose(excerpt, BytesReader(content))
    assert package(composed(excerpt, content), "x").sha256 == excerpt.sha256


def test_an_excerpt_is_a_package(tmp_path: Path) -> None:
    control = tar(file_of("control", b"Package: a\nVersion: 1\nArchitecture: all\n"), mode="w:xz")
    content = DEB.replace(ar(control_tar_xz=b"control")[8:], ar(control_tar_xz=control)[8:])
    file = tmp_path / "a.deb"
    file.write_bytes(composed(excerpt_of(content, HEADERS), content))
    subprocess.run(["dpkg-deb", "-x", file, tmp_path], check=True)
    assert (tmp_path / "usr/include/a.h").read_text() == "a"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_long_name_stays_with_its_member(form: int) -> None:
    name = f"usr/include/{'x' * 200}/{'y' * 200}"
    data = tar(file_of("large", library()), file_of(name, b"c"), file_of("z", b"z"), format=form)
    content = ar(data_tar_xz=xz_of([*pieces(data, BLOCK)]))
    assert members_of(composed(excerpt_of(content, HEADERS), content)) == {f"./{name}": b"c"}


def test_a_member_may_be_in_several_blocks() -> None:
    middle = noise(2 * BLOCK, seed=1)
    large = (file_of(f"large{number}", library()) for number in range(3))
    first, *others = large
    content = deb_of(first, file_of("usr/include/m.h", middle), *others)
    assert members_of(composed(excerpt_of(content, HEADERS), content)) == {
        "./usr/include/m.h": middle
    }


def wheel_of(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    rows = [("p/lib/large.so", library(), 0o755), ("p/include/a.h", b"a" * 100, 0o644)]
    return zipped(*rows, ("p/lib/other.so", library(), 0o644), method=method)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_excerpt_of_a_wheel_has_the_selected_members_alone(method: int) -> None:
    content = wheel_of(method)
    excerpt = excerpt_of(content, ("p/include/*",), "a.whl")
    with zipfile.ZipFile(io.BytesIO(composed(excerpt, content))) as archive:
        assert archive.namelist() == ["p/include/a.h"]
        assert archive.read("p/include/a.h") == b"a" * 100
        assert archive.infolist()[0].external_attr >> 16 == 0o644
    assert excerpt.downloaded < 1000


@pytest.mark.parametrize(
    ("content", "patterns", "name"),
    [
        pytest.param(DEB, ("usr/*",), "a.deb", id="all of it is used"),
        pytest.param(wheel_of(), ("p/lib/*",), "a.whl", id="most of it is used"),
    ],
)
def test_a_file_without_savings_has_no_excerpt(
    content: bytes, patterns: tuple[str, ...], name: str
) -> None:
    assert plan_excerpt(package(content, name), BytesReader(content), patterns, 0) is None


def one_block(blocks: Sequence[bytes]) -> bytes:
    return xz_of([b"".join(blocks)])


@pytest.mark.parametrize(
    ("content", "patterns", "name", "reason"),
    [
        (deb_of(*FILES, compress=one_block), HEADERS, "a.deb", "compressed in 1 block$"),
        (DEB, HEADERS, "a.rpm", "made of .deb, .whl, .zip files only"),
        (DEB, ("var/*",), "a.deb", "no member is selected"),
        (wheel_of(), ("var/*",), "a.whl", "no member is selected"),
        (ar(data_tar_gz=b""), HEADERS, "a.deb", "its `data.tar.gz` is in one piece"),
        (b"no archive", HEADERS, "a.deb", "it is no Debian package"),
        (b"no archive", HEADERS, "a.whl", "the zip is damaged"),
    ],
)
def test_a_file_of_which_no_excerpt_can_be_made_has_a_reason(
    content: bytes, patterns: tuple[str, ...], name: str, reason: str
) -> None:
    with pytest.raises(Unsuitable, match=reason):
        plan_excerpt(package(content, name), BytesReader(content), patterns, 0)


def test_a_small_file_has_no_excerpt() -> None:
    content = DEB
    item = package(content, "a.deb")
    assert not is_large(item)
    assert is_large(replace(item, size=LEAST_SAVED + 1))
    assert plan_excerpt(item, BytesReader(content), HEADERS) is None


def test_a_package_in_several_blocks_is_promising() -> None:
    content = DEB
    assert is_promising(package(content, "a.deb"), BytesReader(content), HEADERS)


def test_a_wheel_is_promising_by_its_directory() -> None:
    content = wheel_of()
    item, reader = package(content, "a.whl"), BytesReader(content)
    large = replace(item, size=2 * LEAST_SAVED)
    assert is_promising(large, reader, ("p/include/*",))
    assert not is_promising(item, reader, ("p/include/*",))
    assert not is_promising(replace(item, size=LEAST_SAVED + 1), reader, ("p/*",))


def test_ranges_of_another_file_are_unsuitable() -> None:
    content = DEB
    excerpt = excerpt_of(content, HEADERS)
    other = deb_of(*FILES[::-1])
    with pytest.raises(Unsuitable):
        composed(replace(excerpt, spans=((0, 1 << 30),)), content)
    with pytest.raises(Unsuitable):
        composed(excerpt, other[: len(other) // 2])
