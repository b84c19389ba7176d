"""Bases, by a program in the place of mmdebstrap."""

from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.engine.bases import bootstrap
from envmatrix.errors import EngineError
from envmatrix.lock.model import PackageSet, Request
from envmatrix.store.artifacts import Store


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: unable to pick chroot mode automatically (use --mode for manual selection)", "uidmap"),
        ("E: arm64 can neither be executed natively nor via qemu", "qemu-aarch64"),
    ],
)
def test_what_mmdebstrap_lacks_is_told_with_its_remedy(
    said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    base = PackageSet(Request("bootstrap", "arm64", ("apt",), "bookworm"), ())
    with pytest.raises(EngineError, match="`mmdebstrap` failed with exit code 1") as told:
        bootstrap(Store(tmp_path / "store"), base, 0, tmp_path / "base")
    assert hint in str(told.value.hint)
    assert told.value.details == (said,)
    assert not (tmp_path / "base").exists()
