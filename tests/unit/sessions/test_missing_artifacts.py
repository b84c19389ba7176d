from __future__ import annotations

import pytest

from envmatrix.sessions.missing_artifacts import Kind, no_artifact

MADE: dict[str, Kind] = {
    "CMakeFiles": "directory",
    "CMakeFiles/x.dir/a.cpp.o": "binary",
    "CMakeFiles/3.25/probe": "binary",
    "build.ninja": "file",
    "lib": "directory",
    "lib/libvector.so": "link",
    "lib/libvector.so.1.0": "binary",
    "app": "binary",
}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("libvector.so*", "did you mean `lib/libvector.so.1.0`?"),
        ("lib/libvektor.so.1.0", "did you mean `lib/libvector.so.1.0`?"),
        ("lib/libvector.so", "`lib/libvector.so` is a link, not a file: write `lib/libvector.so*`"),
        ("lib", "`lib` is a directory: write `lib/*`"),
        ("*.dll", "the build made `lib/libvector.so.1.0`, `app`"),
    ],
)
def test_what_was_expected_is_told_with_what_there_is(pattern: str, said: str) -> None:
    error = no_artifact([pattern], MADE)
    assert error.message == f"the build made none of the library's `artifacts`: `{pattern}`"
    assert error.hint is not None
    assert said in error.hint
    assert "probe" not in error.hint


def test_a_build_of_headers_alone_is_told_to_have_no_artifacts() -> None:
    error = no_artifact(["*.so"], {"build.ninja": "file"})
    assert "leave `artifacts` out" in str(error.hint)


def test_of_many_files_some_are_named_and_the_others_counted() -> None:
    error = no_artifact(["x"], {f"program{number}": "binary" for number in range(9)})
    assert str(error.hint).endswith("`program4` and 4 more")
