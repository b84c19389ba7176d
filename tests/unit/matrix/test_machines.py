"""The names of architectures, against whoever has given them."""

from __future__ import annotations

import ast
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import envmatrix
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import MACHINES, TARGETS, Architecture, machine_called
from envmatrix.lock import lock_file

ROOT = Path(__file__).parents[3]
BINFMT = Path("/usr/lib/binfmt.d")
ELF_HEADER = Path("/usr/include/elf.h")
# Manifests as NVIDIA has published them, beside the checkout where there are any.
MANIFESTS = ROOT.parent / "shared/redist/cuda"

# Docker: https://pkg.go.dev/internal/goarch, Debian: https://wiki.debian.org/SupportedArchitectures,
# wheels: https://peps.python.org/pep-0599/, rpm: its file rpmrc, ELF: gabi, e_machine.
KNOWN = {
    "amd64": ("amd64", "x86_64", "x86_64", "x86_64-linux-gnu", 62),
    "arm64": ("arm64", "aarch64", "aarch64", "aarch64-linux-gnu", 183),
    "ppc64le": ("ppc64el", "ppc64le", "ppc64le", "powerpc64le-linux-gnu", 21),
}


@pytest.fixture(params=MACHINES.values(), ids=lambda machine: machine.docker)
def machine(request: pytest.FixtureRequest) -> Architecture:
    machine: Architecture = request.param
    return machine


def test_every_machine_of_a_target_has_names() -> None:
    assert {target.machine for target in TARGETS.values() if target.machine} == MACHINES.keys()
    assert KNOWN.keys() == MACHINES.keys()


def test_names_are_those_that_their_owners_gave(machine: Architecture) -> None:
    row = next(target for target in TARGETS.values() if target.architecture is machine)
    names = (machine.debian, machine.rpm, machine.wheel, row.triplet, machine.elf[1])
    assert names == KNOWN[machine.docker]
    assert row.processor == machine.uname, "CMake takes it from uname"
    assert row.binary == machine.uname


@pytest.mark.parametrize("kind", ["docker", "debian", "rpm", "wheel", "nvidia", "qemu", "uname"])
def test_no_two_machines_have_one_name(kind: str) -> None:
    names = [getattr(machine, kind) for machine in MACHINES.values()]
    assert len({*names}) == len(names)
    assert [machine_called(**{kind: name}) for name in names] == [*MACHINES.values()]
    assert machine_called(**{kind: "vax"}) is None


def test_qemu_runs_what_has_the_number_of_the_machine(machine: Architecture) -> None:
    """Packages of QEMU register an interpreter by the first bytes of an ELF header."""
    file = BINFMT / f"qemu-{machine.qemu}.conf"
    if not BINFMT.is_dir() or not any(BINFMT.glob("qemu-*")):
        pytest.skip("no qemu-user-static here")
    if not file.is_file():
        pytest.skip(f"this machine needs no QEMU for {machine.qemu}")
    magic = file.read_text(encoding="utf-8").split(":")[4]
    header = bytes.fromhex(magic.replace("\\x", ""))
    order, number = machine.elf
    assert struct.unpack_from(f"{order}H", header, 18) == (number,)


def test_the_numbers_are_those_of_the_c_library(machine: Architecture) -> None:
    if not ELF_HEADER.is_file():
        pytest.skip("no headers of the C library here")
    names = {"amd64": "EM_X86_64", "arm64": "EM_AARCH64", "ppc64le": "EM_PPC64"}
    match = re.search(rf"#define {names[machine.docker]}\s+(\d+)", ELF_HEADER.read_text("utf-8"))
    assert match
    assert int(match[1]) == machine.elf[1]


def test_platforms_of_archives_are_those_of_published_manifests() -> None:
    files = sorted(MANIFESTS.glob("redistrib_*.json"))
    if not files:
        pytest.skip("no published manifests beside this checkout")
    rows = (row for file in files for row in json.loads(file.read_text("utf-8")).values())
    published = {key for row in rows if isinstance(row, dict) for key in row}
    assert {target.redist for target in TARGETS.values() if target.redist} <= published


def test_a_source_of_cuda_for_ppc64le_ends_where_the_manifests_do(facts: Facts) -> None:
    files = sorted(MANIFESTS.glob("redistrib_*.json"))
    if not files:
        pytest.skip("no published manifests beside this checkout")
    for file in files:
        release = ".".join(file.stem.removeprefix("redistrib_").split(".")[:2])
        has_nvcc = "linux-ppc64le" in json.loads(file.read_text("utf-8"))["cuda_nvcc"]
        row = facts.release(release)
        assert row
        sources = {package.source for package in row.packages if "ppc64le" in package.arches}
        assert ("redist" in sources) == has_nvcc, file.name


def test_files_of_the_lock_are_named_so() -> None:
    """The file names of packages and wheels, as archives and the index have them."""
    lock = lock_file.load(ROOT)
    for key, package_set in lock.sets.items():
        if package_set.request.arch not in MACHINES:
            continue
        names = MACHINES[package_set.request.arch]
        for item in package_set.artifacts:
            if item.filename.endswith(".deb"):
                # A cross compiler's set may have packages of what it compiles for.
                arches = {re.findall(r"_([a-z0-9]+)\.deb$", item.filename)[0]}
                allowed = {"all", *(other.debian for other in MACHINES.values())}
                assert arches <= allowed, key
            if item.filename.endswith(".whl") and not item.filename.endswith("-any.whl"):
                assert item.filename.removesuffix(".whl").endswith(names.wheel), key


def names_in(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            if len(keys & ({*MACHINES} | {machine.uname for machine in MACHINES.values()})) > 1:
                yield node.lineno


def test_no_module_has_a_table_of_its_own() -> None:
    package = Path(envmatrix.__file__).parent
    for file in package.rglob("*.py"):
        assert [*names_in(ast.parse(file.read_text("utf-8")))] == [], file


@pytest.mark.parametrize(("arch", "origin"), [("amd64", "ubuntu"), ("ppc64le", "ubuntu-ports")])
def test_what_ubuntu_has_for_power_is_with_the_ports(facts: Facts, arch: str, origin: str) -> None:
    for name in ("ubuntu22.04", "ubuntu24.04", "ubuntu26.04"):
        assert facts.archive(facts.os[name].suite, arch).origin == origin
