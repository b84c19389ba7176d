from __future__ import annotations

import copy
import json
import random
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import artifact, digest, with_set
from tests.locks import OF_VERSION_1

from envmatrix.errors import ConfigurationError, EnvmatrixError, OutOfDate, TooNew
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.systems import SignedArchive
from envmatrix.lock.lock_file import COLUMNS, FILE, dumps, load, loads
from envmatrix.lock.model import (
    REQUESTS,
    Artifact,
    BootstrapRequest,
    InImageRequest,
    Lock,
    PackageSet,
    ReleaseRequest,
    RepositoryRequest,
    Request,
    SourceRequest,
    SystemRequest,
    is_in_origin,
)

CMAKE = PackageSpec("cmake")

TINY = Lock(
    epoch=1,
    sets={
        "over": PackageSet(
            SystemRequest("apt", "amd64", "bookworm", (CMAKE,), ("base",)), (artifact("cmake"),)
        ),
        "base": PackageSet(
            BootstrapRequest("amd64", "bookworm", (PackageSpec("apt"),)),
            (artifact("apt"),),
            "sha256:1",
        ),
        "there": PackageSet(
            InImageRequest("amd64", "12.4", ("nvcc",), "base"),
            (),
            versions={"nvcc": "", "cuda": "12.4.1"},
        ),
        "wheels": PackageSet(
            ReleaseRequest("pip", "arm64", (PackageSpec("m"), PackageSpec("n", "1.*")), "13.0"),
            (artifact("n"), artifact("m", origin="pypi"), artifact("n", origin="pypi")),
        ),
    },
)

TEXT = f"""\
{{
 "version": 2,
 "epoch": 1,
 "columns": ["name", "version", "path", "size", "sha256"],
 "sets": {{
  "base": {{
   "request": {{"resolver": "bootstrap", "arch": "amd64", "suite": "bookworm", \
"packages": ["apt"]}},
   "diff_id": "sha256:1",
   "inputs": "sha256:b4e52ce96b64f99a0904bc02eeabc82f2a20e2314876905c417f5499d690253e",
   "artifacts": {{"debian": [
    ["apt", "1.0", "pool/apt_1.0_amd64.deb", 4, "{digest("apt", "1.0")}"]
   ]}}
  }},
  "over": {{
   "request": {{"resolver": "apt", "arch": "amd64", "suite": "bookworm", "packages": ["cmake"], \
"below": ["base"]}},
   "artifacts": {{"debian": [
    ["cmake", "1.0", "pool/cmake_1.0_amd64.deb", 4, "{digest("cmake", "1.0")}"]
   ]}}
  }},
  "there": {{
   "request": {{"resolver": "in-image", "arch": "amd64", "version": "12.4", \
"components": ["nvcc"], "base": "base"}},
   "versions": {{"cuda": "12.4.1", "nvcc": ""}}
  }},
  "wheels": {{
   "request": {{"resolver": "pip", "arch": "arm64", "packages": ["m", {{"name": "n", \
"version": "1.*"}}], "release": "13.0"}},
   "artifacts": {{"debian": [
    ["n", "1.0", "pool/n_1.0_amd64.deb", 4, "{digest("n", "1.0")}"],
    ["n", "1.0", "pool/n_1.0_amd64.deb", 4, "{digest("n", "1.0")}"]
   ], "pypi": [
    ["m", "1.0", "pool/m_1.0_amd64.deb", 4, "{digest("m", "1.0")}"]
   ]}}
  }}
 }}
}}
"""


def test_the_text_of_a_lock() -> None:
    # A file in two archives has the first origin.
    assert dumps(TINY) == TEXT


def test_two_packages_that_are_the_same_file_are_refused() -> None:
    over = TINY.sets["over"]
    other = replace(artifact("cmake"), name="other", path="pool/other.deb")
    lock = with_set(TINY, "over", replace(over, artifacts=(*over.artifacts, other)))
    with pytest.raises(ConfigurationError) as caught:
        dumps(lock)
    assert "`cmake` and `other` are the same file by sha256" in caught.value.problems[0].message


