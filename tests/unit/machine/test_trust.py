from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from envmatrix.errors import ConfigurationError
from envmatrix.machine.cache import record_checkout
from envmatrix.machine.configuration import configured_trust
from envmatrix.machine.trust import compiler_caches, group_directories, group_of, is_needed

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


def used_by(tmp_path: Path, *roots: Path) -> Path:
    """Return the directory of a group that checkouts used."""
    group = group_of(tmp_path / "any", {}).directory(tmp_path / "cache")
    (group / "ccache").mkdir(parents=True)
    for root in roots:
        record_checkout(group, root)
    return group


def test_the_caches_of_a_group_are_needed_as_long_as_a_checkout_that_used_them_is_there(
    tmp_path: Path,
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    group = used_by(tmp_path, one, other)
    assert not is_needed(group)
    other.mkdir()
    assert is_needed(group)


def test_caches_that_nobody_noted_to_use_may_be_needed(tmp_path: Path) -> None:
    assert is_needed(used_by(tmp_path))


def test_a_checkout_is_noted_where_its_group_is_its_own(tmp_path: Path) -> None:
    cache, root = tmp_path / "cache", tmp_path / "checkout"
    own = group_of(root, {})
    assert own.register(cache, root) == own.directory(cache)
    assert own.register(cache, root, "vendor") == own.directory(cache, "vendor")
    assert not any(map(is_needed, group_directories(cache)))
    root.mkdir()
    assert [is_needed(path) for path in group_directories(cache)] == [True, True]


def test_a_group_with_a_name_is_needed_whatever_checkouts_are_gone(tmp_path: Path) -> None:
    named = group_of(tmp_path / "gone", {}, chosen="ours").register(tmp_path, tmp_path / "gone")
    (named / "ccache").mkdir(parents=True)
    assert is_needed(named)


def test_machines_share_objects_within_groups_that_have_a_name(tmp_path: Path) -> None:
    one, other = group_of(tmp_path / "one", {}, "ours"), group_of(tmp_path / "other", {}, "ours")
    assert one.shared_name() == other.shared_name()
    assert one.shared_name("vendor") not in (None, one.shared_name())
    assert group_of(tmp_path / "one", {}, "theirs").shared_name() != one.shared_name()
    assert group_of(tmp_path / "one", {}).shared_name() is None


def test_the_notes_of_a_group_are_no_cache_of_it(tmp_path: Path) -> None:
    group = used_by(tmp_path, tmp_path / "one")
    assert [cache.name for cache in compiler_caches(group)] == ["ccache"]
    assert [*group_directories(tmp_path / "cache")] == [group]
