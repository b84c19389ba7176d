"""What a container left behind is read, written and removed without leaving its directory."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envmatrix.confined import Area, Directory, File, Missing, Refused, listing


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory outside, which has to stay as it is."""
    path = tmp_path / "victim"
    (path / "inside").mkdir(parents=True)
    (path / "secret").write_text("secret")
    return path


@pytest.fixture
def build(tmp_path: Path) -> Path:
    path = tmp_path / "build"
    path.mkdir()
    return path


@pytest.fixture
def directory(build: Path) -> Iterator[Directory]:
    with Area(build).opened() as directory:
        yield directory


def state_of(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return the names, modes and contents in a directory."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


def names(directory: Directory, *patterns: str) -> list[str]:
    return [file.name for file in directory.files(patterns)]


def test_an_area_gives_no_path_to_open() -> None:
    area = Area(Path("build/cell/library/devel"))
    with pytest.raises(TypeError):
        Path(area)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        os.fspath(area)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        area / "file"  # type: ignore[operator]


def test_a_file_that_was_written_is_read(directory: Directory, build: Path) -> None:
    directory.write("a/b/c", b"text")
    assert directory.read("a/b/c", 4) == b"text"
    assert (build / "a/b/c").read_bytes() == b"text"
    assert directory.has("a/b/c")
    assert not directory.has("a/b")


def test_text_is_read_whatever_its_bytes_are(directory: Directory) -> None:
    directory.write("text", b"\xc3\xa9\xff\n")
    assert directory.text("text") == "\u00e9\ufffd\n"


def test_a_file_that_is_too_large_to_be_read_as_a_whole_is_refused(
    directory: Directory, build: Path
) -> None:
    with (build / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for read in (directory.read, directory.text):
        with pytest.raises(Refused, match="more than 64 MB"):
            read("huge")


def open_descriptors() -> list[Path]:
    return sorted(Path("/proc/self/fd").iterdir())


def test_a_listing_that_ends_early_leaves_nothing_open(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write("a/b/c", b"")
    monkeypatch.setattr(listing, "MOST_ENTRIES", 1)
    before = open_descriptors()
    with pytest.raises(Refused, match="more than 1 entries"):
        directory.files(["**/c"])
    assert len(list(directory.entries(2))) == 2
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../victim/secret", "a/../../b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(
    directory: Directory, victim: Path, name: str
) -> None:
    uses: list[Callable[[str], object]] = [
        lambda path: directory.read(path, 10),
        lambda path: directory.write(path, b""),
        lambda path: directory.files([path]),
        lambda path: directory.link(path, "x"),
        directory.remove,
        directory.make_directory,
    ]
    for use in uses:
        with pytest.raises(Refused):
            use(name)
    assert (victim / "secret").read_text() == "secret"


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "x" * 300 + "/b", "\ud800"])
def test_a_name_that_the_system_does_not_take_is_an_error_of_one_line(
    directory: Directory, name: str
) -> None:
    with pytest.raises(Refused) as refused:
        directory.write(name, b"")
    assert "\n" not in refused.value.message


def make_fifo(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path, _victim: Path) -> None:
    directory = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(directory)


def make_directory(path: Path, _victim: Path) -> None:
    (path / "full/of").mkdir(parents=True)
    (path / "full/of/files").touch()


def link_to_file(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "secret")


def link_to_directory(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def relative_link(path: Path, victim: Path) -> None:
    path.symlink_to(f"../{victim.name}/secret")


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "new")


def link_to_itself(path: Path, _victim: Path) -> None:
    path.symlink_to(path.name)


def link_to_device(path: Path, _victim: Path) -> None:
    path.symlink_to("/dev/zero")


HOSTILE = [
    make_fifo,
    make_socket,
    make_directory,
    link_to_file,
    link_to_directory,
    relative_link,
    dangling_link,
    link_to_itself,
    link_to_device,
]


@pytest.mark.parametrize("make", HOSTILE)
def test_what_is_no_regular_file_is_never_read(
    directory: Directory, build: Path, victim: Path, make: Callable[[Path, Path], None]
) -> None:
    make(build / "file", victim)
    with pytest.raises(Refused):
        directory.read("file", 100)
    assert names(directory, "file") == []


@pytest.mark.parametrize("make", HOSTILE)
def test_what_is_in_the_way_of_a_file_is_replaced(
    directory: Directory, build: Path, victim: Path, make: Callable[[Path, Path], None]
) -> None:
    make(build / "file", victim)
    before = state_of(victim)
    directory.write("file", b"ours")
    assert directory.read("file", 100) == b"ours"
    make(build / "a", victim)
    directory.write("a/b", b"ours")
    assert directory.read("a/b", 100) == b"ours"
    assert state_of(victim) == before


@pytest.mark.parametrize("make", HOSTILE)
def test_what_is_removed_is_the_entry_and_not_what_it_leads_to(
    directory: Directory, build: Path, victim: Path, make: Callable[[Path, Path], None]
) -> None:
    make(build / "file", victim)
    before = state_of(victim)
    directory.remove("file")
    directory.remove("file")
    assert list(build.iterdir()) == []
    assert state_of(victim) == before


def test_nothing_is_removed_through_a_link_that_leads_out(
    directory: Directory, build: Path, victim: Path
) -> None:
    (build / "reports").symlink_to(victim)
    before = state_of(victim)
    with pytest.raises(Refused, match="leads out"):
        directory.remove("reports/secret")
    with pytest.raises(Refused, match="leads out"):
        directory.read("reports/secret", 10)
    assert names(directory, "reports/*", "**/secret", "*/secret") == []
    assert state_of(victim) == before


def test_a_link_that_stays_inside_is_followed_where_it_is_named(
    directory: Directory, build: Path
) -> None:
    directory.write("deep/down/report.xml", b"report")
    (build / "short").symlink_to("deep/../deep/down")
    (build / "twice").symlink_to("short")
    assert names(directory, "short/**/*.xml") == ["short/report.xml"]
    assert names(directory, "twice/*.xml") == ["twice/report.xml"]
    assert names(directory, "s*/*.xml") == []
    assert names(directory, "**/report.xml") == ["deep/down/report.xml"]
    assert directory.read("twice/report.xml", 10) == b"report"


def test_a_link_over_too_many_directories_is_refused(directory: Directory, build: Path) -> None:
    make_deep(build, 400)
    (build / "near").symlink_to("d/" * 200)
    (build / "far").symlink_to("d/" * 400)
    with pytest.raises(Missing):
        directory.read("near/program", 10)
    with pytest.raises(Refused, match="`far` leads over too many links or directories"):
        directory.read("far/program", 10)


def test_a_file_has_to_be_within_its_limit(directory: Directory) -> None:
    directory.write("file", bytes(2 << 20))
    assert len(directory.read("file", 2 << 20)) == 2 << 20
    with pytest.raises(Refused, match="more than 1 MB"):
        directory.read("file", 1 << 20)


def test_a_sparse_file_is_not_read_whole(directory: Directory, build: Path) -> None:
    with (build / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Refused):
        directory.read("huge", 1 << 20)
    assert directory.files(["huge"]) == (File("huge", 1 << 40),)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.so", ["a.so"]),
        ("**/*.so", ["a.so", "x/a.so", "x/y/b.so"]),
        ("x/**/b.so", ["x/y/b.so"]),
        ("x/**/a.so", ["x/a.so"]),
        ("**", ["a.so", "x/a.so", "x/y/b.so", "x/y/c.txt"]),
        ("x/*/[bc].*", ["x/y/b.so", "x/y/c.txt"]),
        ("./x//a.so", ["x/a.so"]),
        ("x", []),
        ("x/a.so/b", []),
    ],
)
def test_patterns_are_those_of_globs(
    directory: Directory, pattern: str, matches: list[str]
) -> None:
    for name in ("a.so", "x/a.so", "x/y/b.so", "x/y/c.txt"):
        directory.write(name, b"")
    assert names(directory, pattern) == matches


