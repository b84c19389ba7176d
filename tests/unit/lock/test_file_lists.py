"""Which package has what a build did not find, by an archive's list of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.lock.file_lists import find_packages

LIST = """\
usr/bin/gperf                                           devel/gperf
usr/include/hwloc.h                                     libdevel/libhwloc-dev
usr/include/hwloc/hwloc.h                               libdevel/other-dev
usr/include/x86_64-linux-gnu/gmp.h                      libdevel/libgmp-dev
usr/include/infiniband/verbs.h                          libdevel/libibverbs-dev
usr/include/zlib.h                                      libdevel/zlib1g-dev-long,libdevel/zlib1g-dev
usr/lib/x86_64-linux-gnu/cmake/fmt/fmt-config.cmake     libdevel/libfmt-dev
usr/lib/x86_64-linux-gnu/cmake/GTest/GTestConfig.cmake  libdevel/libgtest-dev
usr/lib/cmake/other/Modules/GTestConfig.cmake           libdevel/lib-dev
usr/lib/x86_64-linux-gnu/libnuma.so                     libdevel/libnuma-dev
usr/lib/x86_64-linux-gnu/libnuma.so.1                   libs/libnuma1
usr/lib/x86_64-linux-gnu/pkgconfig/hwloc.pc             libdevel/libhwloc-dev
usr/share/doc/gperf                                     devel/wrong
usr/include/odd.h                                       libdevel/Odd$(touch x)
"""


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("hwloc", "libhwloc-dev"),
        ("hwloc.h", "libhwloc-dev"),
        ("gmp.h", "libgmp-dev"),
        ("infiniband/verbs.h", "libibverbs-dev"),
        ("zlib.h", "zlib1g-dev"),
        ("fmt", "libfmt-dev"),
        ("gtest", "libgtest-dev"),
        ("numa", "libnuma-dev"),
        ("libnuma.so.1", "libnuma-dev"),
        ("gperf", "gperf:native"),
        ("odd.h", None),
        ("own.h", None),
        ("../gperf", None),
        ("hwloc(", None),
    ],
)
def test_a_package_is_named_as_a_library_declares_it(name: str, package: str | None) -> None:
    assert find_packages([name], LIST.splitlines()).get(name) == package


@given(st.lists(st.text(max_size=12), max_size=4), st.lists(st.text(max_size=40), max_size=6))
def test_any_names_and_lines_are_read(names: list[str], lines: list[str]) -> None:
    packages = find_packages(names, [*lines, *LIST.splitlines()])
    assert packages.keys() <= {*names}
    assert all(" " not in package for package in packages.values())
