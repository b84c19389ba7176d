from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from envmatrix.errors import LookupFailed
from envmatrix.facts.model import load_facts
from envmatrix.lock.model import Artifact
from envmatrix.lock.resolvers.apt import Apt, UnknownPackages

MIRROR = "http://mirror.example/debian"
SHA256 = "0123456789abcdef" * 4


def apt_that_prints(
    directory: Path, *lines: str, suite: str = "bookworm"
) -> tuple[Apt, list[Sequence[str]]]:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return "".join(f"{line}\n" for line in lines)

    return Apt(directory, load_facts().archive(suite, "arm64"), MIRROR, run), commands


@pytest.mark.parametrize(
    ("line", "path", "version"),
    [
        (
            (
                f"'{MIRROR}/pool/main/c/cmake/cmake_3.25.1-1_arm64.deb' cmake_3.25.1-1_arm64.deb "
                f"7 SHA256:{SHA256}"
            ),
            "pool/main/c/cmake/cmake_3.25.1-1_arm64.deb",
            "3.25.1-1",
        ),
        (
            (
                f"'{MIRROR}/pool/main/g/gcc/cmake_12%2bb1%7ert-1_arm64.deb' "
                f"cmake_4%3a12+b1~rt-1_arm64.deb 7 SHA256:{SHA256}"
            ),
            "pool/main/g/gcc/cmake_12+b1~rt-1_arm64.deb",
            "4:12+b1~rt-1",
        ),
    ],
    ids=["plain", "epoch"],
)
def test_a_printed_line_is_an_artifact(tmp_path: Path, line: str, path: str, version: str) -> None:
    apt, _ = apt_that_prints(tmp_path, "Reading package lists...", line)
    assert apt.closure(["cmake"]) == (Artifact("debian", path, "cmake", version, 7, SHA256),)


@pytest.mark.parametrize(
    ("suite", "origin"), [("noble", "ubuntu-ports"), ("resolute", "ubuntu"), ("trixie", "debian")]
)
def test_an_artifact_is_of_the_archive_that_has_its_suite_and_architecture(
    tmp_path: Path, suite: str, origin: str
) -> None:
    line = f"'{MIRROR}/pool/a' a_1_arm64.deb 1 SHA256:{SHA256}"
    apt, _ = apt_that_prints(tmp_path, line, suite=suite)
    assert [item.origin for item in apt.exactly(["a"])] == [origin]


def with_arm64(directory: Path, *lines: str) -> tuple[Apt, list[Sequence[str]]]:
    """Return apt of amd64 with packages of arm64, for which Ubuntu has an archive of its own."""
    arm64, commands = apt_that_prints(directory, *lines, suite="noble")
    own = load_facts().archive("noble", "amd64")
    foreign = ((arm64.archive, "http://mirror.example/ports"),)
    return Apt(directory, own, "http://mirror.example/ubuntu", arm64.run, foreign), commands


def test_two_architectures_are_read_from_the_archive_of_each(tmp_path: Path) -> None:
    apt, commands = with_arm64(tmp_path)
    apt.update()
    assert "APT::Architecture=amd64" in commands[0]
    assert "APT::Architectures=amd64,arm64" in commands[0]
    lines = (tmp_path / "sources.list").read_text().splitlines()
    assert [line.split()[1:4:2] for line in lines] == [
        ["[arch=amd64", "http://mirror.example/ubuntu"],
        ["[arch=arm64", "http://mirror.example/ports"],
    ]
    assert all(
        "signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg]" in line for line in lines
    )


def test_a_package_of_another_architecture_is_of_the_archive_that_has_that(tmp_path: Path) -> None:
    lines = (
        f"'http://mirror.example/{archive}/pool/z_1_{arch}.deb' z_1_{arch}.deb 1 SHA256:{SHA256}"
        for archive, arch in (("ubuntu", "amd64"), ("ports", "arm64"))
    )
    apt, _ = with_arm64(tmp_path, *lines)
    assert [(item.origin, item.filename) for item in apt.closure(["z", "z:arm64"])] == [
        ("ubuntu", "z_1_amd64.deb"),
        ("ubuntu-ports", "z_1_arm64.deb"),
    ]