def test_a_file_that_several_patterns_match_is_listed_once(directory: Directory) -> None:
    directory.write("a/b.so", b"1234")
    assert directory.files(["**/*.so", "a/*", "a/b.so"]) == (File("a/b.so", 4),)


def test_too_many_files_or_too_much_depth_are_an_error(
    directory: Directory, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(9):
        directory.write(f"files/{index}", b"")
    directory.make_directory("/".join(["d"] * 70))
    with pytest.raises(Refused, match="directories deep"):
        directory.files(["d/**/x"])
    monkeypatch.setattr(listing, "MOST_FILES", 8)
    with pytest.raises(Refused, match="more than 8 files"):
        directory.files(["files/*"])
    monkeypatch.setattr(listing, "MOST_ENTRIES", 8)
    with pytest.raises(Refused, match="more than 8 entries"):
        directory.files(["files/none"])


def make_deep(top: Path, depth: int) -> None:
    """Make directories in directories, deeper than a path can say."""
    directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=directory)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(os.open("program", os.O_CREAT | os.O_WRONLY, 0o755, dir_fd=directory))
    os.fchmod(directory, 0o755)
    os.chmod("program", 0o4755, dir_fd=directory)  # noqa: S103
    os.close(directory)


def test_a_tree_deeper_than_any_path_is_looked_through_and_removed(
    directory: Directory, build: Path
) -> None:
    make_deep(build, 2500)
    directory.clear_privileges()
    directory.clear()
    assert list(build.iterdir()) == []