def test_two_libraries_may_have_one_file_under_different_names() -> None:
    requests = [SourceRequest("archive", "https://h.example/a.tgz", "1")]
    requests += [SourceRequest("sdist", "a", "1.0")]
    files = (replace(artifact("a"), origin="url"), replace(artifact("a"), name="a.tgz"))
    sets = {
        f"library-{number}": PackageSet(request, (file,))
        for number, (request, file) in enumerate(zip(requests, files, strict=True))
    }
    lock = Lock(1, {**TINY.sets, **sets})
    assert loads(dumps(lock)).sets.items() >= sets.items()


@pytest.mark.parametrize(
    "request_",
    [
        ReleaseRequest("redist", "amd64", (PackageSpec("cuda_nvcc"), PackageSpec("n")), "12.6"),
        RepositoryRequest("nvidia-dnf", "amd64", "rhel9", (PackageSpec("n"), PackageSpec("o"))),
        SystemRequest("apt-files", "amd64", "trixie", (PackageSpec("libcub-dev"),)),
    ],
)
def test_a_set_without_a_package_that_it_asks_for_is_out_of_date(request_: Request) -> None:
    lock = with_set(TINY, "cuda", PackageSet(request_, (artifact("n"),)))
    with pytest.raises(OutOfDate, match="lacks packages") as caught:
        loads(dumps(lock))
    assert "`envmatrix lock`" in str(caught.value.hint)
    names = {"cuda_nvcc", "o", "libcub-dev"} & exact(request_)
    assert caught.value.details == tuple(
        f"`cuda` lacks the package `{name}`, which it asks for" for name in names
    )


def test_packages_that_others_may_provide_need_not_be_in_a_set() -> None:
    request = SystemRequest("apt", "amd64", "bookworm", (PackageSpec("awk"),), ("base",))
    lock = with_set(TINY, "over", PackageSet(request, (artifact("mawk"),)))
    assert loads(dumps(lock)).sets["over"].artifacts == (artifact("mawk"),)


def test_a_lock_of_nothing() -> None:
    assert loads(dumps(Lock(0))) == Lock(0)


WORDS = st.text(min_size=1, max_size=6)
NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=6)
PATHS = st.text("ab/._~+%:=@-", min_size=1, max_size=6).filter(is_in_origin)
PACKAGES = st.lists(
    st.builds(
        PackageSpec,
        NAMES,
        *(st.just("") | WORDS for _ in range(4)),
    ),
    max_size=3,
).map(lambda packages: tuple(sorted(packages)))
TEXTS = st.lists(WORDS, max_size=3).map(tuple)
ARCHIVES = st.lists(
    st.builds(SignedArchive, WORDS, WORDS, WORDS, WORDS, st.just("") | WORDS), max_size=2
).map(tuple)


@st.composite
def requests(draw: st.DrawFn, below: tuple[str, ...]) -> Request:
    name = draw(st.sampled_from([name for name in REQUESTS if below or name != "in-image"]))
    kind = REQUESTS[name]
    values: dict[str, object] = {"resolver": name}
    for row in fields(kind):
        match row.name:
            case "resolver":
                pass
            case "packages":
                values[row.name] = draw(PACKAGES)
            case "requirements" | "components" | "omitted":
                values[row.name] = draw(TEXTS)
            case "archives":
                values[row.name] = draw(ARCHIVES)
            case "below":
                values[row.name] = below
            case "base":
                values[row.name] = below[0]
            case _:
                values[row.name] = draw(WORDS | st.just("") if row.default == "" else WORDS)
    return kind(**values)  # type: ignore[arg-type]