def test_a_package_that_would_replace_the_one_of_the_image_is_refused(tmp_path: Path) -> None:
    apt, _ = with_arm64(tmp_path)

    def fail(command: Sequence[str]) -> str:
        assert "--no-remove" in command
        message = "E: Packages need to be removed but remove is disabled."
        raise LookupFailed("`apt-get install` failed", details=[message])

    with pytest.raises(LookupFailed, match="tk:arm64 cannot be installed beside") as caught:
        replace(apt, run=fail).closure(["z", "tk:arm64"], "Package: z\n")
    assert "Multi-Arch: same" in str(caught.value.hint)


UNMET = """\
Reading package lists...
The following packages have unmet dependencies:
 libmpi-dev:arm64 : Depends: libevent-dev:arm64 but it is not installable
 libpmix2:arm64 : Depends: libmunge2:arm64 (>= 0.5.8) but it is not installable
                  Recommends: other
E: Unable to correct problems, you have held broken packages.
"""


def test_packages_that_cannot_be_installed_together_are_named(tmp_path: Path) -> None:
    apt, _ = with_arm64(tmp_path)

    def fail(_: Sequence[str]) -> str:
        raise LookupFailed("`docker` failed with exit code 100", details=UNMET.splitlines())

    message = "cannot install `libmpi-dev:arm64`, `libpmix2:arm64` with the other packages"
    with pytest.raises(LookupFailed, match=message) as caught:
        replace(apt, run=fail).closure(["libmpi-dev", "libmpi-dev:arm64"])
    assert [*caught.value.details] == UNMET.splitlines()[1:]
    assert "Multi-Arch: same" in str(caught.value.hint)


def test_packages_of_one_architecture_may_replace_those_of_the_image(tmp_path: Path) -> None:
    apt, _ = with_arm64(tmp_path)
    commands = []

    def say(command: Sequence[str]) -> str:
        commands.append(command)
        return "0 upgraded, 0 newly installed"

    replace(apt, run=say).closure(["z"], "Package: y\n")
    assert [command for command in commands if "install" in command]
    assert not [command for command in commands if "--no-remove" in command]


def test_artifacts_come_sorted_whatever_apt_prints_first(tmp_path: Path) -> None:
    lines = [f"'{MIRROR}/pool/{n}' {n}_1_all.deb 1 SHA256:{SHA256}" for n in ("b", "a", "c")]
    apt, _ = apt_that_prints(tmp_path, *lines)
    assert [item.name for item in apt.exactly(["a", "b", "c"])] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "url", ["http://other.example/debian/pool/a_1_all.deb", f"{MIRROR}/pool/../../a_1_all.deb"]
)
def test_a_file_from_elsewhere_is_refused(tmp_path: Path, url: str) -> None:
    apt, _ = apt_that_prints(tmp_path, f"'{url}' a_1_all.deb 1 SHA256:{SHA256}")
    with pytest.raises(LookupFailed, match=rf"`{url}.*not under its own mirror"):
        apt.closure(["a"])


def test_where_everything_is_installed_nothing_is_needed(tmp_path: Path) -> None:
    apt, _ = apt_that_prints(tmp_path, "0 upgraded, 0 newly installed")
    assert apt.closure(["cmake"], "Package: cmake\n") == ()


def test_no_package_is_an_error_that_names_what_was_asked(tmp_path: Path) -> None:
    apt, _ = apt_that_prints(tmp_path, "0 upgraded, 0 newly installed")
    with pytest.raises(LookupFailed, match="apt prints no package for nonesuch in bookworm"):
        apt.exactly(["nonesuch"])


def test_apt_reads_nothing_of_this_machine_but_its_own_directory(tmp_path: Path) -> None:
    apt, commands = apt_that_prints(tmp_path)
    apt.update()
    (command,) = commands
    assert command[0] == "apt-get"
    assert command[-3:] == ["update", "--error-on=any", "-q"]
    for option in (
        f"Dir::State={tmp_path}",
        f"Dir::State::status={tmp_path}/empty-status",
        f"Dir::Cache={tmp_path}",
        f"Dir::Etc::sourcelist={tmp_path}/sources.list",
        "Dir::Etc::sourceparts=/dev/null",
        "APT::Architecture=arm64",
        "APT::Architectures=arm64",
    ):
        assert option in command
    assert (tmp_path / "sources.list").read_text() == (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        f"{MIRROR} bookworm main contrib non-free\n"
    )