def test_directories_without_permissions_are_removed(directory: Directory, build: Path) -> None:
    (build / "a/b/c").mkdir(parents=True)
    (build / "a/b/file").touch()
    for name in ("a/b/c", "a/b", "a"):
        (build / name).chmod(0)
    directory.clear()
    assert list(build.iterdir()) == []


def test_a_directory_that_takes_its_own_permissions_away_is_used_again(build: Path) -> None:
    (build / "file").write_text("x")
    build.chmod(0)
    with Area(build).opened() as directory:
        assert directory.read("file", 1) == b"x"


def test_privileges_are_taken_from_everything_and_nothing_outside(
    directory: Directory, build: Path, victim: Path
) -> None:
    (build / "a").mkdir()
    for name in ("program", "a/program"):
        (build / name).touch()
        (build / name).chmod(0o6755)
    (build / "a").chmod(0o7755)
    build.chmod(0o7755)
    (victim / "secret").chmod(0o4755)
    (build / "link").symlink_to(victim / "secret")
    (build / "links").symlink_to(victim)
    directory.clear_privileges()
    modes = [stat.S_IMODE((build / name).stat().st_mode) for name in ("program", "a", "a/program")]
    assert modes == [0o755] * 3
    assert stat.S_IMODE(build.stat().st_mode) == 0o755
    assert stat.S_IMODE((victim / "secret").stat().st_mode) == 0o4755


def test_what_only_its_owners_may_write_is_written_by_nobody_else(build: Path) -> None:
    (build / "a").mkdir()
    (build / "a/file").touch()
    for name in ("a/file", "a", "."):
        (build / name).chmod(0o7777)
    with Area(build).opened() as directory:
        directory.clear_privileges(only_own=True)
    assert [stat.S_IMODE((build / name).stat().st_mode) for name in ("a/file", "a", ".")] == [
        0o775
    ] * 3


def as_root(action: Callable[[], object]) -> None:
    try:
        action()
    except PermissionError:
        pytest.skip("only root may")


def test_a_device_is_removed(directory: Directory, build: Path) -> None:
    (build / "a").mkdir()
    for name, kind in (("null", stat.S_IFCHR), ("a/disk", stat.S_IFBLK)):
        as_root(lambda: os.mknod(build / name, kind | 0o666, os.makedev(1, 3)))  # noqa: B023
    os.mkfifo(build / "a/fifo")
    directory.clear_privileges()
    assert [path.name for path in build.rglob("*")] == ["a", "fifo"]


def test_what_belongs_to_others_is_removed_where_only_own_files_may_be(
    directory: Directory, build: Path, victim: Path
) -> None:
    (build / "a/b").mkdir(parents=True)
    for name in ("own", "foreign", "a/foreign", "a/own", "a/b/own"):
        (build / name).touch()
    (build / "link").symlink_to(victim / "secret")
    for name in ("foreign", "a/foreign", "a/b", "link"):
        as_root(lambda: os.chown(build / name, 12345, -1, follow_symlinks=False))  # noqa: B023
    directory.clear_privileges()
    assert len([*build.rglob("*")]) == 8, "of a build directory nothing is removed for that"
    directory.clear_privileges(only_own=True)
    assert sorted(path.name for path in build.rglob("*")) == ["a", "own", "own"]
    assert (victim / "secret").stat().st_uid == os.getuid()


def test_what_belongs_to_whom_the_directory_belongs_stays(build: Path) -> None:
    (build / "file").touch()
    for name in (".", "file"):
        as_root(lambda: os.chown(build / name, 12345, -1))  # noqa: B023
    with Area(build).opened() as directory:
        directory.clear_privileges(only_own=True)
    assert (build / "file").exists()


