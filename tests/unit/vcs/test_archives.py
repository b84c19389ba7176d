"""Archives of strangers: what is written is inside, and where anything is wrong it is nothing."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.archives import entry, hard_link, link, tar, zipped

from envmatrix.errors import ConfigurationError
from envmatrix.vcs import archive_entries, archives
from envmatrix.vcs.archives import unpack, unpack_wheel


def patched(content: bytes, position: int, value: bytes) -> bytes:
    return content[:position] + value + content[position + len(value) :]


class Workspace:
    """A directory to unpack archives in, and one beside it that no archive may change."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.victim = place / "victim"
        self.victim.mkdir()
        (self.victim / "file").write_text("untouched")
        self.cache = place / "cache"
        self.cache.mkdir()

    def unpack(self, content: bytes) -> Path:
        (self.place / "archive").write_bytes(content)
        unpack(self.place / "archive", "archive", self.cache / "tree")
        return self.cache / "tree"

    def is_untouched(self) -> bool:
        names = {path.name for path in self.place.iterdir()}
        inside = [path.read_text() for path in self.victim.iterdir()]
        return names <= {"victim", "cache", "archive"} and inside == ["untouched"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def deep(count: int) -> str:
    return "/".join(["d"] * count)


UP = "../../../../../../../.."
# The links of CVE-2025-4517: what realpath no longer resolves is taken for what it says.
STEP = "d" * 247
REALPATH = (
    *(
        member
        for depth, letter in enumerate("abcdefghijklmnop")
        for member in (
            entry("/".join([STEP] * depth + [STEP]), tarfile.DIRTYPE),
            link("/".join([STEP] * depth + [letter]), STEP),
        )
    ),
    link("/".join("abcdefghijklmnop") + "/" + "l" * 254, "../" * 16),
    link("escape", "/".join("abcdefghijklmnop") + "/" + "l" * 254 + "/" + UP + "/victim"),
    entry("escape/file"),
)

HOSTILE = {
    "climbs": tar(entry("a/../../victim/file")),
    "climbs at the end": tar(entry("a/..", tarfile.DIRTYPE)),
    "climbs from the root": tar(entry("/..")),
    "is absolute": tar(entry("/tmp/escaped")),
    "a link that climbs": tar(entry("a"), link("b", "../../victim")),
    "a link that is absolute": tar(entry("a"), link("b", "/etc")),
    "a link that climbs out of the stripped directory": tar(
        entry("top/a"), link("top/b", "../cache")
    ),
    "a link through a link that climbs": tar(
        entry("d/e/f"), link("in", "d/e/.."), link("d/up", ".."), link("out", "in/up/../../victim")
    ),
    "a link to a deeper link's parent": tar(
        entry("d/e/f"), link("x", "d/e"), link("y", "x/../../.."), entry("z")
    ),
    "links whose names say less than they do": tar(
        entry("d/e/f/g"), link("d/e/x", "../.."), link("y", "d/e/x/.."), entry("z")
    ),
    "links in a circle that climbs": tar(link("a", "b/.."), link("b", "a/..")),
    "a link in a circle with an absolute rest": tar(entry("a"), link("b", "b//etc/passwd")),
    "more links than the kernel follows, then up": tar(
        entry("d/e"), link("d/l", "."), link("d/up", ".."), link("x", "d/" + "l/" * 41 + "up/..")
    ),
    "a file through a link": tar(link("a", "."), entry("a/file")),
    "a file through a link that climbs": tar(link("a", "../../victim"), entry("a/file")),
    "a directory that is a link": tar(
        entry("a", tarfile.DIRTYPE), link("a/b", ".."), entry("a/b/c")
    ),
    "a hard link that climbs": tar(entry("a"), hard_link("b", "../../victim/file")),
    "a hard link that is absolute": tar(entry("a"), hard_link("b", "/etc/passwd")),
    "a hard link through a link": tar(
        entry("a"), link("l", "../../victim"), hard_link("b", "l/file")
    ),
    "a hard link to nothing": tar(hard_link("a", "b")),
    "a hard link to a directory": tar(entry("d", tarfile.DIRTYPE), hard_link("a", "d")),
    "a hard link to all of it": tar(entry("a"), hard_link("b", "./")),
    "a path longer than realpath resolves": tar(*REALPATH),
    "a link without a target": tar(entry("a"), link("b", "")),
    "a device": tar(entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "a disk": tar(entry("sda", tarfile.BLKTYPE, devmajor=8)),
    "a pipe": tar(entry("fifo", tarfile.FIFOTYPE)),
    "an unknown type": tar(entry("odd", b"Z")),
    "a name of 300 characters": tar(entry("n" * 300)),
    "a name of 5,000 characters": tar(entry("/".join(["n" * 200] * 25))),
    "2,100 directories deep": tar(entry(deep(2100))),
    "a file, then a directory of its name": tar(entry("a"), entry("a/b")),
    "a directory, then a file of its name": tar(entry("a/b"), entry("a")),
    "a directory, then a link of its name": tar(entry("a/b"), link("a", "c")),
    "NUL in a name": tar(entry("n", pax_headers={"path": "a\0b"}), format=tarfile.PAX_FORMAT),
    "NUL in a link": tar(
        entry("n"), entry("l", tarfile.SYMTYPE, linkname="n", pax_headers={"linkpath": "a\0b"})
    ),
    "only a dot": tar(entry(".")),
    "nothing": b"",
    "text": b"no archive" * 200,
    "zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 64,
    "cut off in a header": tar(entry("a"), entry("b"))[:1100],
    "cut off in a file": tar(entry("a", content=b"x" * 5000))[:2000],
    "cut off while packed": gzip.compress(tar(entry("a", content=os.urandom(9000))))[:5000],
    "xz cut off": lzma.compress(tar(entry("a", content=os.urandom(9000))))[:5000],
    "bzip2 cut off": bz2.compress(tar(entry("a", content=os.urandom(9000))))[:5000],
    "a damaged header behind the first": patched(tar(entry("a"), entry("b")), 1024, b"\xff" * 8),
    "a wrong checksum": gzip.compress(tar(entry("a")))[:-8] + b"\0" * 8,
    "a negative size": tar(entry("a")).replace(b"00000000001\0", b"\xff" * 12, 1),
    "zip: climbs": zipped(("../escaped", b"x", 0o644)),
    "zip: is absolute": zipped(("/tmp/escaped", b"x", 0o644)),
    "zip: a link that climbs": zipped(("a", b"x", 0o644), ("b", b"../../victim", 0o120777)),
    "zip: a pipe": zipped(("fifo", b"", stat.S_IFIFO | 0o644)),
    "zip: a name of 300 characters": zipped(("n" * 300, b"x", 0o644)),
    "zip: deep": zipped((deep(2100), b"x", 0o644)),
    "zip: a file, then a directory": zipped(("a", b"x", 0o644), ("a/b", b"x", 0o644)),
    "zip: cut off": zipped(("a", b"x" * 5000, 0o644))[:2000],
    "zip: a wrong checksum": zipped(("a", b"content", 0o644)).replace(b"content", b"CONTENT"),
    "zip: LZMA": zipped(("a", b"x" * 100, 0o644), method=zipfile.ZIP_LZMA),
}


def with_flags(content: bytes, flags: int = 0, method: int = 0) -> bytes:
    """Return a zip with these flags in its headers and in its directory."""
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.index(magic) + offset
        content = patched(content, start, struct.pack("<HH", flags, method))
    return content


HOSTILE["zip: encrypted"] = with_flags(zipped(("a", b"x", 0o644)), flags=1)
HOSTILE["zip: an unknown method"] = with_flags(zipped(("a", b"x", 0o644)), method=99)
_ZIP = zipped(("a", b"x", 0o644))
_END = _ZIP.index(b"PK\x05\x06")
HOSTILE["zip: a directory somewhere else"] = patched(_ZIP, _END + 12, b"\xf0\xff\xff\xff\xf0")
HOSTILE["zip: a size of zip64 that is none"] = patched(
    _ZIP, _ZIP.index(b"PK\x01\x02") + 20, b"\xff" * 8
)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_archive_of_sources_is_told_and_leaves_nothing(
    workspace: Workspace, content: bytes
) -> None:
    with pytest.raises(ConfigurationError, match="`archive` cannot be unpacked: ") as caught:
        workspace.unpack(content)
    (problem,) = caught.value.problems
    assert len(problem.message) < 250
    assert problem.hint
    assert not list(workspace.cache.iterdir())
    assert workspace.is_untouched()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip twice": lambda content: gzip.compress(content[:700]) + gzip.compress(content[700:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "xz twice": lambda content: lzma.compress(content[:700]) + lzma.compress(content[700:]),
    "xz twice, padded": lambda content: (
        lzma.compress(content[:700])
        + bytes(1 << 20)
        + lzma.compress(content[700:])
        + bytes(1 << 20)
    ),
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_of_any_kind_is_unpacked(
    workspace: Workspace, pack: Callable[[bytes], bytes], style: int
) -> None:
    long = "/".join(["d" * 30] * 6) if style != tarfile.USTAR_FORMAT else "d"
    content = tar(
        entry("lib", tarfile.DIRTYPE),
        entry("lib/configure", mode=0o4755, mtime=1_000_000_000),
        entry(f"lib/{long}/file", mode=0o600),
        link("lib/link", f"{long}/file"),
        link("lib/d/back", "../configure") if long == "d" else link("lib/back", "configure"),
        link("lib/dangling", "not/there"),
        link("lib/circle", "circle"),
        hard_link("lib/same", "lib/configure"),
        entry("lib/./dots//file"),
        format=style,
    )
    tree = workspace.unpack(pack(content))
    assert stat.S_IMODE((tree / "configure").stat().st_mode) == 0o755
    assert (tree / "configure").stat().st_mtime == 1_000_000_000
    assert (tree / "configure").samefile(tree / "same")
    assert stat.S_IMODE((tree / long / "file").stat().st_mode) == 0o644
    assert (tree / "link").readlink() == Path(long, "file")
    assert (tree / "dangling").is_symlink()
    assert (tree / "circle").is_symlink()
    assert (tree / "dots/file").read_bytes() == b"x"
    assert workspace.is_untouched()


def test_a_zip_keeps_modes_and_links(workspace: Workspace) -> None:
    tree = workspace.unpack(
        zipped(("l/run", b"x", 0o755), ("l/a", b"y", 0o644), ("l/b", b"a", 0o120777))
    )
    assert stat.S_IMODE((tree / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "a").stat().st_mode) == 0o644
    assert (tree / "b").readlink() == Path("a")


def test_of_two_files_with_one_name_the_later_counts(workspace: Workspace) -> None:
    content = tar(entry("a"))[:1024] + tar(entry("a", content=b"later"))
    assert (workspace.unpack(content) / "a").read_bytes() == b"later"


def test_what_replaces_a_link_is_not_written_through_it(workspace: Workspace) -> None:
    content = tar(entry("b"), link("a", "b"))[:1536] + tar(entry("a", content=b"later"))
    tree = workspace.unpack(content)
    assert ((tree / "a").read_bytes(), (tree / "b").read_bytes()) == (b"later", b"x")
    assert not (tree / "a").is_symlink()


def test_names_that_differ_in_case_or_are_not_utf8_are_kept(workspace: Workspace) -> None:
    tree = workspace.unpack(tar(entry("d/README"), entry("d/readme"), entry("d/caf\udce9")))
    assert {os.fsencode(path.name) for path in tree.iterdir()} == {b"README", b"readme", b"caf\xe9"}


def test_links_that_lead_nowhere_are_kept_where_nothing_is_behind_them(
    workspace: Workspace,
) -> None:
    chain = [link(f"d/{count}", f"../d/{count + 1}") for count in range(50)]
    circle = [link("d/one", "../d/other"), link("d/other", "one"), link("d/self", "self")]
    tree = workspace.unpack(tar(entry("a"), *chain, *circle))
    assert len([path for path in (tree / "d").iterdir() if path.is_symlink()]) == 53


def test_a_single_link_is_not_taken_for_the_directory_around(workspace: Workspace) -> None:
    tree = workspace.unpack(tar(link("lib", "nowhere")))
    assert (tree / "lib").is_symlink()


@pytest.mark.parametrize("mtime", ["nan", "inf", "-1", "1e400", "99999999999999"])
def test_an_impossible_time_is_ignored(workspace: Workspace, mtime: str) -> None:
    content = tar(entry("a", pax_headers={"mtime": mtime}), format=tarfile.PAX_FORMAT)
    assert (workspace.unpack(content) / "a").stat().st_mtime > 1_500_000_000


def sparse(size: int) -> bytes:
    """Return a GNU tar of a file with `size` zeros, of which none is in it."""
    header = bytearray(entry("hole", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


@contextmanager
def limits(**values: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as changed:
        for name, value in values.items():
            module = archive_entries if hasattr(archive_entries, name) else archives
            changed.setattr(module, name, value)
        yield


ZEROS = bytes(1 << 20)
TOO_MUCH: dict[str, bytes] = {
    "gzip": gzip.compress(tar(entry("a", content=ZEROS))),
    "bzip2": bz2.compress(tar(entry("a", content=ZEROS))),
    "xz": lzma.compress(tar(entry("a", content=ZEROS))),
    "zip": zipped(("a", ZEROS, 0o644), method=zipfile.ZIP_DEFLATED),
    "sparse": sparse(1 << 40),
    "files of a tar": gzip.compress(tar(*(entry(f"f{i}") for i in range(200)))),
    "files of a zip": zipped(*((f"f{i}", b"", 0o644) for i in range(200))),
    "directories": gzip.compress(tar(*(entry(f"f{i}", tarfile.DIRTYPE) for i in range(200)))),
    "behind the end": gzip.compress(tar(entry("a")) + ZEROS),
}


@pytest.mark.parametrize("content", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_unpacks_to_far_more_than_it_is_is_refused(
    workspace: Workspace, content: bytes
) -> None:
    with (
        limits(_BYTES=500_000, _RATIO=1, _FILES=100, _BYTES_OF_A_FILE=10**6),
        pytest.raises(ConfigurationError, match=r"(unpacks to more than|has more than 100 files)"),
    ):
        workspace.unpack(content)
    assert not list(workspace.cache.iterdir())


def extended(kind: bytes, size: int) -> bytes:
    header = entry("x", kind, size=size)
    return header.tobuf(tarfile.GNU_FORMAT) + b"n" * size + bytes(-size % 512) + tar(entry("a"))


LARGE: dict[str, bytes] = {
    "the name of a file": extended(tarfile.GNUTYPE_LONGNAME, 20_000_000),
    "a pax header": extended(tarfile.XHDTYPE, 20_000_000),
    "a global pax header": extended(tarfile.XGLTYPE, 20_000_000),
}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_what_is_read_at_once_is_bounded(workspace: Workspace, content: bytes) -> None:
    packed_content = gzip.compress(content, 1)
    del content
    tracemalloc.start()
    with pytest.raises(ConfigurationError, match="a header in it has "):
        workspace.unpack(packed_content)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_dictionary_of_xz_is_bounded(workspace: Workspace) -> None:
    content = bytearray(lzma.compress(tar(entry("a")), lzma.FORMAT_ALONE))
    content[1:5] = struct.pack("<I", 1 << 30)
    with pytest.raises(ConfigurationError, match=r"(?i)memory usage limit"):
        workspace.unpack(bytes(content))


def test_a_wheel_is_where_python_finds_modules(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    names = ("mod.py", "x-1.data/purelib/pure.py", "x-1.data/platlib/pkg/c.so", "x-1.data/data/d")
    wheel.write_bytes(zipped(*((name, b"", 0o644) for name in names)))
    unpack_wheel(wheel, tmp_path)
    files = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert files == {"x.whl", "mod.py", "pure.py", "pkg/c.so", "x-1.data/data/d"}


def test_a_wheel_does_not_write_through_what_is_there(workspace: Workspace) -> None:
    (workspace.cache / "pkg").symlink_to(workspace.victim)
    wheel = workspace.place / "archive"
    wheel.write_bytes(zipped(("pkg/file", b"changed", 0o644)))
    with pytest.raises(ConfigurationError, match="`pkg` is a directory, and a file or a link"):
        unpack_wheel(wheel, workspace.cache)
    assert workspace.is_untouched()


NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/a", "../a", "/a", "a/../b", ".", "", "a/", "b/./c", "a//b"]
)
TARGETS = NAMES | st.sampled_from(
    ["..", "../..", "a/..", "b/..", "../victim", "b/c/../..", "../b", "a/../..", ".//b/../a/./.."]
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    members: Sequence[tuple[str, bytes, str]] = draw(
        st.lists(st.tuples(NAMES, KINDS, TARGETS), min_size=1, max_size=8)
    )
    return tar(*(entry(name, kind, linkname=target) for name, kind, target in members))


def is_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a circle of links leads nowhere
        return True


@settings(max_examples=100, deadline=None)
@given(content=tars())
@example(tar(link("a", "b/.."), link("b", "a/..")))
@example(tar(link("b/a", "a//b")))
def test_no_link_of_any_tar_leads_out(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("outside"))
    try:
        tree = workspace.unpack(content)
    except ConfigurationError:
        assert not list(workspace.cache.iterdir())
    else:
        for place, directories, files in os.walk(tree):
            assert all(is_inside(Path(place, name), tree) for name in (*directories, *files))
    assert workspace.is_untouched()


SEEDS = [
    tar(entry("a/b"), link("c", "a/b"), hard_link("d", "a/b"), entry("e" * 120)),
    tar(entry("a", pax_headers={"comment": "x", "mtime": "1.5"}), format=tarfile.PAX_FORMAT),
    gzip.compress(tar(entry("a/b")), mtime=0),
    lzma.compress(tar(entry("a/b"))),
    zipped(("a/b", b"content", 0o755), ("c", b"a/b", 0o120777)),
    zipped(("a/b", b"content" * 9, 0o755), method=zipfile.ZIP_DEFLATED),
    sparse(10_000),
]
CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(content=st.sampled_from(SEEDS), changes=CHANGES, end=st.integers(0, 4000))
def test_no_damage_is_more_than_an_error(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    changes: list[tuple[int, bytes]],
    end: int,
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("outside"))
    for position, value in changes:
        content = patched(content, position % len(content), value)
    try:
        workspace.unpack(content[: len(content) - end] or b"x")
    except ConfigurationError:
        assert not list(workspace.cache.iterdir())
    assert workspace.is_untouched()
