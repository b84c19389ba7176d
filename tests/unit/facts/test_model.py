from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from tests.fakes import plain

from envmatrix.documents import parse_document
from envmatrix.facts.model import Facts
from envmatrix.facts.versions import in_range, version_key
from envmatrix.lock.requests import CUDA_RESOLVERS

FACT_FILES = [
    "absences",
    "clang",
    "component_names",
    "conflicts",
    "cudnn",
    "cutensor",
    "distributions",
    "families",
    "nccl",
    "os",
    "pythons",
    "sources",
    "standards",
    "tensorrt",
]


def rows(value: object) -> Iterator[dict[str, object]]:
    """Yield the mappings that have a scalar, which state something."""
    if isinstance(value, dict) and any(isinstance(item, str) for item in value.values()):
        yield value
        return
    nested = value.values() if isinstance(value, dict) else value
    for item in nested if isinstance(nested, (list, type({}.values()))) else []:
        yield from rows(item)


@pytest.mark.parametrize("name", FACT_FILES)
def test_every_row_names_its_source(name: str) -> None:
    content = files("envmatrix").joinpath("facts/data", f"{name}.yaml").read_bytes()
    entries = list(rows(plain(parse_document(content, name).root)))
    assert entries
    for row in entries:
        assert row.get("ref"), row
        for key in ("eol", "nvidia_repository"):
            assert dict(row.get(key, {"ref": "none"}))["ref"], row  # type: ignore[call-overload]


def test_every_release_says_where_what_it_says_was_learnt(facts: Facts) -> None:
    for release in facts.cuda.values():
        assert release.host.ref
        assert release.sm_ref
        assert release.driver.ref
        assert release.eol is None or release.eol.ref


def test_sources_of_python_are_in_suites_of_debian(facts: Facts) -> None:
    for row in facts.pythons.values():
        archive = facts.archive(row.suite, "arm64")
        assert (archive.origin, archive.distribution.name) == ("debian", "debian")
        assert row.package == f"python{row.release}"


def test_systems_that_compile_python_have_packages_of_debian(facts: Facts) -> None:
    systems = [os for os in facts.os.values() if os.python_libraries]
    assert systems
    assert {os.family.name for os in systems} == {"deb"}
    assert all(os.python for os in systems)


def test_every_release_comes_from_a_known_source(facts: Facts) -> None:
    for release in facts.cuda.values():
        assert release.packages
        assert {package.source for package in release.packages} <= set(CUDA_RESOLVERS)


def test_a_suite_has_one_archive_for_each_architecture(facts: Facts) -> None:
    suites = [os.suite for os in facts.os.values()]
    assert len(suites) == len(set(suites))
    packages = [package for release in facts.cuda.values() for package in release.packages]
    for suite in {*suites, *(p.suite for p in packages if p.suite and p.source == "debian")}:
        for arch in ("amd64", "arm64"):
            archive = facts.archive(suite, arch)
            assert archive.origin in archive.distribution.origins


def test_packages_are_made_for_known_distributions(facts: Facts) -> None:
    for release in facts.cuda.values():
        for package in release.packages:
            assert set(package.distributions or ()) <= set(facts.distributions)


def test_an_origin_is_of_one_distribution(facts: Facts) -> None:
    origins = [origin for row in facts.distributions.values() for origin in row.origins]
    assert len(origins) == len(set(origins))


def test_a_repository_of_nvidia_has_a_key_and_an_operating_system(facts: Facts) -> None:
    suites = {
        package.suite
        for release in facts.cuda.values()
        for package in release.packages
        if package.source in {"nvidia-apt", "nvidia-dnf"}
    }
    assert suites == set(facts.nvidia_repositories)
    for package in (
        package for release in facts.cuda.values() for package in release.packages if package.os
    ):
        repository = facts.os[package.os or ""].nvidia_repository
        assert repository is not None
        assert package.suite == repository.suite
    for repository in facts.nvidia_repositories.values():
        if repository.fingerprint:
            assert len(bytes.fromhex(repository.fingerprint)) == 20
            assert repository.fingerprint.endswith(repository.key.removesuffix(".pub").upper())
        else:
            assert len(bytes.fromhex(repository.sha256 or "")) == 32


def test_a_system_that_is_not_bootstrapped_has_repositories_and_compilers(facts: Facts) -> None:
    for name, os in facts.os.items():
        distribution = facts.distributions[os.distribution]
        if os.family.bootstrapped:
            assert distribution.sections, name
            assert distribution.keyring, name
            assert os.releasever is None, name
        else:
            assert os.repositories or distribution.repositories, name
            assert os.releasever, name
            assert not os.cross_gcc, name
        if os.own_gcc:
            assert os.own_gcc in os.gcc, name
            assert facts.compiler(name, os.own_gcc) == distribution.own_compiler


