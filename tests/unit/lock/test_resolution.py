from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import (
    Archive,
    FakeBackend,
    Index,
    lock_of,
    matrix_of,
    resolution_of,
    services_of,
    with_set,
    write_repository,
)

from envmatrix.errors import ConfigurationError, EngineError, LookupFailed
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.systems import SignedArchive
from envmatrix.lock.lock_file import FILE, dumps, load, loads
from envmatrix.lock.model import (
    REQUESTS,
    ImageRequest,
    Lock,
    PackageSet,
    SystemRequest,
    helper_of,
)
from envmatrix.lock.requests import all_requests
from envmatrix.lock.resolution import MissingSources, MissingWheels, upgrade_rule
from envmatrix.lock.resolvers.dnf import PackageManager
from envmatrix.lock.resolvers.pip import Pip
from envmatrix.lock.resolvers.protocol import BaseState
from envmatrix.lock.resolvers.registry import resolvers_of
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix

AXES = """\
cuda: ["13.0"]
os: [debian12]
arch: [x86_64, aarch64]"""

LATER = "Sun, 01 Feb 2026 00:00:00 UTC"


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return matrix_of(tmp_path_factory.mktemp("resolve") / "repository", AXES)


@pytest.fixture(scope="module")
def lock(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return lock_of(matrix, tmp_path_factory.mktemp("scratch"))


def names(lock: Lock, key: str) -> list[str]:
    return [item.name for item in lock.sets[key].artifacts]


def changed(before: Lock, after: Lock) -> set[str]:
    return {key for key in after.sets if after.sets[key] != before.sets.get(key)}


def test_a_set_holds_nothing_that_is_below_it(lock: Lock) -> None:
    assert names(lock, "debian12-amd64-base") == ["apt", "base-files", "dash", "usr-is-merged"]
    assert names(lock, "debian12-amd64-runtime") == ["cmake", "libuv1"]
    assert names(lock, "debian12-amd64-devel-gcc12") == ["g++-12", "ninja-build"]
    assert names(lock, "debian12-amd64-cross-gcc12-arm64") == ["g++-12-aarch64-linux-gnu"]


def test_what_the_base_has_is_not_asked_for_again(matrix: Matrix, tmp_path: Path) -> None:
    archive = Archive(depends={"?essential": ("dash",), "cmake": ("dash", "libuv1")})
    assert names(lock_of(matrix, tmp_path, archive=archive), "debian12-amd64-runtime") == [
        "cmake",
        "libuv1",
    ]


def test_an_image_as_a_base_is_its_digest_and_what_it_holds(tmp_path: Path) -> None:
    image = f"debian@sha256:{'1' * 64}"
    rest = f"bases: {{debian12: '{image}'}}\n"
    matrix = matrix_of(tmp_path / "repository", AXES, rest)
    lock = lock_of(matrix, tmp_path / "scratch")
    base = lock.sets["debian12-amd64-base"]
    assert base == PackageSet(ImageRequest("amd64", "bookworm", image), ())
    assert names(lock, "debian12-amd64-runtime") == ["cmake"]
    again = lock_of(matrix, tmp_path / "again", previous=lock)
    assert dumps(again) == dumps(lock)


IN_IMAGE = f"nvidia/cuda@sha256:{'0123456789abcdef' * 4}"
RULE = f"sources: [{{source: image, image: '{IN_IMAGE}'}}]\n"


def test_what_is_found_in_an_image_is_locked_and_stays(tmp_path: Path) -> None:
    axes = 'cuda: ["12.4"]\nos: [ubuntu22.04]\narch: [x86_64, aarch64]'
    matrix = matrix_of(tmp_path / "repository", axes, RULE)
    lock = lock_of(matrix, tmp_path / "scratch")
    package_set = lock.sets["ubuntu22.04-arm64-0123456789ab-cuda12.4"]
    assert package_set.versions == {"cuda": "12.4.1", "cccl": "", "cudart": "1.2.3", "nvcc": ""}
    assert package_set.artifacts == ()
    assert loads(dumps(lock)) == lock
    assert dumps(lock_of(matrix, tmp_path / "again", previous=lock)) == dumps(lock)


def test_an_image_that_lacks_what_is_asked_for_later_is_refused_then(tmp_path: Path) -> None:
    axes = 'cuda: ["12.4"]\nos: [ubuntu22.04]\narch: [x86_64]'
    lock = lock_of(matrix_of(tmp_path / "before", axes, RULE), tmp_path / "scratch")
    library = "libraries: {solver: {path: solver, components: [cusolver]}}\n"
    more = matrix_of(tmp_path / "after", axes, RULE + library)
    with pytest.raises(LookupFailed) as caught:
        lock_of(more, tmp_path / "again", previous=lock)
    assert any("component `cusolver` is not in it" in line for line in caught.value.details)


def test_packages_are_resolved_together_with_those_below_them(
    matrix: Matrix, tmp_path: Path
) -> None:
    archive = Archive()
    lock_of(matrix, tmp_path, archive=archive)
    assert ("bookworm-amd64", "install", "cmake", "g++-12", "ninja-build") in archive.commands


def test_a_base_is_its_layer(lock: Lock) -> None:
    bases = {
        key: package_set.diff_id for key, package_set in lock.sets.items() if package_set.diff_id
    }
    assert set(bases) == {"debian12-amd64-base", "debian12-arm64-base"}
    assert len(set(bases.values())) == 2


def test_a_base_of_another_architecture_is_made_with_that_of_this_machine(lock: Lock) -> None:
    assert helper_of("debian12-arm64-base", lock.sets, "amd64") == "debian12-amd64-base"
    assert helper_of("debian12-amd64-base", lock.sets, "arm64") == "debian12-arm64-base"
    assert helper_of("debian12-amd64-base", lock.sets, "amd64") is None
    assert helper_of("debian12-arm64-base", lock.sets, "ppc64le") is None


def test_the_epoch_is_the_date_of_the_newest_suite(lock: Lock) -> None:
    assert lock.epoch == 1767225600


@pytest.mark.parametrize("host", ["amd64", "arm64"])
def test_apt_runs_in_a_base_of_this_machine(matrix: Matrix, tmp_path: Path, host: str) -> None:
    backend = FakeBackend(tmp_path, Archive(), host)
    requests = all_requests(matrix, shipped_recipes())
    resolution_of(backend).resolve(requests, None, upgrade_rule(None, None))
    assert set(backend.homes) == {f"debian12-{host}-base"}
    assert len(backend.bases) == 2


def test_the_lock_does_not_depend_on_the_machine(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    requests = all_requests(matrix, shipped_recipes())
    resolution = resolution_of(FakeBackend(tmp_path, Archive(), "arm64"))
    assert dumps(resolution.resolve(requests, None, upgrade_rule(None, None))) == dumps(lock)


SOURCES = (
    "libraries:\n"
    "  a: {source: {sdist: a, version: '1.0'}}\n"
    "  b: {source: {sdist: b, version: '2.0'}}\n"
)


def test_sources_of_libraries_are_looked_up_before_anything_is_made(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path / "repository", AXES, SOURCES)
    backend = FakeBackend(tmp_path / "scratch", archive := Archive())
    requests = all_requests(matrix, shipped_recipes())

    with pytest.raises(MissingSources) as caught:
        resolution_of(backend).resolve(requests, None, upgrade_rule(None, None))

    assert [*caught.value.failures] == ["library-a", "library-b"]
    assert caught.value.message == ("library `a`: nothing is there; library `b`: nothing is there")
    assert caught.value.name == "lookup-failed"
    assert (backend.bases, archive.commands) == ([], [])


WHEELS = """\
libraries:
  a: {path: a, build: {requires: [numpy==1.20]}}
  b: {path: b, test: {framework: pytest, run: [tests], requires: [pytest, torch]}}
"""


def test_every_requirement_without_a_wheel_is_told_before_packages_are_resolved(
    tmp_path: Path,
) -> None:
    matrix = matrix_of(tmp_path / "repository", AXES, WHEELS)
    backend = FakeBackend(tmp_path / "scratch", Archive())
    requests = all_requests(matrix, shipped_recipes())

    def run(command: Sequence[str]) -> str:
        lacking = [text for text in command if text in ("numpy==1.20", "torch")]
        if not lacking:
            return Index().run(command)
        output = f"satisfies the requirement {lacking[0]} (from versions: 2.0)"
        details = (
            f"Could not find a version that {output}",
            "No matching distribution found for x",
        )
        raise LookupFailed("`pip` failed", details=details)

    resolution = resolution_of(backend)
    pip = Pip(run, Index().look_up)
    resolvers = {**resolution.resolvers, "wheels": pip.resolve_wheels}
    with pytest.raises(MissingWheels) as caught:
        replace(resolution, resolvers=resolvers).resolve(requests, None, upgrade_rule(None, None))

    assert {*caught.value.failures} == {key for key in requests if "-wheels-" in key}
    assert {error.requirement for error in caught.value.failures.values()} == {
        "numpy==1.20",
        "torch",
    }
    assert "devel" not in " ".join(key for key in caught.value.failures)


class _Waiting(FakeBackend):
    """A base of an architecture takes until something else happens."""

    def __init__(self, directory: Path, arch: str) -> None:
        super().__init__(directory, Archive())
        self.arch = arch
        self.happens = threading.Event()

    def base(self, key: str, package_set: PackageSet, epoch: int, helper: str | None) -> BaseState:
        assert package_set.request.arch != self.arch or self.happens.wait(20)
        return super().base(key, package_set, epoch, helper)

    def manager_in_base(
        self,
        base: str,
        suite: str,
        arch: str,
        foreign: tuple[str, ...] = (),
        archives: tuple[SignedArchive, ...] = (),
    ) -> PackageManager:
        if self.arch != self.host_arch:
            self.happens.set()
        return super().manager_in_base(base, suite, arch, foreign, archives)


def test_versions_are_looked_up_while_the_first_base_is_made(
    matrix: Matrix, tmp_path: Path
) -> None:
    backend = _Waiting(tmp_path, "amd64")
    requests = all_requests(matrix, shipped_recipes())

    def fail(_: Sequence[str]) -> str:
        backend.happens.set()
        raise LookupFailed("the index has none")

    resolution = resolution_of(backend, replace(services_of(backend), pip=fail))
    with pytest.raises(LookupFailed, match="the index has none"):
        resolution.resolve(requests, None, upgrade_rule(None, None))


def test_packages_are_resolved_while_a_base_of_another_architecture_is_made(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    backend = _Waiting(tmp_path, "arm64")
    requests = all_requests(matrix, shipped_recipes())
    resolution = resolution_of(backend, services_of(backend))
    assert dumps(resolution.resolve(requests, None, lambda _: False)) == dumps(lock)


class _Failing(FakeBackend):
    """A backend that cannot make bases."""

    def base(self, key: str, package_set: PackageSet, epoch: int, helper: str | None) -> BaseState:
        self.bases.append((key, epoch))
        raise EngineError("no base")


def test_a_base_that_cannot_be_made_is_not_made_again_by_who_waits_for_it(
    matrix: Matrix, tmp_path: Path
) -> None:
    backend = _Failing(tmp_path, Archive())
    requests = all_requests(matrix, shipped_recipes())
    with pytest.raises(EngineError, match="no base"):
        resolution_of(backend).resolve(requests, None, upgrade_rule(None, None))
    assert [key for key, _ in backend.bases] == ["debian12-amd64-base"]


class FailingArchive(Archive):
    """An archive that fails after `lasts` commands."""

    lasts = 5

    def run(self, command: Sequence[str]) -> str:
        if len(self.commands) >= self.lasts:
            raise LookupFailed("the mirror went away")
        return super().run(command)


def test_what_was_found_before_a_failure_is_not_looked_up_again(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    requests = all_requests(matrix, shipped_recipes())
    rule = upgrade_rule(None, None)
    unfinished: list[Lock] = []
    failing = FailingArchive()
    with pytest.raises(LookupFailed, match="went away"):
        resolution_of(FakeBackend(tmp_path / "a", failing)).resolve(
            requests, None, rule, None, unfinished.append
        )
    partial = loads(dumps(unfinished[-1]))
    assert partial.sets.keys() < requests.keys()
    assert any(package_set.diff_id for package_set in partial.sets.values())

    archive = Archive(released=LATER)
    backend = FakeBackend(tmp_path / "b", archive)
    again = resolution_of(backend).resolve(requests, None, rule, partial)

    assert dumps(again) == dumps(lock)
    whole = Archive()
    lock_of(matrix, tmp_path / "c", archive=whole)
    assert len(archive.commands) + failing.lasts <= len(whole.commands) + 1


def test_what_was_found_for_another_request_is_looked_up_again(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    requests = all_requests(matrix, shipped_recipes())
    key = "debian12-amd64-runtime"
    curl = (PackageSpec("curl"),)
    request = SystemRequest("apt", "amd64", "bookworm", curl, ("debian12-amd64-base",))
    stale = replace(lock.sets[key], request=request)
    unfinished = Lock(lock.epoch, {**lock.sets, key: stale})
    archive = Archive()
    resolution = resolution_of(FakeBackend(tmp_path, archive))
    again = resolution.resolve(requests, None, upgrade_rule(None, None), unfinished)
    assert dumps(again) == dumps(lock)
    assert archive.commands


def test_every_kind_of_request_has_a_resolver(tmp_path: Path) -> None:
    services = services_of(FakeBackend(tmp_path, Archive()))
    assert resolvers_of(services).keys() == REQUESTS.keys()


def test_the_same_world_gives_the_same_bytes(matrix: Matrix, lock: Lock, tmp_path: Path) -> None:
    assert dumps(lock_of(matrix, tmp_path)) == dumps(lock)


def test_what_is_locked_stays_whatever_the_world_offers(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    archive, index = Archive(versions={"cmake": "2.0-1"}, released=LATER), Index(toolkit={})
    again = lock_of(matrix, tmp_path, archive=archive, index=index, previous=lock)
    assert dumps(again) == dumps(lock)
    assert (archive.commands, index.requirements) == ([], [])


def test_only_what_is_missing_is_looked_up(matrix: Matrix, lock: Lock, tmp_path: Path) -> None:
    sets = {
        key: package_set
        for key, package_set in lock.sets.items()
        if key != "cuda13.0-pypi-runtime-arm64"
    }
    archive = Archive(versions={"cmake": "2.0-1"}, released=LATER)
    again = lock_of(matrix, tmp_path, archive=archive, previous=Lock(lock.epoch, sets))
    assert dumps(again) == dumps(lock)
    assert archive.commands == []


def test_a_set_that_lacks_a_package_is_looked_up_again(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    key = "cuda13.0-pypi-devel-amd64"
    incomplete = replace(lock.sets[key], artifacts=lock.sets[key].artifacts[1:])
    (tmp_path / FILE).write_text(dumps(with_set(lock, key, incomplete)))
    previous, archive = load(tmp_path, allow_incomplete=True), Archive()
    again = lock_of(matrix, tmp_path, archive=archive, previous=previous)
    assert dumps(again) == dumps(lock)
    assert archive.commands == []


def test_a_file_in_two_archives_is_locked_once_and_stays_below(tmp_path: Path) -> None:
    axes = AXES.replace("debian12", "ubuntu24.04")
    matrix = matrix_of(tmp_path / "repository", axes)
    archive = Archive(independent=frozenset({"libuv1"}))
    text = dumps(lock_of(matrix, tmp_path / "first", archive=archive))
    lock = loads(text)
    assert [item.origin for item in lock.artifacts() if item.name == "libuv1"] == ["ubuntu"]
    sets = {key: package_set for key, package_set in lock.sets.items() if "-devel-gcc" not in key}
    previous = Lock(lock.epoch, sets)
    again = lock_of(matrix, tmp_path / "again", archive=archive, previous=previous)
    assert names(again, "ubuntu24.04-arm64-devel-gcc13") == ["g++-13", "ninja-build"]
    assert dumps(again) == text


def test_what_is_no_longer_asked_for_is_dropped(matrix: Matrix, lock: Lock, tmp_path: Path) -> None:
    old = Lock(lock.epoch, {**lock.sets, "old": lock.sets["debian12-amd64-runtime"]})
    assert dumps(lock_of(matrix, tmp_path, previous=old)) == dumps(lock)


def test_an_upgrade_touches_the_sets_that_hold_the_package_and_those_above(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    versions = {"cmake": "2.0-1", "g++-12": "2.0-1", "unzip": "2.0-1"}
    again = lock_of(
        matrix,
        tmp_path,
        archive=Archive(versions=versions, released=LATER),
        previous=lock,
        upgrade=["g++-12"],
    )
    assert changed(lock, again) == {
        "debian12-amd64-devel-gcc12",
        "debian12-arm64-devel-gcc12",
    }
    assert again.epoch == lock.epoch


def test_an_upgrade_below_is_one_above(matrix: Matrix, lock: Lock, tmp_path: Path) -> None:
    archive = Archive(versions={"dash": "2.0-1", "g++-12-aarch64-linux-gnu": "2.0-1"})
    again = lock_of(matrix, tmp_path, archive=archive, previous=lock, upgrade=["dash"])
    assert changed(lock, again) == {
        "debian12-amd64-base",
        "debian12-arm64-base",
        "debian12-amd64-cross-gcc12-arm64",
    }


def test_an_upgrade_of_everything_also_moves_the_epoch(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    archive = Archive(versions={"unzip": "2.0-1"}, released=LATER)
    again = lock_of(matrix, tmp_path, archive=archive, previous=lock, upgrade=[])
    assert again.epoch == 1769904000
    assert {item.version for item in again.artifacts() if item.name == "unzip"} == {"2.0-1"}


def test_the_parts_of_one_toolkit_are_upgraded_together(
    matrix: Matrix, lock: Lock, tmp_path: Path
) -> None:
    toolkit = dict.fromkeys(("nvidia-cuda-crt", "nvidia-cuda-nvcc", "nvidia-nvvm"), "13.0.99")
    again = lock_of(
        matrix,
        tmp_path,
        index=Index(toolkit=toolkit),
        previous=lock,
        upgrade=["nvidia-nvvm"],
    )
    compiler = {item.version for item in again.artifacts() if item.name in toolkit}
    assert compiler == {"13.0.99"}


def test_the_packages_of_one_nvidia_release_are_upgraded_together(tmp_path: Path) -> None:
    axes = AXES.replace("13.0", "13.2")
    matrix = matrix_of(tmp_path / "repository", axes, "sources: [{source: nvidia-apt}]\n")
    before = lock_of(matrix, tmp_path / "before")
    newer = dict.fromkeys(("cuda-nvcc-13-2", "cuda-crt-13-2", "libnvvm-13-2"), "13.2.99-1")
    again = lock_of(
        matrix,
        tmp_path / "again",
        archive=Archive(versions=newer),
        previous=before,
        upgrade=["libnvvm-13-2"],
    )
    compiler = {item.version for item in again.artifacts() if item.name in newer}
    assert compiler == {"13.2.99-1"}
    assert {item.origin for item in again.artifacts() if item.name in newer} == {"nvidia"}
    assert again.epoch == before.epoch


def test_an_upgrade_of_what_is_not_locked_is_refused(lock: Lock) -> None:
    with pytest.raises(ConfigurationError) as caught:
        upgrade_rule(["cmake", "emacs", "vim"], lock)
    assert [problem.message for problem in caught.value.problems] == [
        "the lock holds no package `emacs`",
        "the lock holds no package `vim`",
    ]


def test_a_runtime_without_a_component_of_cuda_has_an_empty_set(tmp_path: Path) -> None:
    root = write_repository(
        tmp_path / "repository", 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64]'
    )
    flavour = root / "envs/runtime.yaml"
    flavour.write_text(flavour.read_text().replace("[cudart]", "[]"))
    lock = lock_of(load_matrix(root), tmp_path / "scratch")
    assert lock.sets["cuda13.0-pypi-runtime-amd64"].artifacts == ()
    assert lock.sets["cuda13.0-pypi-devel-amd64"].artifacts
    assert loads(dumps(lock)) == lock
