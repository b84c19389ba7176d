from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import artifact, digest

from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate
from envmatrix.lock.model import FILE, Artifact, Lock, PackageSet, Request, dumps, load, loads

TINY = Lock(
    epoch=1,
    sets={
        "over": PackageSet(
            Request("apt", "amd64", ("cmake",), "bookworm", ("base",)), (artifact("cmake"),)
        ),
        "base": PackageSet(
            Request("bootstrap", "amd64", ("apt",), "bookworm"), (artifact("apt"),), "sha256:1"
        ),
        "there": PackageSet(
            Request("in-image", "amd64", ("nvcc==12.4.*",), below=("base",)),
            (),
            versions={"nvcc": "", "cuda": "12.4.1"},
        ),
        "wheels": PackageSet(Request("pip", "arm64", ("n==1.*",)), (artifact("n", origin="pypi"),)),
    },
    cells={"cuda13.0-debian12-x86_64": ("base", "over", "wheels")},
)

TEXT = """\
{
  "version": 1,
  "epoch": 1,
  "cells": {
    "cuda13.0-debian12-x86_64": [
      "base",
      "over",
      "wheels"
    ]
  },
  "sets": {
    "base": {
      "resolver": "bootstrap",
      "suite": "bookworm",
      "arch": "amd64",
      "packages": [
        "apt"
      ],
      "diff_id": "sha256:1",
      "inputs": "sha256:b4e52ce96b64f99a0904bc02eeabc82f2a20e2314876905c417f5499d690253e",
      "artifacts": [
        "apt 1.0 dde1c722a849"
      ]
    },
    "over": {
      "resolver": "apt",
      "suite": "bookworm",
      "arch": "amd64",
      "packages": [
        "cmake"
      ],
      "below": [
        "base"
      ],
      "artifacts": [
        "cmake 1.0 f46b3fb62986"
      ]
    },
    "there": {
      "resolver": "in-image",
      "arch": "amd64",
      "packages": [
        "nvcc==12.4.*"
      ],
      "below": [
        "base"
      ],
      "found": {
        "cuda": "12.4.1",
        "nvcc": ""
      },
      "artifacts": []
    },
    "wheels": {
      "resolver": "pip",
      "arch": "arm64",
      "packages": [
        "n==1.*"
      ],
      "artifacts": [
        "n 1.0 77b6f2baf1f7"
      ]
    }
  },
  "artifacts": {
"""


def test_the_text_of_a_lock() -> None:
    head, rows = dumps(TINY)[: len(TEXT)], dumps(TINY)[len(TEXT) :]
    assert head == TEXT
    assert rows.splitlines() == [
        *(
            f'    "{digest(name, "1.0")}": {{"origin": "{origin}", "path": '
            f'"pool/{name}_1.0_amd64.deb", "name": "{name}", "version": "1.0", "size": 4}}{comma}'
            for name, origin, comma in (
                ("apt", "debian", ","),
                ("cmake", "debian", ","),
                ("n", "pypi", ""),
            )
        ),
        "  }",
        "}",
    ]
    assert rows.endswith("}\n")


def test_a_lock_of_nothing() -> None:
    assert loads(dumps(Lock(0))) == Lock(0)