def exact(request: Request) -> set[str]:
    """Return the packages that a set must have."""
    if not isinstance(request, ReleaseRequest | RepositoryRequest | SystemRequest):
        return set()
    is_exact = request.resolver not in ("apt", "dnf", "zypper")
    return {item.name for item in request.packages} if is_exact else set()


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    artifacts = [
        Artifact(
            draw(st.sampled_from(["debian", "ubuntu-ports", "pypi"])),
            draw(PATHS),
            draw(NAMES),
            draw(NAMES),
            draw(st.integers(0, 2**40)),
            digest(str(number)),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    names = draw(st.lists(WORDS, max_size=4, unique=True))
    sets = {}
    for place, name in enumerate(names):
        request = draw(requests(tuple(names[:place])))
        own = [Artifact("o", "p", word, "1", 1, digest(f"of {word}")) for word in exact(request)]
        sets[name] = PackageSet(
            request,
            tuple(sorted([*own, *draw(st.lists(st.sampled_from(artifacts), max_size=3))])),
            draw(WORDS) if isinstance(request, BootstrapRequest) else None,
            draw(st.dictionaries(WORDS, st.text(max_size=3), max_size=2)),
        )
    return Lock(draw(st.integers(0, 2**32)), sets)


@given(locks())
def test_a_lock_that_is_written_and_read_is_the_same_lock(lock: Lock) -> None:
    assert loads(dumps(lock)) == lock
    assert dumps(loads(dumps(lock))) == dumps(lock)


@given(locks(), st.randoms())
def test_equal_locks_are_equal_bytes(lock: Lock, order: random.Random) -> None:
    sets = list(lock.sets.items())
    order.shuffle(sets)
    assert dumps(Lock(lock.epoch, dict(sets))) == dumps(lock)


def test_a_changed_pin_is_one_changed_line_of_its_set() -> None:
    other = with_set(TINY, "over", replace(TINY.sets["over"], artifacts=(artifact("cmake", "2"),)))
    pairs = zip(dumps(TINY).splitlines(), dumps(other).splitlines(), strict=True)
    assert len([old for old, new in pairs if old != new]) == 1


def test_the_seed_of_hashes_does_not_reach_the_text(tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from envmatrix.lock.lock_file import dumps
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
ROW = ["apt", "1.0", "pool/apt_1.0_amd64.deb", 4, APT]


def with_apt(*row: object) -> str:
    return changed("sets", "base", "artifacts", value={"debian": [row]})


@pytest.mark.parametrize(
    "text",
    [
        with_apt(*ROW[:4], APT[:12] + "0" * 52),
        with_apt(*ROW[:3], 5, APT),
        with_apt("apt", "1.1", *ROW[2:]),
        with_apt("dpkg", *ROW[1:]),
        changed("sets", "base", "artifacts", value={}),
        changed("sets", "base", "artifacts", value={"debian": [ROW, ROW]}),
        changed("sets", "base", "diff_id", value="sha256:2"),
        changed("sets", "base", "inputs", value="sha256:2"),
        changed("sets", "base", "inputs", value=None),
        changed("epoch", value=2),
    ],
)
def test_a_base_that_is_not_what_its_layer_was_made_of_is_out_of_date(text: str) -> None:
    assert text != dumps(TINY)
    error = refusal(text)
    assert isinstance(error, OutOfDate)
    assert error.message == f"`{FILE}` was changed by hand"
    (detail,) = error.details
    assert detail.startswith(("`base` is not what its layer", "`base` does not say what its layer"))


def test_text_that_is_no_json_is_refused_with_its_place() -> None:
    text = dumps(TINY).replace('"epoch": 1,', '"epoch" 1,')
    (problem,) = refusal(text).problems
    assert str(problem) == f"{FILE}:3:10: not JSON: Expecting ':' delimiter"
    assert problem.hint is not None
    assert problem.hint.endswith("or remove it (`rm matrix.lock.json`) and run `envmatrix lock`")


@pytest.mark.parametrize("version", [0, 3, "1", True, [], None])
def test_another_version_is_out_of_date(version: object) -> None:
    assert isinstance(refusal(changed("version", value=version)), OutOfDate)


def test_the_lock_of_a_newer_version_is_not_to_be_made_again() -> None:
    error = refusal(changed("version", value=3))
    assert isinstance(error, TooNew)
    assert (
        error.message == "`matrix.lock.json` has version 3, of a newer envmatrix: this one reads 2"
    )
    assert error.hint == "use the envmatrix that wrote it, or a newer one"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "the document must be a mapping, not `[]`"),
        (changed("sets", "base", value=None), "`sets.base` must be a mapping, not `null`"),
        ("{}", "the document lacks the key `version`"),
        ('{"version": 2}', "the document lacks the key `columns`"),
        (f'{{"version": {"1" * 5000}}}', "Exceeds the limit"),
        ("[" * 100_000, "recursion"),
        (changed("columns", value=["name"]), "`columns` must be name, version, path"),
        (changed("epoc", value=2), "`epoc` is an unknown key"),
        (changed("sets", "over", "diffid", value="x"), "`sets.over.diffid` is an unknown key"),
        (changed("sets", value=[]), "`sets` must be a mapping, not `[]`"),
        (changed("epoch", value="1"), '`epoch` must be a number from 0 on, not `"1"`'),
        (changed("epoch", value=1e999), "`epoch` must be a number from 0 on, not `Infinity`"),
        (changed("epoch", value=-1), "`epoch` must be a number from 0 on, not `-1`"),
        (changed("epoch", value=True), "`epoch` must be a number from 0 on, not `true`"),
        (changed("sets", "base", "request", value=[]), "`sets.base.request` must be a mapping"),
        (
            changed("sets", "base", "request", "resolver", value="emerge"),
            '`sets.base.request.resolver` is no resolver: `"emerge"`',
        ),
        (
            changed("sets", "base", "request", "mood", value="x"),
            "`sets.base.request.mood` is an unknown key",
        ),
        (
            changed("sets", "base", "request", "packages", value="apt"),
            "`sets.base.request.packages` must be a list",
        ),
        (
            changed("sets", "base", "request", "packages", value=[1]),
            "`sets.base.request.packages.0` must be a mapping",
        ),
        (
            changed("sets", "base", "request", "packages", value=[{"a": "b"}]),
            "packages.0.a` is an unknown key",
        ),
        (
            changed("sets", "base", "request", "packages", value=[{}]),
            "packages.0` lacks the key `name`",
        ),
        (
            changed("sets", "base", "request", value={"resolver": "apt"}),
            "`sets.base.request` lacks the key `arch`",
        ),
        (
            changed("sets", "base", "request", "suite", value=["x"]),
            '`sets.base.request.suite` must be text, not `["x"]`',
        ),
        (changed("sets", "base", "request", "suite", value=""), "request.suite` must not be empty"),
        (changed("sets", "over", "request", "below", value=["gone"]), "`sets` has no set `gone`"),
        (changed("sets", "base", "diff_id", value=5), "`sets.base.diff_id` must be text, not `5`"),
        (changed("sets", "base", "diff_id", value=""), "`sets.base.diff_id` must not be empty"),
        (
            changed("sets", "over", "diff_id", value="x"),
            "`sets.over` has a `diff_id` and is no bootstrapped base",
        ),
        (with_apt("apt", "1.0"), "`sets.base.artifacts.debian.0` must have 5 items"),
        (with_apt(*ROW, "x"), "`sets.base.artifacts.debian.0` must have 5 items"),
        (with_apt(*ROW[:4], "0" * 63), "artifacts.debian.0.sha256` does not match"),
        *(
            (
                with_apt("apt", "1.0", path, *ROW[3:]),
                "artifacts.debian.0.path` is no path within an origin",
            )
            for path in ("/etc", "a/../b", "a/%2e%2E/b", "", ".", "..", "a\nRUN b", "a b", "a\\b")
        ),
        *(
            (
                with_apt("apt", "1.0", path, *ROW[3:]),
                "artifacts.debian.0.path` is no path within an origin",
            )
            for path in ("$HOME", "`a`", "a\0", "\u00e9", "a#b", 'a"')
        ),
        (
            with_apt("apt", "1.0", "\ud800", *ROW[3:]),
            "artifacts.debian.0.path` has half a character",
        ),
        (with_apt("", *ROW[1:]), "artifacts.debian.0.name` does not match"),
        (with_apt("a\nb", *ROW[1:]), "does not match"),
        (changed("sets", "base", "artifacts", value={"d\n": [ROW]}), "does not match"),
        (with_apt(*ROW[:3], 1.5, APT), "artifacts.debian.0.size` must be a number"),
        (dumps(TINY).replace('"pool/n_1.0_amd64.deb", 4', '"a", 4', 1), "two different artifacts"),
    ],
)
def test_what_is_no_lock_is_refused_with_the_reason(text: str, why: str) -> None:
    (problem,) = refusal(text).problems
    assert "not a lock: " in problem.message
    assert why in problem.message


