from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from envmatrix.errors import ConfigurationError
from envmatrix.store.configuration import configured_trust
from envmatrix.store.trust import group_of

CACHE = Path("/cache")


def directory(root: Path, declared: Mapping[str, Sequence[Path]], **others: str | None) -> Path:
    part = others.pop("part", None)
    return group_of(root, declared, **others).directory(CACHE, part)


def test_a_repository_is_a_group_of_its_own(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert directory(one, {}) == directory(tmp_path / "x/../one", {})
    assert directory(one, {}) != directory(other, {})


def test_checkouts_that_the_user_declares_share_wherever_they_are(tmp_path: Path) -> None:
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    declared = {"ours": (one, other)}
    assert directory(one, declared) == directory(other, declared)
    assert directory(third, declared) != directory(one, declared)
    elsewhere = {"ours": (Path("/elsewhere"),)}
    assert directory(Path("/elsewhere"), elsewhere) == directory(one, declared)


def test_a_machine_may_be_of_one_group(tmp_path: Path) -> None:
    chosen = directory(tmp_path / "one", {}, chosen="ours")
    assert chosen == directory(tmp_path / "other", {"b": (tmp_path / "other",)}, chosen="ours")
    assert chosen == directory(tmp_path / "third", {"ours": (tmp_path / "third",)})


def test_no_repository_has_the_group_of_a_name_by_its_own_name(tmp_path: Path) -> None:
    assert directory(tmp_path, {}) != directory(tmp_path, {}, chosen=str(tmp_path))


def test_a_group_within_a_repository_is_narrower(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    whole = directory(one, {})
    assert directory(one, {}, part="vendor") != whole
    assert directory(one, {}, part="vendor") != directory(other, {}, part="vendor")
    assert directory(one, {}, part="vendor") == directory(one, {}, part="vendor")


def test_a_checkout_is_in_one_group(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is in the trust groups `a` and `b`"):
        group_of(tmp_path, {"a": (tmp_path,), "b": (tmp_path,)})


def test_groups_are_read_from_the_users_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert configured_trust(file) == {}
    file.write_text('[trust]\nours = ["/one", "/two"]\n')
    assert configured_trust(file) == {"ours": (Path("/one"), Path("/two"))}


@pytest.mark.parametrize(
    "text",
    ["trust = 1", "[trust]\na = 1", '[trust]\na = ["relative"]', '[trust]\na = ["/x\\u0000"]'],
)
def test_groups_are_lists_of_directories(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="trust"):
        configured_trust(file)
