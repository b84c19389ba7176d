from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from tests.fakes import artifact, digest
from tests.loopback import Handler, serving

from envmatrix.app.locking import audit_lock, offers_in, require_good
from envmatrix.console import Console
from envmatrix.errors import Absent, LookupFailed, OutOfDate
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.lock.audit import Archives, Audit, Offer, Offers, audit, offers_of
from envmatrix.lock.model import (
    Artifact,
    BootstrapRequest,
    ImageRequest,
    Lock,
    PackageSet,
    ReleaseRequest,
    SourceRequest,
    SystemRequest,
)
from envmatrix.lock.resolvers.apt import Apt
from envmatrix.lock.resolvers.sources import IndexFile

X = (PackageSpec("x"),)
CMAKE = artifact("cmake", "3.25.1-1")
WHEEL = artifact("nvidia-nvvm", "13.5.37", origin="pypi")


def lock_of(**sets: PackageSet) -> Lock:
    return Lock(1, sets)


def of_suite(*artifacts: Artifact, resolver: str = "apt") -> PackageSet:
    return PackageSet(SystemRequest(resolver, "amd64", "bookworm", X, ()), artifacts)


def of_index(*artifacts: Artifact) -> PackageSet:
    return PackageSet(ReleaseRequest("pip", "amd64", X), artifacts)


def offer(item: Artifact, version: str | None = None, *, yanked: bool = False) -> Offer:
    sha256 = item.sha256 if version in (None, item.version) else digest(item.name, str(version))
    return Offer(version or item.version, sha256, yanked)


def audited(
    lock: Lock,
    suite: Sequence[Offer] = (),
    security: Sequence[Offer] = (),
    index: Sequence[Offer] = (),
) -> Audit:
    def offers(listed: Sequence[Offer]) -> Offers:
        return {"cmake": listed}

    return audit(
        lock, Archives(lambda *_: offers(suite), lambda *_: offers(security), lambda _: index)
    )


def states(result: Audit) -> list[tuple[str, str, str | None]]:
    return [(finding.state, finding.where, finding.offered) for finding in result.findings]


@pytest.mark.parametrize(
    ("suite", "security", "expected", "is_urgent"),
    [
        ([CMAKE.version], [], [], False),
        (["3.25.1-2"], [], [("gone", "bookworm", "3.25.1-2")], True),
        ([], [], [("gone", "bookworm", None)], True),
        ([CMAKE.version, "3.26-1"], [], [("superseded", "bookworm", "3.26-1")], False),
        ([CMAKE.version, "3.20-1"], [], [], False),
        (
            [CMAKE.version],
            ["3.25.1-1+deb12u1", "3.25.1-0"],
            [("security", "bookworm-security", "3.25.1-1+deb12u1")],
            True,
        ),
        ([CMAKE.version], ["3.25.1-1~deb12u1"], [], False),
        (
            ["3.25.1-2"],
            ["3.25.1-1+deb12u1"],
            [
                ("gone", "bookworm", "3.25.1-2"),
                ("security", "bookworm-security", "3.25.1-1+deb12u1"),
            ],
            True,
        ),
    ],
)
def test_a_package_of_a_suite_is_current_or_not(
    suite: list[str],
    security: list[str],
    expected: list[tuple[str, str, str | None]],
    is_urgent: bool,
) -> None:
    result = audited(
        lock_of(a=of_suite(CMAKE)),
        [offer(CMAKE, version) for version in suite],
        [offer(CMAKE, version) for version in security],
    )
    assert (states(result), result.is_urgent) == (expected, is_urgent)
    assert result.audited == 1


def test_the_same_version_with_other_bytes_is_gone() -> None:
    other = Offer(CMAKE.version, "0" * 64)
    assert states(audited(lock_of(a=of_suite(CMAKE)), [other])) == [
        ("gone", "bookworm", CMAKE.version)
    ]


def test_a_package_of_several_sets_is_told_once_with_all_of_them() -> None:
    base = PackageSet(BootstrapRequest("amd64", "bookworm", X), (CMAKE,))
    lock = lock_of(b=of_suite(CMAKE), a=base)
    (finding,) = audited(lock).findings
    assert finding.sets == ("a", "b")


@pytest.mark.parametrize(
    ("listed", "expected", "is_urgent"),
    [
        ([offer(WHEEL)], [], False),
        ([], [("gone", "the index", None)], True),
        (
            [offer(WHEEL, yanked=True), offer(WHEEL, "13.5.38")],
            [("yanked", "the index", "13.5.38")],
            True,
        ),
        ([offer(WHEEL), offer(WHEEL, "13.5.40")], [("superseded", "the index", "13.5.40")], False),
        ([offer(WHEEL), offer(WHEEL, "13.5.40", yanked=True)], [], False),
        # Another minor release, or one before its release, is not what the matrix means.
        ([offer(WHEEL), offer(WHEEL, "13.6.1"), offer(WHEEL, "13.5.40rc1")], [], False),
        ([offer(WHEEL), offer(WHEEL, "no version")], [], False),
    ],
)
def test_a_wheel_is_current_or_not(
    listed: list[Offer], expected: list[tuple[str, str, str | None]], is_urgent: bool
) -> None:
    result = audited(lock_of(a=of_index(WHEEL)), index=listed)
    assert (states(result), result.is_urgent) == (expected, is_urgent)


