"""dnf and zypper, as far as they can be asked without either."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes import Archive, FakeBackend, digest

from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.systems import NvidiaRepository
from envmatrix.lock.model import Artifact, ImageRequest, PackageSet, RepositoryRequest
from envmatrix.lock.resolvers.dnf import Dnf, PackageManager, Repositories, release_time
from envmatrix.lock.resolvers.nvidia import NvidiaDnf, NvidiaMirror
from envmatrix.lock.resolvers.protocol import ResolvedSets
from envmatrix.lock.resolvers.zypper import Zypper

REPOSITORIES = Repositories(
    "rockylinux9-arm64", "rocky", "http://mirror.example", ("9/a/os", "9/b/os"), "arm64", "9"
)
GCC = {
    "repository": "rockylinux9-arm64-2",
    "name": "gcc",
    "version": "11.5.0-2.el9",
    "path": "Packages/gcc.rpm",
    "size": 7,
    "sha256": digest("gcc"),
}
REPOMD = """\
<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>8</revision>
<data type="primary"><timestamp>{}</timestamp></data></repomd>
"""


def dnf_that_says(tmp_path: Path, *rows: object) -> tuple[Dnf, list[Sequence[str]]]:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return "".join(f"{json.dumps(row)}\n" for row in rows)

    return Dnf(tmp_path / "dnf", REPOSITORIES, run), commands


def test_a_package_lies_in_the_repository_that_has_it(tmp_path: Path) -> None:
    dnf, _ = dnf_that_says(tmp_path, GCC)
    (gcc,) = dnf.closure(["gcc"], "/root")
    assert (gcc.origin, gcc.path) == ("rocky", "9/b/os/Packages/gcc.rpm")
    assert (gcc.version, gcc.size, gcc.sha256) == ("11.5.0-2.el9", 7, digest("gcc"))


def test_dnf_is_asked_for_the_architecture_and_the_repositories_alone(tmp_path: Path) -> None:
    dnf, commands = dnf_that_says(tmp_path, GCC)
    dnf.closure(["gcc"], "/root")
    query = json.loads(Path(commands[0][-1]).read_text())
    assert (query["arch"], query["root"], query["packages"]) == ("aarch64", "/root", ["gcc"])
    assert query["repositories"] == {
        "rockylinux9-arm64-1": "http://mirror.example/9/a/os",
        "rockylinux9-arm64-2": "http://mirror.example/9/b/os",
    }


def test_a_base_may_have_all_that_is_asked_for(tmp_path: Path) -> None:
    dnf, _ = dnf_that_says(tmp_path)
    assert dnf.closure(["tar"], "/root") == ()
    with pytest.raises(LookupFailed, match="finds no package for tar"):
        dnf.exactly(["tar"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"path": "../../../etc/passwd"}, "which is outside of it"),
        ({"sha256": ""}, "has no sha256"),
        ({"sha256": "0" * 40}, "has no sha256"),
    ],
)
def test_what_an_index_may_not_say_is_refused(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    dnf, _ = dnf_that_says(tmp_path, {**GCC, **change})
    with pytest.raises(LookupFailed, match=problem):
        dnf.closure(["gcc"], "/root")


def test_an_archive_is_as_old_as_the_newest_of_its_indexes() -> None:
    indexes = {"9/a/os": 100, "9/b/os": 300}
    files = {f"{path}/repodata/repomd.xml": REPOMD.format(time) for path, time in indexes.items()}
    assert release_time(REPOSITORIES, lambda path: files[path].encode()) == 300


@pytest.mark.parametrize("text", ["", "<repomd/>", REPOMD.format("yesterday")])
def test_an_index_without_a_date_is_told(text: str) -> None:
    with pytest.raises(LookupFailed, match=r"`9/a/os/repodata/repomd\.xml` has no date"):
        release_time(REPOSITORIES, lambda _path: text.encode())


KEY = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: GnuPG v2\n\nkey\n"
KNOWN = hashlib.sha256(KEY.replace(b"Version: GnuPG v2\n", b"")).hexdigest()


@pytest.mark.parametrize("sha256", [KNOWN, digest("another")])
def test_nvidias_key_is_known_by_its_hash(tmp_path: Path, sha256: str) -> None:
    repositories = {
        "rhel9": NvidiaRepository("rhel9", "D42D0685.pub", "Dockerfiles", sha256=sha256)
    }
    nvidia = NvidiaDnf(
        repositories,
        NvidiaMirror("http://mirror.example", None, lambda _path: KEY),
        lambda release: (release, {}),
        tmp_path,
    )
    if sha256 == KNOWN:
        repository = nvidia.repository("rhel9", "arm64")
        assert repository.paths == ("cuda/repos/rhel9/sbsa",)
        assert repository.key
        assert repository.key.read_bytes() == KEY
    else:
        with pytest.raises(LookupFailed, match="is not NVIDIA's key") as error:
            nvidia.repository("rhel9", "arm64")
        assert KNOWN in error.value.message


def test_nvidias_key_is_downloaded_once(tmp_path: Path) -> None:
    paths: list[str] = []

    def read(path: str) -> bytes:
        paths.append(path)
        return KEY

    nvidia = NvidiaDnf(
        {"rhel9": NvidiaRepository("rhel9", "D42D0685.pub", "Dockerfiles", sha256=KNOWN)},
        NvidiaMirror("http://mirror.example", None, read),
        lambda release: (release, {}),
        tmp_path,
    )
    keys = {nvidia.repository("rhel9", arch).key for arch in ("amd64", "arm64", "amd64")}
    assert [key.read_bytes() for key in keys if key] == [KEY]
    assert paths == ["cuda/repos/rhel9/x86_64/D42D0685.pub"]


@dataclass
class RefusingBackend(FakeBackend):
    """A backend whose package manager refuses everything, with a reason."""

    output: str = ""

    def rpm_manager_in_base(self, base: str, repositories: Repositories) -> PackageManager:
        return self

    def closure(self, packages: Sequence[str], root: str) -> tuple[Artifact, ...]:
        raise LookupFailed("`dnf` failed", details=[self.output])

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        return self.closure(packages, "")


@pytest.mark.parametrize(
    ("output", "versions", "message"),
    [
        (
            "dnf: no package matches: libcublas-12-4-12.4.5.8-1",
            {"libcublas": "12.4.5.8"},
            "`cuda/repos/rhel9/x86_64` does not have `libcublas-12-4-12.4.5.8-1`",
        ),
        (
            "dnf: repomd.xml GPG signature verification error: Bad GPG signature",
            {"libcublas": "12.4.5.8"},
            "does not take `cuda/repos/rhel9/x86_64`",
        ),
        ("", {}, "`redistrib_12.4.1.json` has no `libcublas`"),
    ],
)
def test_what_dnf_lacks_is_not_told_as_a_wrong_signature(
    tmp_path: Path, output: str, versions: dict[str, str], message: str
) -> None:
    nvidia = NvidiaDnf(
        {"rhel9": NvidiaRepository("rhel9", "D42D0685.pub", "Dockerfiles", sha256=KNOWN)},
        NvidiaMirror("http://mirror.example", None, lambda _path: KEY),
        lambda release: (f"redistrib_{release}.json", versions),
        tmp_path,
    )
    base = PackageSet(ImageRequest("amd64", "rockylinux9", "rocky@sha256:0"), ())
    backend = RefusingBackend(tmp_path, Archive(), output=output)
    packages = (PackageSpec("libcublas-12-4"),)
    request = RepositoryRequest("nvidia-dnf", "amd64", "rhel9", packages, "12.4.1")
    with pytest.raises(LookupFailed) as caught:
        nvidia.resolve(request, ResolvedSets(backend, load_facts(), {"base": base}))
    assert message in caught.value.message


SUMMARY = """\
<stream><message type="info">Loading repository data...</message><install-summary><to-install>
<solvable type="package" name="gcc15-c++" edition="15.2-1" arch="x86_64" summary="x"/>
</to-install></install-summary></stream>
"""
PRIMARY = """\
<metadata xmlns="http://linux.duke.edu/metadata/common"><package type="rpm">
<name>gcc15-c++</name><arch>x86_64</arch><version epoch="0" ver="15.2" rel="1"/>
<checksum type="sha256" pkgid="YES">{}</checksum><size package="9" installed="30"/>
<location href="x86_64/gcc15.rpm"/></package></metadata>
"""


def zypper(tmp_path: Path, summary: str = SUMMARY) -> Zypper:
    repositories = Repositories(
        "opensuse16", "opensuse", "http://mirror.example", ("oss",), "amd64", "16.0"
    )

    def run(command: Sequence[str]) -> str:
        if "refresh" in command:
            index = tmp_path / "zypper/cache/raw/1/repodata/x-primary.xml.gz"
            index.parent.mkdir(parents=True)
            index.write_bytes(gzip.compress(PRIMARY.format(digest("gcc")).encode()))
        return summary if "install" in command else ""

    return Zypper(tmp_path / "zypper", repositories, run)


def test_zyppers_answer_is_looked_up_in_its_indexes(tmp_path: Path) -> None:
    (gcc,) = zypper(tmp_path).closure(["gcc15-c++"], "/root")
    assert (gcc.path, gcc.version, gcc.size) == ("oss/x86_64/gcc15.rpm", "15.2-1", 9)
    assert gcc.sha256 == digest("gcc")


@pytest.mark.parametrize(
    ("summary", "problem"),
    [(SUMMARY.replace("15.2-1", "15.3-1"), r"no index has .*gcc15-c\+\+"), ("", "is not XML")],
)
def test_an_answer_of_zypper_that_no_index_knows_is_told(
    tmp_path: Path, summary: str, problem: str
) -> None:
    with pytest.raises(LookupFailed, match=problem):
        zypper(tmp_path, summary).closure(["gcc15-c++"], "/root")