def test_no_release_takes_an_older_compiler_than_the_one_before(facts: Facts) -> None:
    releases = list(facts.cuda.values())
    newest = [(int(release.host.gcc_max), int(release.host.clang_max)) for release in releases]
    assert newest == sorted(newest)
    assert [r.release for r in releases] == sorted(facts.cuda, key=version_key)


def test_gpu_architectures_are_in_order(facts: Facts) -> None:
    """The order is `90`, `90a`, `100`."""
    for release in facts.cuda.values():
        names = sorted(release.sm, key=lambda name: (int(name.rstrip("af")), name))
        assert [*release.sm] == names


def test_a_range_of_compilers_and_of_drivers_begins_before_it_ends(facts: Facts) -> None:
    for release in facts.cuda.values():
        assert int(release.host.gcc_min) <= int(release.host.gcc_max), release.release
        assert int(release.host.clang_min) <= int(release.host.clang_max), release.release
        shipped = release.driver.shipped or release.driver.minimum
        assert version_key(release.driver.minimum) <= version_key(shipped), release.release


def test_the_releases_of_a_major_need_the_same_driver(facts: Facts) -> None:
    needed = {(release.major, release.driver.minimum) for release in facts.cuda.values()}
    assert len(needed) == len({major for major, _ in needed})


def test_a_release_that_ends_ships_the_driver_whose_branch_does(facts: Facts) -> None:
    assert all(release.driver.shipped for release in facts.cuda.values() if release.eol)


def test_a_replacement_is_known_and_outlives_what_it_replaces(facts: Facts) -> None:
    for table in (facts.cuda, facts.os):
        for name, row in table.items():
            if row.eol and row.eol.replacement:
                later = table[row.eol.replacement].eol
                assert not later or later.support > row.eol.support, name


def test_a_patch_release_is_known_as_its_release(facts: Facts) -> None:
    assert facts.release("12.4.1") is facts.release("12.4")
    assert facts.release("12.7") is None


@pytest.mark.parametrize(
    ("version", "first", "last", "expected"),
    [
        ("9.10.2", "9.0", "9.10", True),
        ("9.11", "9.0", "9.10", False),
        ("9.9", "9.10", None, False),
        ("9.28", "9.12", None, True),
        ("9.10", "9.0", "9.10.2", True),
        ("8.9", "8.9.5", "8.9.7", True),
        ("8.9.2", "8.9.5", "8.9.7", False),
    ],
)
def test_a_range_holds_the_patches_of_its_last_version(
    version: str, first: str, last: str | None, *, expected: bool
) -> None:
    assert in_range(version, first, last) is expected


def test_a_component_needs_components_that_are_known(facts: Facts) -> None:
    needed = {
        need
        for component in facts.components.values()
        for needs in component.needs.values()
        for need in needs
    }
    assert needed <= facts.components.keys()


def test_where_a_component_is_there_is_also_what_it_needs(facts: Facts) -> None:
    for release in facts.cuda.values():
        for source in {package.source for package in release.packages}:
            available = {n for n in facts.listable if not facts.absence(n, source, release.release)}
            for name in available:
                assert set(facts.with_needs([name], release.release)) <= available, (name, source)


def test_a_component_brings_what_it_needs_and_what_that_needs(facts: Facts) -> None:
    needs = {"cusolver", "cublas", "cusparse", "nvjitlink"}
    assert facts.with_needs(["cusolver"], "11.8") == ("cublas", "cusolver")
    assert set(facts.with_needs(["cusolver", "cublas"], "12.4")) == needs
    assert set(facts.with_needs(["cusolver"], "13.0")) == {*needs, "nvrtc"}
    assert facts.with_needs(["nvrtc", "nvrtc"], "13.0") == ("nvrtc",)


def test_an_absence_is_of_something_known_and_contradicts_no_source(facts: Facts) -> None:
    for row in facts.absences:
        assert set(row.components) <= facts.components.keys()
        assert row.source is None or row.source in CUDA_RESOLVERS
        if row.source and row.first == "0" and not row.last:
            assert all(row.source not in facts.components[name].sources for name in row.components)


def test_a_repository_of_nvidia_is_for_every_system_that_has_it(facts: Facts) -> None:
    systems = {package.os for package in facts.cuda["13.0"].packages if package.suite == "rhel9"}
    assert systems == {"rockylinux9", "rhel9", "ubi9", "oraclelinux9"}
