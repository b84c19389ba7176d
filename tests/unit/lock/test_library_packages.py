"""Sets of packages of libraries: each over a flavour, and only of the library."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.fakes import cell_of, lock_of, matrix_of, write_repository

from envmatrix.app.library_packages import require_library_packages
from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import Lock, SourceRequest, SystemRequest
from envmatrix.lock.requests import all_requests, drift, library_layers
from envmatrix.lock.resolvers.apt import Apt
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.plan.package_reasons import memberships

AXES = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64, aarch64]'
LIBRARIES = """\
libraries:
  other: {path: other}
  topo:
    path: topo
    packages:
      deb:
        - libhwloc-dev
        - pkgconf:native
    archives: {a: {git: "https://h.example/a", revision: main}}
"""
PREFIX = "library-topo+packages-debian12-"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("packages") / "repository", AXES, LIBRARIES)


@pytest.fixture(scope="module")
def lock(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return lock_of(matrix, tmp_path_factory.mktemp("scratch"))


def test_each_flavour_has_a_set_of_the_library(matrix: Matrix) -> None:
    requests = all_requests(matrix, shipped_recipes())
    own = {key.removeprefix(PREFIX): row for key, row in requests.items() if PREFIX in key}
    names = {
        key: [str(package) for package in row.packages]
        for key, row in own.items()
        if isinstance(row, SystemRequest)
    }
    assert names == {
        "amd64-runtime": ["libhwloc-dev"],
        "amd64-devel-gcc12": ["libhwloc-dev", "pkgconf"],
        "amd64-cross-gcc12-arm64": ["libhwloc-dev:arm64", "pkgconf"],
        "arm64-runtime": ["libhwloc-dev"],
        "arm64-devel-gcc12": ["libhwloc-dev", "pkgconf"],
    }


def test_a_compiler_of_fortran_is_for_the_target(tmp_path: Path) -> None:
    """Tests need the library of the programs that it compiles."""
    rest = "libraries: {topo: {path: topo, packages: [gfortran, libhwloc-dev]}}\n"
    matrix = matrix_of(tmp_path / "repository", AXES, rest)
    requests = all_requests(matrix, shipped_recipes())
    names = {
        key.removeprefix(PREFIX): {str(package) for package in row.packages}
        for key, row in requests.items()
        if PREFIX in key and isinstance(row, SystemRequest)
    }
    native = {"gfortran", "gfortran-12", "libhwloc-dev"}
    assert names == {
        "amd64-runtime": {"libgfortran5", "libhwloc-dev"},
        "amd64-devel-gcc12": native,
        "amd64-cross-gcc12-arm64": {
            "gfortran-aarch64-linux-gnu",
            "gfortran-12-aarch64-linux-gnu",
            "libhwloc-dev:arm64",
        },
        "arm64-runtime": {"libgfortran5", "libhwloc-dev"},
        "arm64-devel-gcc12": native,
    }


def test_sets_with_other_compilers_are_over_those_of_the_compilers(tmp_path: Path) -> None:
    axes = f"{AXES}\ncompiler: [gcc-11, clang-16]"
    matrix = matrix_of(tmp_path / "repository", axes, LIBRARIES)
    own = {
        key.removeprefix(PREFIX): row.below[-1].removeprefix("debian12-")
        for key, row in all_requests(matrix, shipped_recipes()).items()
        if PREFIX in key and isinstance(row, SystemRequest)
    }
    names = ["amd64-devel-gcc12", "amd64-cross-gcc12-arm64", "arm64-devel-gcc12"]
    below = [f"{name}-{compiler}" for name in names for compiler in ("gcc11", "clang16")]
    assert own == {name: name for name in (*below, "amd64-runtime", "arm64-runtime")}


@pytest.mark.parametrize(
    ("cells", "suffixes"), [("*-gcc11-*", ["-gcc11"]), ("*-gcc12-*", [""]), ("*", ["", "-gcc11"])]
)
def test_each_cell_is_analysed_with_packages_over_those_of_its_compiler(
    tmp_path: Path, cells: str, suffixes: list[str]
) -> None:
    axes = f"{AXES}\ncompiler: [default, gcc-11]"
    rest = f'libraries: {{topo: {{path: topo, packages: [libhwloc-dev], cells: "{cells}"}}}}\n'
    root = write_repository(tmp_path / "repository", axes, rest)
    analysis = "flavour: analysis\nextends: devel\npackages: [clang-tidy]\n"
    (root / "envs/analysis.yaml").write_text(analysis)
    requests = all_requests(load_matrix(root), shipped_recipes())
    start = f"{PREFIX}amd64-analysis-gcc12"
    own = {key.removeprefix(start): row for key, row in requests.items() if key.startswith(start)}
    assert [*own] == suffixes
    for suffix, request in own.items():
        assert isinstance(request, SystemRequest)
        below = [f"debian12-amd64-devel-gcc12{suffix}"] if suffix else []
        assert [*request.below[3:]] == [*below, "debian12-amd64-analysis-gcc12"]


def test_a_matrix_with_other_compilers_and_a_library_is_locked_as_a_whole(tmp_path: Path) -> None:
    axes = f"{AXES}\ncompiler: [default, gcc-11]"
    matrix = matrix_of(tmp_path / "repository", axes, LIBRARIES)
    lock = lock_of(matrix, tmp_path / "scratch")
    assert drift(lock, matrix, shipped_recipes()) == ()
    names = {item.name for item in lock.sets[f"{PREFIX}amd64-devel-gcc12-gcc11"].artifacts}
    assert names == {"libhwloc-dev", "pkgconf"}


def test_sets_of_libraries_leave_all_other_sets_as_they_are(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    plain = matrix_of(tmp_path / "plain", AXES, "libraries: {other: {path: other}}\n")
    before = lock_of(plain, tmp_path / "scratch")
    assert {key: row for key, row in lock.sets.items() if "library-topo" not in key} == before.sets


def test_a_set_has_what_the_images_below_do_not_have(lock: Lock) -> None:
    names = {item.name for item in lock.sets[f"{PREFIX}amd64-cross-gcc12-arm64"].artifacts}
    assert names == {"libhwloc-dev", "pkgconf"}


def test_archives_are_locked_like_sources(tmp_path: Path) -> None:
    googletest = "googletest: {debian: googletest, suite: debian12}"
    archives = f'{{{googletest}, b: {{sdist: b, version: "1"}}}}'
    rest = f"libraries: {{topo: {{path: topo, archives: {archives}}}}}\n"
    requests = all_requests(matrix_of(tmp_path / "repository", AXES, rest), shipped_recipes())
    assert requests["library-topo+archive-googletest"] == SourceRequest(
        "debian-source", "googletest", "bookworm"
    )
    assert requests["library-topo+archive-b"] == SourceRequest("sdist", "b", "1")


def test_the_lock_file_keeps_them(lock: Lock) -> None:
    assert loads(dumps(lock)) == lock


def test_why_names_the_library_and_the_cells_of_its_packages(matrix: Matrix, lock: Lock) -> None:
    rows = memberships("libhwloc-dev", lock, matrix, shipped_recipes())
    assert {row.requesters for row in rows} == {("library `topo`",)}
    cells = {row.key.removeprefix(PREFIX): [cell.arch for cell in row.cells] for row in rows}
    assert cells["amd64-cross-gcc12-arm64"] == ["aarch64"]
    assert cells["amd64-devel-gcc12"] == ["x86_64"]


def test_a_target_with_images_of_its_own_has_sets_of_its_own(tmp_path: Path) -> None:
    axes = 'cuda: ["12.4"]\nos: [ubuntu22.04]\narch: [aarch64, jetson]'
    rules = "sources: [{source: redist}]\nlibraries: {t: {path: t, packages: {deb: [libx-dev]}}}\n"
    matrix = matrix_of(tmp_path / "repository", axes, rules)
    (library,) = matrix.libraries
    of_jetson = [*library_layers(library, cell_of(matrix, "cuda12.4-ubuntu22.04-jetson"), matrix)]
    assert [(layer.flavour, layer.arch) for layer in of_jetson] == [
        ("runtime-jetson", "arm64"),
        ("cross-jetson", "amd64"),
    ]
    of_server = library_layers(library, cell_of(matrix, "cuda12.4-ubuntu22.04-aarch64"), matrix)
    assert {layer.key for layer in of_jetson}.isdisjoint(layer.key for layer in of_server)


@dataclass
class Suites:
    """Archives that have some packages, by architecture."""

    packages: dict[str, set[str]]
    directory: Path
    commands: list[list[str]] = field(default_factory=list)

    def apt_of_host(self, suite: str, arch: str) -> Apt:
        def run(command: object) -> str:
            assert isinstance(command, list)
            self.commands.append(command)
            if "pkgnames" in command:
                return "\n".join(self.packages[arch])
            names = command[command.index("install") + 1 :]
            unknown = [
                name for name in names if name[0].isalpha() and name not in self.packages[arch]
            ]
            options = {"--print-uris", "-y", "--no-install-recommends", "-o"}
            missing = [name for name in unknown if name not in options and "=" not in name]
            if missing:
                details = [f"E: Unable to locate package {name}" for name in missing]
                raise LookupFailed("apt fails", details=details)
            file = "x_1_amd64.deb"
            return f"'http://mirror.example/pool/{file}' {file} 1 SHA256:{'0' * 64}\n"

        archive = load_facts().archive(suite, arch)
        return Apt(self.directory, archive, "http://mirror.example", run)


def refusals(matrix: Matrix, packages: dict[str, set[str]], root: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        require_library_packages(root, matrix, {}, Suites(packages, root))
    return [f"{problem} ({problem.hint})" for problem in caught.value.problems]


def test_unknown_packages_are_reported_at_their_lines_with_similar_names(
    matrix: Matrix, tmp_path: Path
) -> None:
    root = tmp_path / "repository"
    matrix = matrix_of(root, AXES, LIBRARIES)
    rows = refusals(matrix, {arch: {"libhwloc5-dev"} for arch in ("amd64", "arm64")}, root)
    assert rows == [
        (
            "matrix.yaml:13:11: `debian12` has no package `libhwloc-dev` "
            "(did you mean `libhwloc5-dev`?)"
        ),
        "matrix.yaml:14:11: `debian12` has no package `pkgconf` (None)",
    ]


def test_packages_of_a_list_alone_are_reported_at_their_places(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    rest = "libraries:\n  topo: {path: topo, packages: [libhwloc-dev]}\n"
    (row,) = refusals(matrix_of(root, AXES, rest), {"amd64": set(), "arm64": set()}, root)
    assert row.startswith("matrix.yaml:8:33: `debian12` has no package `libhwloc-dev`")


def test_a_package_of_one_architecture_is_reported_with_the_cell_that_needs_another(
    tmp_path: Path,
) -> None:
    root = tmp_path / "repository"
    matrix = matrix_of(root, AXES, LIBRARIES)
    rows = refusals(matrix, {"amd64": {"libhwloc-dev", "pkgconf"}, "arm64": {"pkgconf"}}, root)
    (row,) = rows
    assert row.startswith("matrix.yaml:13:11: `debian12` has the package `libhwloc-dev` for ")
    assert "`amd64` only: library `topo` needs it for `arm64` in `cuda12.4-debian12-aarch64`" in row
    assert "`libhwloc-dev:native`" in row


def test_packages_of_sets_that_are_locked_are_not_looked_up(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    suites = Suites({"amd64": set(), "arm64": set()}, tmp_path)
    require_library_packages(tmp_path, matrix, lock.sets, suites)
    assert not suites.commands
