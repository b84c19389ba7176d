"""What the program does in a container beside auditwheel. `tests/integration/test_wheels.py` runs
all of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.unit.sessions.wheels.examples import NAME, read, wheel

from envmatrix.sessions.wheels import repair

PLAN = {"requirements": ["cuda-toolkit[cudart]>=13.5,<14"], "directories": {}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tmp_path / NAME).write_bytes(wheel(files={"a/__init__.py": b"", "a.data/scripts/a": b"#!"}))
    with zipfile.ZipFile(tmp_path / NAME) as archive:
        archive.extractall(tree)
    return tree


@pytest.mark.parametrize(
    "ending", ["", "\n", "\n\nThe description.\n\nMore.\n", "\r\n\r\nText\r\n"]
)
def test_requirements_are_added_behind_the_last_header(tree: Path, ending: str) -> None:
    metadata = tree / "a-1.0.dist-info/METADATA"
    metadata.write_bytes(f"Metadata-Version: 2.1\nName: a\nVersion: 1.0{ending}".encode())

    repair._complete(tree, PLAN)

    text = metadata.read_bytes().decode()
    assert text.startswith("Metadata-Version: 2.1\nName: a\nVersion: 1.0\nRequires-Dist: cuda-tool")
    assert text.count("Requires-Dist") == 1
    assert text.endswith(ending)


def pack(tree: Path, file: Path, modes: Mapping[str, int]) -> bytes:
    program = (
        "import sys; from pathlib import Path; from envmatrix.sessions.wheels import repair; "
        "repair._pack(Path(sys.argv[1]), eval(sys.argv[2]), Path(sys.argv[3]))"
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    argv = [sys.executable, "-c", program, str(tree), repr(dict(modes)), str(file)]
    subprocess.run(argv, check=True, env=environment)
    return file.read_bytes()


def test_equal_files_become_equal_wheels_with_a_record_of_them(tree: Path, tmp_path: Path) -> None:
    modes = {"a.data/scripts/a": 0o755, "a/__init__.py": 0o644}
    first = pack(tree, tmp_path / "first.whl", modes)
    shutil.copytree(tree, tmp_path / "copy")
    assert pack(tmp_path / "copy", tmp_path / "second.whl", modes) == first

    with zipfile.ZipFile(tmp_path / "first.whl") as archive:
        record = archive.read("a-1.0.dist-info/RECORD").decode().splitlines()
        rows = {row.filename: row.external_attr >> 16 & 0o777 for row in archive.infolist()}
    assert sorted(line.split(",")[0] for line in record) == sorted(rows)
    assert record[-1] == "a-1.0.dist-info/RECORD,,"
    assert rows["a.data/scripts/a"] == 0o755
    assert rows["a/__init__.py"] == 0o644
    assert read(tmp_path / "read", first).code == ()


@pytest.mark.parametrize(
    ("tag", "python"),
    [
        ("cp39-abi3-linux_x86_64", (3, 9)),
        ("cp312-abi3-linux_x86_64", (3, 12)),
        ("cp311-cp311-linux_x86_64", None),
        ("py3-none-any", None),
    ],
)
def test_tags_tell_the_python_of_the_stable_abi(
    tmp_path: Path, tag: str, python: tuple[int, int] | None
) -> None:
    (tmp_path / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
    assert repair._stable_abi(tmp_path / "WHEEL") == python


def test_no_library_of_cuda_gets_into_a_wheel(tmp_path: Path) -> None:
    library = tmp_path / "cuda-13.5/targets/x86_64-linux/lib/libcufile.so.1.20.0"
    library.parent.mkdir(parents=True)
    library.touch()
    repair._check_bundled([Path("a.libs/libgomp-f9a9ad78.so.1.0.0")], tmp_path)
    with pytest.raises(SystemExit, match=r"loaded with libcufile\.so\.1\.20\.0 of CUDA"):
        repair._check_bundled([Path("a.libs/libcufile-f9a9ad78.so.1.20.0")], tmp_path)