def test_a_copy_has_the_times_and_no_privileges(directory: Directory, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("text")
    source.chmod(0o4750)
    os.utime(source, ns=(1, 2))
    directory.copy(source, "a/copy")
    assert directory.is_as("a/copy", 4, 2)
    assert not directory.is_as("a/copy", 5, 2)
    assert not directory.is_as("a/none", 4, 2)
    assert stat.S_IMODE((tmp_path / "build/a/copy").stat().st_mode) == 0o750


def test_a_name_is_never_printed_raw(directory: Directory) -> None:
    with pytest.raises(Missing) as missing:
        directory.read("a\x1b[31m\n::error::b", 1)
    assert missing.value.message.isprintable()


def test_names_that_are_not_utf_8_are_files_as_others(directory: Directory, build: Path) -> None:
    (build / os.fsdecode(b"\xff.so")).write_text("x")
    (file,) = directory.files(["*.so"])
    assert directory.read(file.name, 1) == b"x"


def test_an_entry_that_is_exchanged_all_the_time_leads_nowhere_else(
    directory: Directory, build: Path, victim: Path
) -> None:
    (victim / "a").mkdir()
    (victim / "a/file").write_text("secret")
    before = state_of(victim)
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            for make in (make_empty_directory, link_to_a):
                with suppress(OSError):
                    make(build / "a")
                    (build / "a").rename(build / "b")
                    (build / "b").unlink()
                with suppress(OSError):
                    (build / "b").rmdir()

    def make_empty_directory(path: Path) -> None:
        path.mkdir()

    def link_to_a(path: Path) -> None:
        path.symlink_to(victim / "a")

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        for _ in range(40):
            with suppress(Refused):
                directory.write("a/file", b"ours")
                assert directory.read("a/file", 10) == b"ours"
            with suppress(Refused):
                directory.remove("a/file")
            with suppress(Refused):
                directory.remove("a")
            with suppress(Refused):
                directory.clear_privileges()
    finally:
        done.set()
        attacker.join()
    assert state_of(victim) == before


KINDS = st.sampled_from(HOSTILE)
NAMES = st.sampled_from(["a", "b", "a/b", "a/b/c", "b/a"])
USES = st.sampled_from(
    ["read", "write", "remove", "list", "link", "make", "clear", "privileges", "own"]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(NAMES, st.one_of(KINDS, USES)), max_size=12))
@example([("a", link_to_directory), ("a", make_directory)])
def test_whatever_is_there_nothing_outside_changes_and_errors_are_refusals(
    tmp_path_factory: pytest.TempPathFactory,
    actions: list[tuple[str, Callable[[Path, Path], None] | str]],
) -> None:
    root = tmp_path_factory.mktemp("any")
    victim, build = root / "victim", root / "build"
    (victim / "a/b").mkdir(parents=True)
    (victim / "secret").write_text("secret")
    (victim / "a/b/c").write_text("secret")
    build.mkdir()
    before = state_of(victim)
    with Area(build).opened() as directory:
        for name, action in actions:
            if callable(action):
                with suppress(OSError, RuntimeError):
                    # In its container, a stranger has no way out, not over the last name either.
                    if (build / name).resolve().is_relative_to(build.resolve()):
                        action(build / name, victim)
            else:
                with suppress(Refused):
                    _use(directory, name, action)
        directory.clear()
    assert list(build.iterdir()) == []
    assert state_of(victim) == before


def _use(directory: Directory, name: str, action: str) -> None:
    if action == "read":
        assert b"secret" not in directory.read(name, 100)
    elif action == "write":
        directory.write(name, b"ours")
        assert directory.read(name, 100) == b"ours"
    elif action == "list":
        for file in directory.files(["**", f"{name}/*", name]):
            assert b"secret" not in directory.read(file.name, 100)
    elif action == "link":
        directory.link(name, "elsewhere")
    elif action == "make":
        directory.make_directory(name)
        directory.write(f"{name}/file", b"")
    elif action == "remove":
        directory.remove(name)
    elif action == "clear":
        directory.clear()
    else:
        directory.clear_privileges(only_own=action == "own")


def test_the_identity_of_a_directory_is_that_of_its_content_without_times(tmp_path: Path) -> None:
    def identity(name: str, *, mode: int = 0o644, link: str = "a", content: bytes = b"x") -> str:
        with Area(tmp_path / name).opened() as directory:
            directory.add("lib/a", [content], mode=mode, modified=len(name))
            directory.link("lib/b", link)
            return directory.identity

    first = identity("one")
    assert identity("another") == first
    others = [identity("c", mode=0o755), identity("d", link="c"), identity("e", content=b"y")]
    assert len({first, *others}) == 4


def test_the_identity_of_a_directory_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("one")
    with Area(tmp_path / "area").opened() as directory:
        directory.link("link", str(tmp_path / "outside"))
        os.mkfifo(tmp_path / "area/pipe")
        before = directory.identity
        (tmp_path / "outside").write_text("two")
        assert directory.identity == before


def test_an_area_is_replaced_by_another_one(tmp_path: Path) -> None:
    old, new = (Area(tmp_path / name) for name in ("old", "new"))
    for area, name in ((old, "a/b"), (new, "c")):
        with area.opened() as directory:
            directory.write(name, b"")
    old.replace_by(new)
    with old.opened() as directory:
        assert [file.name for file in directory.files(["**/*"])] == ["c"]
    assert not (tmp_path / "new").exists()
