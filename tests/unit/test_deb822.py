from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.deb822 import dpkg_key, paragraphs
from envmatrix.errors import LookupFailed

STATUS = """\
Package: adduser
architecture: all

# a comment
Package: libc6
Description: C library
 of every program
"""

SIGNED = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

Origin: Debian
Date: Thu, 01 Jan 2026 00:00:00 UTC
-----BEGIN PGP SIGNATURE-----

iQIz
-----END PGP SIGNATURE-----
"""


def test_paragraphs_have_fields_by_name_in_any_case() -> None:
    adduser, libc = paragraphs(STATUS, "x")
    assert adduser["Architecture"] == "all"
    assert libc["Description"] == "C library\n of every program"
    assert "Architecture" not in libc


def test_a_signed_file_is_what_was_signed() -> None:
    (release,) = paragraphs(SIGNED, "x")
    assert dict(release) == {"Origin": "Debian", "Date": "Thu, 01 Jan 2026 00:00:00 UTC"}


def test_the_name_of_a_file_is_not_that_file() -> None:
    assert list(paragraphs(__file__, "x")) == []


LINES = st.sampled_from(
    [
        "Package: a",
        " more",
        "\t",
        "#",
        ":",
        "a b: c",
        "\x00: b",
        *(line for line in SIGNED.splitlines() if line.startswith("-----")),
    ]
)


@given(st.lists(LINES | st.text(max_size=8)).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(LookupFailed):
        assert all("Package" in fields or fields for fields in paragraphs(text, "x"))


def test_what_is_no_control_file_is_told_with_its_origin() -> None:
    with pytest.raises(LookupFailed, match=r"^the index is not a control file of Debian's: "):
        list(paragraphs("Package: a\n\x1e0", "the index"))


PART = "0123456789abcdefghijklmnopqrstuvwxyz.+~"
versions = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", *(f"{epoch}:" for epoch in range(10))]),
    st.integers(0, 9),
    st.text(PART, max_size=6),
    st.just("") | st.text(PART, min_size=1, max_size=4).map("-{}".format),
)


@given(versions, versions)
def test_versions_have_one_order(one: str, other: str) -> None:
    first, second = dpkg_key(one), dpkg_key(other)
    assert [first < second, first == second, first > second].count(True) == 1
    assert (first < second) == (second > first)


ORDER = ["1.0~rc1-1", "1.0", "1.0-1~bpo1", "1.0-1", "1.0-1+b1", "1.0-1.1", "1.0a-1", "1.0+a-1",
         "1.9-1", "1.10-1", "1:0.1-1"]  # fmt: skip


def test_versions_are_in_the_order_of_the_policy() -> None:
    shuffled = [*ORDER[5:], *ORDER[:5]]
    assert sorted(shuffled, key=dpkg_key) == ORDER


@pytest.mark.skipif(not shutil.which("dpkg"), reason="no dpkg here")
def test_versions_are_in_the_order_of_dpkg() -> None:
    script = " && ".join(
        f"dpkg --compare-versions '{one}' lt '{two}'" for one, two in pairwise(ORDER)
    )
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0


@given(st.text() | st.sampled_from(["1" * 5000, "1_0", "1:", "\x00"]), versions)
def test_whatever_is_no_version_is_below_all_versions(text: str, version: str) -> None:
    is_version, _ = dpkg_key(text)
    assert is_version or dpkg_key(text) < dpkg_key(version)
