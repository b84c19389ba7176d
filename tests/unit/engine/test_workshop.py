from __future__ import annotations

import pytest

from envmatrix.engine.workshop import check_architecture
from envmatrix.errors import LookupFailed

STATUS = """\
Package: adduser
Architecture: all

Package: libc6
Status: install ok installed
Maintainer: Somebody
Architecture: {arch}
Multi-Arch: same
Description: C library
 of every program

Package: zlib1g
Architecture: {arch}
"""


def test_an_image_for_the_architecture_that_was_asked_for_is_taken() -> None:
    check_architecture("name@sha256:0", "arm64", STATUS.format(arch="arm64"))


def test_an_image_for_another_architecture_is_refused() -> None:
    with pytest.raises(LookupFailed) as caught:
        check_architecture("name@sha256:0", "arm64", STATUS.format(arch="amd64"))
    assert str(caught.value) == "the base `name@sha256:0` is for amd64, not for arm64"
    assert caught.value.hint is not None
