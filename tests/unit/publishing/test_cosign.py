"""What is told of signatures before any is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.loopback import Handler, serving

from envmatrix.errors import Absent
from envmatrix.matrix.model import Signer
from envmatrix.publishing.cosign import Cosign


class EmptyRegistry(Handler):
    """A registry that has nothing."""

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/v2/" else 404)

    do_HEAD = do_GET  # noqa: N815 -- as the server calls it


def test_an_image_that_the_registry_has_no_more_is_not_called_unsigned(tmp_path: Path) -> None:
    (tmp_path / "cosign.pub").touch()
    cosign = Cosign(Signer(key="cosign.pub"), tmp_path)
    with (
        serving(EmptyRegistry) as url,
        pytest.raises(Absent, match="registry no longer has") as caught,
    ):
        cosign.verify(f"{url.removeprefix('http://')}/team/images@sha256:{'1' * 64}")
    assert "`envmatrix push`" in str(caught.value.hint)