def test_a_name_of_no_package_is_no_expression_that_matches_others(tmp_path: Path) -> None:
    apt, commands = apt_that_prints(tmp_path, "")
    with pytest.raises(LookupFailed):
        apt.closure(["g++-14"])
    assert all("APT::Cmd::Pattern-Only=true" in command for command in commands)


def test_a_distribution_has_its_own_keyring_and_sections(tmp_path: Path) -> None:
    apt, _ = apt_that_prints(tmp_path, suite="noble")
    apt.update()
    assert (tmp_path / "sources.list").read_text() == (
        "deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] "
        f"{MIRROR} noble main universe restricted multiverse\n"
    )


def test_what_is_installed_is_what_the_given_status_says(tmp_path: Path) -> None:
    line = f"'{MIRROR}/pool/a' a_1_all.deb 1 SHA256:{SHA256}"
    apt, commands = apt_that_prints(tmp_path, line)
    apt.closure(["a"], "Package: b\n")
    apt.closure(["a"])
    assert (tmp_path / "status").read_text() == "Package: b\n"
    assert f"Dir::State::status={tmp_path}/status" in commands[0]
    assert f"Dir::State::status={tmp_path}/status" not in commands[1]


def test_the_newest_release_file_dates_the_suite(tmp_path: Path) -> None:
    apt, _ = apt_that_prints(tmp_path)
    apt.update()
    for name, date in (
        ("a_InRelease", "Thu, 01 Jan 1970 00:01:00 UTC"),
        ("b_Release", "Thu, 01 Jan 1970 00:02:00 +0000"),
        ("c_Packages", "Thu, 01 Jan 1970 00:03:00 UTC"),
    ):
        (tmp_path / "lists" / name).write_text(f"Suite: stable\nDate: {date}\nMD5Sum:\n")
    assert apt.release_time == 120


@pytest.mark.parametrize("text", ["", "Date: yesterday\n"])
def test_a_suite_without_a_date_is_an_error(tmp_path: Path, text: str) -> None:
    apt, _ = apt_that_prints(tmp_path)
    apt.update()
    (tmp_path / "lists/a_InRelease").write_text(text)
    with pytest.raises(LookupFailed, match="no date in the Release file of bookworm"):
        _ = apt.release_time


def test_packages_that_a_suite_lacks_are_told_with_similar_ones(tmp_path: Path) -> None:
    apt, _ = apt_that_prints(tmp_path)
    errors = [
        "E: Unable to locate package libfmt9",
        "E: Package 'libfmtdev' has no installation candidate",
        "E: Unable to locate package nothing-like-this",
        "Package awk is a virtual package provided by:",
        "  mawk 1.3.4.20200120-3.1",
        "  gawk 1:5.2.1-2",
        "You should explicitly select one to install.",
        "E: Package 'awk' has no installation candidate",
    ]

    def run(command: Sequence[str]) -> str:
        if "pkgnames" in command:
            return "libfmt10\nlibfmt-dev\nlibmt9-extra\ncmake\n"
        raise LookupFailed("`apt-get` failed with exit code 100", details=errors)

    with pytest.raises(UnknownPackages) as caught:
        replace(apt, run=run).closure(["libfmt9", "libfmtdev", "cmake"])
    assert [(problem.message, problem.hint) for problem in caught.value.problems] == [
        ("bookworm has no package `libfmt9`", "did you mean `libfmt10`?"),
        ("bookworm has no package `libfmtdev`", "did you mean `libfmt-dev`?"),
        ("bookworm has no package `nothing-like-this`", None),
        (
            "bookworm has no package `awk`",
            "it is a virtual package: name one that provides it, `mawk`, `gawk`",
        ),
    ]
    assert caught.value.exit_code == 5


def test_other_failures_of_apt_stay_as_they_are(tmp_path: Path) -> None:
    apt, _ = apt_that_prints(tmp_path)

    def fail(_: Sequence[str]) -> str:
        raise LookupFailed(
            "failed", details=["E: Unable to correct problems, you have held broken"]
        )

    with pytest.raises(LookupFailed, match=r"^failed$"):
        replace(apt, run=fail).closure(["a"])