def test_a_package_of_another_architecture_is_asked_of_that_one() -> None:
    """A set for cross compiling has packages of another architecture."""
    foreign = replace(CMAKE, path="pool/cmake_3.25.1-1_arm64.deb")
    requests: list[tuple[str, str]] = []

    def ask(suite: str, arch: str, _: Sequence[str]) -> Offers:
        requests.append((suite, arch))
        return {"cmake": [offer(CMAKE)]}

    result = audit(lock_of(a=of_suite(foreign)), Archives(ask, lambda *_: {}, lambda _: ()))
    assert requests == [("bookworm", "arm64")]
    assert result.findings == ()


def test_what_cannot_be_compared_is_told_with_the_reason() -> None:
    lock = lock_of(
        base=PackageSet(ImageRequest("amd64", "jammy", "a@sha256:1"), ()),
        redist=PackageSet(ReleaseRequest("redist", "amd64", X, "12.4"), (artifact("x"),)),
        source=PackageSet(SourceRequest("git", "u", "r"), ()),
    )
    result = audited(lock)
    assert set(result.not_audited) == {"base", "redist", "source"}
    assert all(result.not_audited.values())
    assert (result.audited, result.findings) == (0, ())


def test_an_archive_that_cannot_be_read_is_told_and_the_others_are_asked() -> None:
    def fail(*_: object) -> Offers:
        raise LookupFailed("no route")

    archives = Archives(lambda *_: {"cmake": []}, fail, lambda _: [offer(WHEEL)])
    result = audit(lock_of(a=of_suite(CMAKE), b=of_index(WHEEL)), archives)
    assert result.failed == ("bookworm-security for amd64: no route",)
    assert states(result) == [("gone", "bookworm", None)]


def test_files_of_a_project_that_the_index_has_no_more_are_gone() -> None:
    def none(_: str) -> NoReturn:
        raise Absent("the index has no project")

    result = audit(lock_of(a=of_index(WHEEL)), Archives(lambda *_: {}, lambda *_: {}, none))
    assert (states(result), result.failed) == ([("gone", "the index", None)], ())


def test_files_of_an_index_are_versions_with_their_bytes() -> None:
    files = [
        IndexFile("nvidia_nvvm-13.5.37-py3-none-any.whl", "u", "1" * 64, 1),
        IndexFile("nvidia-nvvm-13.5.36.tar.gz", "u", "2" * 64, 1, is_yanked=True),
        IndexFile("readme.txt", "u", "3" * 64, 1),
    ]
    assert offers_in(files) == [
        Offer("13.5.37", "1" * 64),
        Offer("13.5.36", "2" * 64, is_yanked=True),
    ]


class IndexHandler(Handler):
    """A package index that has one file of one project."""

    def do_GET(self) -> None:
        assert self.path == "/simple/nvidia-nvvm/"
        file = {"filename": "nvidia_nvvm-13.5.38-py3-none-any.whl", "url": "/x"}
        document = {"files": [{**file, "hashes": {"sha256": "1" * 64}}]}
        self.answer(200, json.dumps(document).encode())


def test_the_index_is_asked_for_each_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with serving(IndexHandler) as url:
        (tmp_path / "envmatrix").mkdir()
        (tmp_path / "envmatrix/config.toml").write_text(f'[mirrors]\npypi-index = "{url}/simple"\n')
        result = audit_lock(lock_of(a=of_index(WHEEL)), load_facts(), Console())
    assert result.failed == ()
    assert [(finding.state, finding.offered) for finding in result.findings] == [
        ("gone", "13.5.38")
    ]
    with pytest.raises(OutOfDate):
        require_good(result)


SHOWN = """\
Package: cmake
Version: 3.25.1-1
Description: no Version: 9
SHA256: {0}

Package: cmake
Version: 3.26-1
SHA256: {1}

Package: virtual
"""


def test_apt_says_which_versions_a_suite_has(tmp_path: Path) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return SHOWN.format("1" * 64, "2" * 64)

    apt = Apt(tmp_path, load_facts().archive("bookworm", "ppc64le"), "http://mirror.example", run)
    assert offers_of(apt.show(["cmake", "virtual"])) == {
        "cmake": [Offer("3.25.1-1", "1" * 64), Offer("3.26-1", "2" * 64)]
    }
    ((program, *arguments),) = commands
    assert (program, arguments[-3:]) == ("apt-cache", ["show", "cmake", "virtual"])
    assert "APT::Architecture=ppc64el" in arguments
    assert offers_of(apt.show([])) == {}


def test_an_audit_of_nothing_finds_nothing() -> None:
    result = audited(replace(lock_of()))
    assert (result.audited, result.findings, result.failed) == (0, (), ())