WORDS = st.text(min_size=1, max_size=6)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    known = [
        Artifact(
            draw(WORDS),
            draw(WORDS.filter(lambda path: "/" not in path and path != "..")),
            draw(WORDS),
            draw(WORDS),
            draw(st.integers(0, 2**40)),
            digest(str(number)),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    names = draw(st.lists(WORDS, max_size=4, unique=True))
    sets = {
        name: PackageSet(
            Request(
                draw(WORDS),
                draw(WORDS),
                tuple(draw(st.lists(WORDS, max_size=3))),
                draw(st.none() | WORDS),
                tuple(names[:place]),
            ),
            tuple(draw(st.lists(st.sampled_from(known), max_size=3))),
            draw(st.none() | WORDS),
        )
        for place, name in enumerate(names)
    }
    cells = draw(st.dictionaries(WORDS, st.just(tuple(names)), max_size=3))
    return Lock(draw(st.integers(0, 2**32)), sets, cells)


@given(locks())
def test_a_lock_that_is_written_and_read_is_the_same_lock(lock: Lock) -> None:
    assert loads(dumps(lock)) == lock
    assert dumps(loads(dumps(lock))) == dumps(lock)


@given(locks(), st.randoms())
def test_equal_locks_are_equal_bytes(lock: Lock, order: random.Random) -> None:
    sets, cells = list(lock.sets.items()), list(lock.cells.items())
    order.shuffle(sets)
    order.shuffle(cells)
    assert dumps(Lock(lock.epoch, dict(sets), dict(cells))) == dumps(lock)


def test_the_seed_of_hashes_does_not_reach_the_text(tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from envmatrix.lock.model import dumps
from tests.fakes import lock_of, matrix_of
axes = 'cuda: ["13.0"]\\nos: [debian12]\\narch: [x86_64, aarch64]'
home = Path(sys.argv[2])
print(dumps(lock_of(matrix_of(home / "repository", axes), home / "scratch")))
"""
    root = Path(__file__).parents[3]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code, str(root), str(tmp_path / seed)],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root / "generator")},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def refusal(text: str) -> EnvmatrixError:
    with pytest.raises((ConfigurationError, OutOfDate)) as caught:
        loads(text)
    return caught.value


def changed(*path: str, value: object) -> str:
    document = json.loads(dumps(TINY))
    *parents, last = path
    row = document
    for key in parents:
        row = row[key]
    row[last] = value
    return json.dumps(document)


APT = digest("apt", "1.0")


@pytest.mark.parametrize(
    "text",
    [
        dumps(TINY).replace(APT, APT[:12] + "0" * 52),
        dumps(TINY).replace(APT, "0" * 64).replace(APT[:12], "0" * 12),
        changed("artifacts", APT, "size", value=5),
        dumps(TINY)
        .replace('"apt 1.0', '"apt 1.1')
        .replace('"version": "1.0"', '"version": "1.1"', 1),
        changed("sets", "base", "artifacts", value=[]),
        changed("sets", "base", "artifacts", value=["apt 1.0 " + APT[:12]] * 2),
        changed("sets", "base", "diff_id", value="sha256:2"),
        changed("sets", "base", "inputs", value="sha256:2"),
        changed("epoch", value=2),
    ],
)
def test_a_base_that_is_not_what_its_layer_was_made_of_is_out_of_date(text: str) -> None:
    assert text != dumps(TINY)
    error = refusal(text)
    assert isinstance(error, OutOfDate)
    assert error.message == f"`{FILE}` was changed by hand"
    (detail,) = error.details
    assert detail.startswith("`base` is not what its layer was made of")


def test_a_lock_of_an_older_envmatrix_is_read_and_known_to_be_one() -> None:
    document = json.loads(dumps(TINY))
    del document["sets"]["base"]["inputs"]
    lock = loads(json.dumps(document))
    assert not lock.sets["base"].is_sealed
    assert loads(dumps(lock)) == TINY


def test_text_that_is_no_json_is_refused_with_its_place() -> None:
    text = dumps(TINY).replace('"epoch": 1,', '"epoch" 1,')
    (problem,) = refusal(text).problems
    assert str(problem) == f"{FILE}:3:11: not JSON: Expecting ':' delimiter"
    assert problem.hint is not None
    assert problem.hint.endswith("or remove it (`rm matrix.lock.json`) and run `envmatrix lock`")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_out_of_date(version: object) -> None:
    assert isinstance(refusal(changed("version", value=version)), OutOfDate)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "list indices"),
        ("{}", "missing key 'version'"),
        ('{"version": 1}', "missing key 'artifacts'"),
        (f'{{"version": {"1" * 5000}}}', "Exceeds the limit"),
        ("[" * 100_000, "recursion"),
        (changed("epoch", value="1"), "'1' must be a number"),
        (changed("epoch", value=1e999), "inf must be a number"),
        (changed("epoch", value=-1), "-1 must be a number"),
        (changed("epoch", value=True), "True must be a number"),
        (changed("sets", "base", "packages", value="apt"), "'apt' must be a list"),
        (changed("sets", "base", "packages", value=[1]), "1 must be text"),
        (changed("sets", "base", "diff_id", value=5), "5 must be text"),
        (changed("sets", "base", "suite", value=["bookworm"]), "['bookworm'] must be text"),
        (changed("sets", "base", "suite", value=""), "'' must not be empty"),
        (changed("sets", "base", "diff_id", value=""), "'' must not be empty"),
        (changed("sets", "base", "artifacts", value=["x 1 2"]), "missing key 'x 1 2'"),
        (changed("sets", "over", "below", value=["gone"]), "no set 'gone'"),
        (changed("cells", "c", value=["gone"]), "no set 'gone'"),
        (changed("artifacts", "0" * 63, value={"name": "n", "version": "1"}), "is not a sha256"),
        (changed("artifacts", digest("apt", "1.0"), "path", value="/etc"), "leaves its origin"),
        (changed("artifacts", digest("apt", "1.0"), "path", value="a/../b"), "leaves its origin"),
        (changed("artifacts", digest("apt", "1.0"), "size", value=1.5), "1.5 must be a number"),
    ],
)
def test_what_is_no_lock_is_refused_with_the_reason(text: str, why: str) -> None:
    (problem,) = refusal(text).problems
    assert problem.message.startswith(f"`{FILE}` is not a lock: ")
    assert why in problem.message


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner)
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    pairs = list(value.items()) if isinstance(value, dict) else []
    pairs += list(enumerate(value)) if isinstance(value, list) else []
    return [path, *(deeper for key, item in pairs for deeper in places(item, (*path, key)))]


DOCUMENT = json.loads(dumps(TINY))


@given(st.sampled_from(places(DOCUMENT)[1:]), st.none() | st.just(...) | VALUES)
def test_any_change_gives_a_lock_or_a_refusal(path: tuple[str | int, ...], value: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    row = document
    for key in path[:-1]:
        row = row[key]
    if value is ...:
        del row[path[-1]]
    else:
        row[path[-1]] = value
    read_or_refused(json.dumps(document))


@given(st.integers(0, len(TEXT)), st.integers(0, 9), st.text(max_size=3))
def test_any_damage_gives_a_lock_or_a_refusal(start: int, length: int, put: str) -> None:
    text = dumps(TINY)
    read_or_refused(text[:start] + put + text[start + length :])


def read_or_refused(text: str) -> None:
    try:
        lock = loads(text)
    except (ConfigurationError, OutOfDate):
        return
    assert loads(dumps(lock)) == lock


def test_no_file_is_out_of_date(tmp_path: Path) -> None:
    with pytest.raises(OutOfDate, match=r"there is no `matrix.lock.json`") as caught:
        load(tmp_path)
    assert caught.value.hint == "make it: `envmatrix lock`"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load(tmp_path)