@pytest.mark.parametrize("text", ["null", "7", "[]"])
def test_what_is_no_mapping_is_refused_at_its_begin(text: str) -> None:
    (problem,) = refusal(text).problems
    assert str(problem).startswith(f"{FILE}:1:1: not a lock: the document must be a mapping, not")


def test_an_invalid_field_has_its_line_and_column() -> None:
    text = dumps(TINY).replace('"pool/n_1.0_amd64.deb", 4', '"pool/n_1.0_amd64.deb", -4', 1)
    (problem,) = refusal(text).problems
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "-4" in row)
    column = text.splitlines()[line - 1].index("-4") + 1
    assert str(problem).startswith(f"{FILE}:{line}:{column}: not a lock: `sets.wheels.artifacts.")


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (' "epoch": 1,', 2),
        ('   "versions": {"cuda": "12.4.1", "nvcc": ""},', 4),
        ('  "base": {},', 3),
        ('   "artifacts": {},', 4),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_both_places(line: str, column: int) -> None:
    lines = dumps(TINY).splitlines()
    key = line.strip().partition(":")[0]
    first = next(n for n, row in enumerate(lines) if row.strip().startswith(f"{key}:"))
    lines.insert(first, line)
    (problem,) = refusal("\n".join(lines)).problems
    message = f"key `{key[1:-1]}` is already given at {FILE}:{first + 1}:{column}"
    assert str(problem) == f"{FILE}:{first + 2}:{column}: {message}"
    assert "`envmatrix lock`" in str(problem.hint)


