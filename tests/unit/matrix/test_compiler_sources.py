"""Rules of `sources` for compilers that operating systems do not have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes import lock_of, matrix_of

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.systems import SignedArchive
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.lock.model import SystemRequest, describe
from envmatrix.lock.requests import all_requests
from envmatrix.matrix.expand import expand
from envmatrix.matrix.model import Matrix

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
RULE = {
    "source": "compilers",
    "origin": "compilers-ours",
    "suite": "llvm-{suite}-{major}",
    "path": "{suite}",
    "key": "ours.asc",
    "fingerprint": FINGERPRINT,
    "compiler": "clang-17",
}
AXES = 'cuda: ["12.4"]\nos: [debian12]\narch: [x86_64, aarch64]\ncompiler: [default, clang-17]'
ARCHIVE = SignedArchive("compilers-ours", "llvm-bookworm-17", "ours.asc", FINGERPRINT, "bookworm")


def expanded(*rules: object, compilers: object = ("default", "clang-17"), **rest: object) -> Matrix:
    axes = {"cuda": ["12.4"], "os": ["debian12", "debian13"], "arch": ["x86_64", "aarch64"]}
    content = {
        "version": "1",
        "sm": ["75"],
        "axes": {**axes, "compiler": compilers},
        "sources": list(rules),
        **rest,
    }
    return expand(parse_document(json.dumps(content).encode(), "matrix.yaml"), load_facts(), {})


def problems(*rules: object, compilers: object = ("default", "clang-17")) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        expanded(*rules, compilers=compilers)
    return [problem.message for problem in caught.value.problems]


def test_cells_have_compilers_that_a_rule_has_a_repository_for() -> None:
    def systems(*rules: object) -> set[str]:
        return {cell.os for cell in expanded(*rules).cells if cell.compiler == "clang-17"}

    assert systems() == {"debian13"}
    assert systems(RULE) == {"debian12", "debian13"}
    assert systems({**RULE, "os": "debian12"}) == {"debian12", "debian13"}
    assert load_facts().os["debian12"].clang == ("13", "14", "15", "16", "19")


def test_selectors_mean_them_as_well() -> None:
    matrix = expanded(RULE, compilers=["clang-newest"])
    assert {cell.compiler for cell in matrix.cells if cell.os == "debian12"} == {"clang-17"}


def test_the_source_of_cuda_is_chosen_by_other_rules() -> None:
    matrix = expanded(RULE, {"source": "redist"})
    assert {cell.toolchain.cuda.source for cell in matrix.cells} == {"redist"}


def test_the_archive_is_part_of_the_request_for_the_compiler_alone(tmp_path: Path) -> None:
    rule = json.dumps(RULE)
    matrix = matrix_of(tmp_path / "repository", AXES, f"sources: [{rule}]\n")
    requests = all_requests(matrix, shipped_recipes())
    with_archives = {
        key: row.archives
        for key, row in requests.items()
        if isinstance(row, SystemRequest) and row.archives
    }
    assert with_archives == {
        f"debian12-{name}-clang17": (ARCHIVE,)
        for name in ("amd64-devel-gcc12", "amd64-cross-gcc12-arm64", "arm64-devel-gcc12")
    }
    text = dumps(lock_of(matrix, tmp_path / "scratch"))
    assert loads(text).sets["debian12-amd64-devel-gcc12-clang17"].request.archives == (ARCHIVE,)  # type: ignore[union-attr]


def test_a_request_is_described_by_its_suites() -> None:
    request = SystemRequest("apt", "amd64", "bookworm", (), ("base",), (ARCHIVE,))
    assert describe(request) == "apt bookworm llvm-bookworm-17"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": None}, "source `compilers` needs `fingerprint`"),
        ({"origin": "llvm"}, "`sources[0].origin` must be a name that begins with `compilers-`"),
        ({"fingerprint": "0123"}, "`sources[0].fingerprint` must be 40 hexadecimal digits"),
        ({"suite": "llvm-{codename}"}, "`sources[0].suite` must be a path such as"),
        ({"path": "../other"}, "`sources[0].path` must be a path such as"),
        ({"path": "/other"}, "`sources[0].path` must be a path such as"),
        ({"suite": "a" * 90 + "!"}, "`sources[0].suite` must be a path such as"),
        ({"key": "a b"}, "`sources[0].key` must be a path such as"),
        ({"compiler": "gcc-15"}, "`sources[0].compiler` must be a Clang such as `clang-20`"),
        ({"cuda": "12.4"}, "`cuda` has no meaning for source `compilers`"),
        ({"image": f"a/b@sha256:{'0' * 64}"}, "`image` has no meaning for source `compilers`"),
        ({"compiler": ["clang-17", "clang-18"]}, "no cell has compiler `clang-18` from here"),
        ({"os": "debian11"}, "axis `os` has no value `debian11`"),
        ({"source": "redist"}, "`origin` has no meaning for source `redist`"),
    ],
)
def test_a_mistake_in_a_rule_is_told(changes: dict[str, object], message: str) -> None:
    rule = {key: value for key, value in {**RULE, **changes}.items() if value is not None}
    assert any(message in text for text in problems(rule))


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": "abc"},
        {"origin": "ours"},
        {"path": "../x"},
        {"suite": "llvm-{codename}"},
        {"key": "a b"},
        {"key": None},
        {"os": "debian11"},
        {"systems": "debian12"},
        {"compiler": "clang-newest"},
    ],
)
def test_nothing_is_told_that_follows_from_a_mistake_in_a_rule(changes: dict[str, object]) -> None:
    table = {**RULE, "compiler": "clang-12", **changes}  # which no system here has
    rule = {key: value for key, value in table.items() if value is not None}
    (message,) = problems(rule, compilers=["default", "clang-12"])
    assert next(iter(changes)) in message or "debian11" in message


def test_a_rule_that_a_migration_replaces_gives_no_compiler() -> None:
    axes = {"cuda": ["12.4"], "os": ["debian12"], "arch": ["x86_64"], "compiler": ["clang-12"]}
    base = {
        "version": "1",
        "sm": ["75"],
        "axes": axes,
        "sources": [{**RULE, "compiler": "clang-12"}],
    }
    migration = {"reason": "x", "sources": [{"source": "redist"}]}
    document, overlay = (
        parse_document(json.dumps(content).encode(), name)
        for content, name in ((base, "matrix.yaml"), (migration, "matrix.d/a.yaml"))
    )
    assert expand(document, load_facts(), {}).cells
    with pytest.raises(ConfigurationError, match="no cell of the matrix can"):
        expand(document, load_facts(), {}, [overlay])


def test_only_the_major_of_another_name_of_clang_is_suggested() -> None:
    def hint(name: str) -> str | None:
        with pytest.raises(ConfigurationError) as caught:
            expanded({**RULE, "compiler": name})
        return caught.value.problems[0].hint

    assert hint("llvm-17") == "did you mean `clang-17`?"
    assert hint("clang-newest") is None


def test_the_first_rule_for_a_compiler_counts() -> None:
    with pytest.raises(ConfigurationError) as caught:
        expanded(RULE, {**RULE, "origin": "compilers-others"})
    (problem,) = caught.value.problems
    assert problem.message == "no cell has compiler `clang-17` from here"
    assert str(problem.hint).startswith("remove it here: cells have it by the rule at matrix.yaml:")


def test_a_rule_for_systems_that_cannot_have_its_compiler_is_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        expanded(
            {**RULE, "os": "debian13", "compiler": "clang-21"},
            compilers=["default", "clang-21"],
        )
    hints = [problem.hint for problem in caught.value.problems]
    assert "remove it here: no cell on the systems of this rule can have it" in hints
