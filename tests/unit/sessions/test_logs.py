from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.sessions import logs
from envmatrix.sessions.logs import Log, Progress, progress_of, read_lines


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_HEAD", 20)
    monkeypatch.setattr(logs, "_TAIL", 10)
    monkeypatch.setattr(logs, "_PIECE", 5)
    monkeypatch.setattr(logs, "_EXCERPT", 40)


def test_a_log_has_what_was_said(tmp_path: Path) -> None:
    log = Log(tmp_path / "a/b.log")
    log.add(b"one\r\ntw")
    assert log.excerpt() == "one\r\ntw"
    log.add(b"o\n")
    log.close()
    log.close()
    assert (tmp_path / "a/b.log").read_bytes() == b"one\r\ntwo\n"
    assert log.end == ("one", "two")
    assert log.excerpt() == "one\r\ntwo\n"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", range(25, 34))
def test_a_log_is_whole_up_to_its_limit_and_then_has_both_ends(tmp_path: Path, size: int) -> None:
    text = bytes(65 + number for number in range(size))
    log = Log(tmp_path / "b.log")
    for start in range(0, size, 7):
        log.add(text[start : start + 7])
    log.close()
    content = (tmp_path / "b.log").read_bytes()
    if size <= 30:
        assert content == text
    else:
        left_out = f"\n[... {size - 30} bytes left out ...]\n".encode()
        assert content == text[:20] + left_out + text[-10:]


def test_an_excerpt_has_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_EXCERPT", 40)
    log = Log(tmp_path / "b.log")
    log.add(b"begin " + bytes(1000) + b" end")
    log.close()
    assert log.excerpt().startswith("begin ")
    assert "bytes left out" in log.excerpt()
    assert log.excerpt().endswith(" end")


@pytest.mark.parametrize(
    "piece",
    [b"x" * (1 << 20), b"\n" * (1 << 20), (b"x" * 65_535 + b"\n") * 16],
    ids=["no line", "empty lines", "long lines"],
)
def test_no_log_is_larger_than_32_mb_whatever_is_printed(tmp_path: Path, piece: bytes) -> None:
    log = Log(tmp_path / "b.log")
    for _ in range(40):
        log.add(piece)
    log.close()
    assert (tmp_path / "b.log").stat().st_size <= 32 << 20
    assert sum(map(len, log.end)) <= 1 << 20
    assert all(len(line) <= 4096 for line in log.end)


def test_a_very_long_line_of_a_log_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "b.log"
    file.write_bytes(b"x" * 200_000 + b"\nlast\xff\n")
    lines = list(read_lines(file))
    assert max(map(len, lines)) <= 65_536
    assert "".join(lines[:-1]) == "x" * 200_000
    assert lines[-1] == "last\ufffd"


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("[3/20] Building CXX object CMakeFiles/a.dir/src/b.cpp.o", Progress(3, 20, "src/b.cpp")),
        ("[4/20] Building CUDA object x/CMakeFiles/a.dir/k.cu.o", Progress(4, 20, "k.cu")),
        ("[5/20] Linking CXX static library liba.a", Progress(5, 20, "liba.a")),
        ("[ 33%] Building CXX object CMakeFiles/a.dir/b.cpp.o", Progress(0, 0, "b.cpp")),
        ("[1/3] Compiling C++ object liba.a.p/b.cpp.o", Progress(1, 3, "b.cpp")),
        ("      Start  3: a.b", Progress(0, 0, "a.b")),
        (" 3/20 Test  #3: a.b ......   Passed    0.01 sec", Progress(3, 20, "a.b")),
        ("[ RUN      ] Scale.Doubles", Progress(0, 0, "Scale.Doubles")),
        ("t/a.py::T::test[x y] PASSED      [ 50%]", Progress(0, 0, "t/a.py::T::test[x y]")),
        ("t/a.py::test SKIPPED (no GPU)    [100%]", Progress(0, 0, "t/a.py::test")),
        ("-- Detecting CXX compiler", Progress(0, 0, "-- Detecting CXX compiler")),
    ],
)
def test_a_line_tells_how_much_is_done_and_of_which_file_or_test_it_is(
    line: str, progress: Progress
) -> None:
    assert progress_of(line) == progress