def test_a_key_that_is_given_twice_is_refused_where_yaml_has_no_place() -> None:
    text = dumps(TINY).replace(' "epoch"', r' "\ud800": 1, "\ud800": 1, "epoch"')
    (problem,) = refusal(text).problems
    assert problem.message == rf"""`{FILE}` is not a lock: it has `"\ud800"` twice"""
    assert "`envmatrix lock`" in str(problem.hint)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner)
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    pairs = list(value.items()) if isinstance(value, dict) else []
    pairs += list(enumerate(value)) if isinstance(value, list) else []
    return [path, *(deeper for key, item in pairs for deeper in places(item, (*path, key)))]


DOCUMENTS = [json.loads(dumps(TINY)), OF_VERSION_1]


@given(
    st.sampled_from([(document, path) for document in DOCUMENTS for path in places(document)[1:]]),
    st.none() | st.just(...) | VALUES,
)
def test_any_change_gives_a_lock_or_a_refusal(
    place: tuple[dict[str, object], tuple[str | int, ...]], value: object
) -> None:
    original, path = place
    document = copy.deepcopy(original)
    row: Any = document
    for key in path[:-1]:
        row = row[key]
    if value is ...:
        del row[path[-1]]
    else:
        row[path[-1]] = value
    read_or_refused(json.dumps(document))


@given(st.integers(0, len(TEXT)), st.integers(0, 9), st.text(max_size=3))
def test_any_damage_gives_a_lock_or_a_refusal(start: int, length: int, insertion: str) -> None:
    text = dumps(TINY)
    read_or_refused(text[:start] + insertion + text[start + length :])


@given(st.sampled_from([1, 2]), VALUES, VALUES, VALUES)
def test_any_document_gives_a_lock_or_a_refusal(
    version: int, epoch: object, sets: object, rest: object
) -> None:
    document = {"version": version, "columns": COLUMNS, "epoch": epoch, "sets": sets}
    read_or_refused(json.dumps({**document, "artifacts": rest}))
    read_or_refused(json.dumps(rest))


WORDS_OF_PYTHON = re.compile("argument|attribute|NoneType|unpack|subscript|indices|object of")


def read_or_refused(text: str) -> None:
    lock = message = None
    try:
        lock = loads(text)
    except (ConfigurationError, OutOfDate) as error:
        message = error.problems[0].message
    assert not WORDS_OF_PYTHON.search(re.sub("`[^`]*`", "", message or ""))  # but for quotations
    assert lock is None or loads(dumps(lock)) == lock


def test_no_file_is_out_of_date(tmp_path: Path) -> None:
    with pytest.raises(OutOfDate, match=r"there is no `matrix.lock.json`") as caught:
        load(tmp_path)
    assert caught.value.hint == "make it: `envmatrix lock`"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load(tmp_path)
