"""The JSON Schemas say what reading says, as far as JSON Schema can say it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from envmatrix.documents import parse_document
from envmatrix.matrix.contents import MatrixFile, OverlayFile, json_schemas
from envmatrix.matrix.validation import read_document
from envmatrix.schema.shapes import table_of

FILES = Registry().with_resources(
    (name, DRAFT202012.create_resource(schema)) for name, schema in json_schemas().items()
)
SCHEMAS = {
    model: Draft202012Validator({"$ref": name}, registry=FILES)
    for model, name in zip((MatrixFile, OverlayFile), json_schemas(), strict=True)
}

HEAD: dict[type, dict[str, Any]] = {
    MatrixFile: {
        "version": "1",
        "axes": {"cuda": ["13.0"], "os": ["debian12"], "arch": ["x86_64"]},
        "sm": ["90"],
    },
    OverlayFile: {"version": "1", "reason": "one"},
}

DIGEST = f"name@sha256:{'0' * 64}"
WORDS = ["", " ", "a", "none", "12.4", "12.x", "a b", "A", "7", "0", "-1", "x" * 70, DIGEST, "90a"]
PATHS = ["a", "./a", "a/b", "/a", "../a", "a/../b", "~a", "c:/a", "a/", ".", "**", "**/*.so", "a**",
         "..", "\\\\a", "a..b", "a/**", "a/./b", "lib*.so"]  # fmt: skip

URLS = ["https://h/a", "http://h", " https://h/a", "https://u@h/a", "https://[::1]/a", "https://",
        "https:///a", "https://:1/a", "https://@/a", "file:///a", "ftp://h/a", "HTTPS://h", "h/a",
        "git@h:a", "/a"]  # fmt: skip

REPOSITORIES = ["https://h/a", "ssh://git@h/a", "git+ssh://h/a", "file:///a", "git@h:a", "[::1]:a",
                "h:a", "/a", "../a", "u@h:a::b", "ext::sh -c id", " ext::a", "fd::7", "a-b::c",
                "::a", "s3://h/a", "EXT::a", "HTTPS://h/a"]  # fmt: skip


def of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


texts = of(*WORDS)
anything = (
    st.none() | texts | st.lists(texts, max_size=2) | st.dictionaries(texts, texts, max_size=1)
)
lists = st.lists(texts.filter(bool) | anything, max_size=2)
numbers = of("1", "0", "999999", "1000000", "x", 1, 0, 1000000, -1)


def table(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a mapping of some of the keys, most with a value of their kind, a few with another."""
    fields = st.fixed_dictionaries({}, optional={k: s | anything for k, s in keys.items()})
    more = st.dictionaries(of("sytem", "unknown"), texts, max_size=1)
    return st.one_of(fields, fields, fields, st.builds(lambda a, b: {**a, **b}, fields, more))


axes = table(cuda=texts, cudnn=texts, os=texts, arch=of("x86_64", "aarch64"), reason=texts)
libraries = table(
    path=of(*PATHS),
    source=table(
        git=texts | of(*REPOSITORIES), revision=texts,
        perforce=of("//d/a", "//d/a/...", "d"), changelist=numbers,
        sdist=texts, version=texts, debian=texts, suite=texts, archive=of(*URLS),
        sha256=of("0" * 64, "0" * 63),
    ),
    build=table(
        system=of("cmake", "make", "meson", "bazel", "python", "script", "scons"),
        preset=texts, options=lists, targets=lists, commands=lists, requires=lists,
        environment=st.dictionaries(of("A", "a_1", "a-b", ""), texts, max_size=2),
        job_memory=numbers, timeout=numbers,
    ),
    test=of("none", "some") | table(
        framework=of("ctest", "googletest", "catch2", "pytest", "commands", "none", "nose"),
        run=lists, options=lists, gpu=lists, retries=numbers, timeout=numbers,
    ),
    benchmark=of(*PATHS),
    artifacts=st.lists(of(*PATHS), max_size=2),
    components=lists,
    cells=texts | lists,
    cuda=of("toolkit", "none", "some"),
)  # fmt: skip
PARTS = {
    "libraries": st.dictionaries(of("a", "a-b", "A", "a b"), libraries, max_size=2),
    "include": st.lists(axes, max_size=2),
    "exclude": st.lists(axes, max_size=2),
    "aliases": st.dictionaries(of("a", "A"), axes, max_size=1),
    "bases": st.dictionaries(of("debian12", "Debian"), of(DIGEST, "debian:12"), max_size=1),
    "sources": st.lists(
        table(source=of("image", "pypi", "debian", "none"), image=of(DIGEST, "a"), cuda=texts),
        max_size=2,
    ),
    "registry": table(
        repository=of("registry.example/a", "a:b"),
        hosts=st.lists(of("x86_64", "ppc64le"), max_size=2),
        key=of(*PATHS), identity=texts, issuer=of(*URLS),
    ),
    "ci": table(
        runners=st.dictionaries(
            of("a", "A b"),
            table(
                arch=of("x86_64", "aarch64", "ppc64le"), gpu=texts, gpus=numbers, memory=numbers,
                github=texts | lists, gitlab=lists, jenkins=texts,
            ),
            max_size=2,
        )
    ),
    "tiers": st.dictionaries(
        of("pr", "weekly"), table(jobs=numbers, gpu_jobs=numbers, always=lists), max_size=1
    ),
    "policy": table(
        require_cuda=of("off", "major", "on"), cuda_compat=of("on", "off", "no"),
        dev_images=of("on", "yes"),
    ),
}  # fmt: skip


def problems_of(model: type, text: str) -> list[str]:
    document = read_document(model, parse_document(text.encode(), "matrix.yaml")).document
    return [str(problem) for problem in document.problems]


def agree(model: type, document: dict[str, Any]) -> None:
    text = yaml.safe_dump(document)
    lines = problems_of(model, text)
    errors = [error.message for error in SCHEMAS[model].iter_errors(document)]
    assert bool(lines) == bool(errors), f"{text}\n{lines}\n{errors}"
    for line in lines:
        assert re.match(r"matrix\.yaml:\d+:\d+: ", line), line
        assert not re.search(r"[\[{]'|<[a-z]+ |\bNone\b|'>", line), f"a repr of Python: {line}"


# A part of its own, so that what is found is small; the matrix has more parts than an overlay.
@pytest.mark.parametrize("part", PARTS)
@settings(max_examples=30)
@given(st.data())
def test_a_schema_accepts_what_reading_accepts(part: str, data: st.DataObject) -> None:
    value = data.draw(PARTS[part])
    agree(MatrixFile, {**HEAD[MatrixFile], part: value})
    if part in table_of(OverlayFile).shapes:
        agree(OverlayFile, {**HEAD[OverlayFile], part: value})


@pytest.mark.parametrize("model", SCHEMAS)
def test_what_the_examples_begin_with_is_right(model: type) -> None:
    agree(model, HEAD[model])
    assert not problems_of(model, yaml.safe_dump(HEAD[model]))


def problems(entry: str) -> list[str]:
    head = yaml.safe_dump(HEAD[MatrixFile])
    return problems_of(MatrixFile, f"{head}libraries:\n  a: {entry}\n")


def test_all_mistakes_of_an_entry_are_told_at_once_each_with_its_place() -> None:
    lines = problems(
        "{source: {git: u, sdist: s, sha256: xyz}, build: {system: make, preset: p, commands: [x],"
        " timeout: x, jobs: 1}, test: {framework: commands, retries: x}, cuda: none,"
        " components: [cublas], artifacts: [/a], benchmark: ../b}"
    )
    for words in (
        "must have one of `git`",
        "`libraries.a.source.sha256` must be 64 hexadecimal digits",
        "a `preset` is CMake's",
        "`build.commands` are what",
        "`libraries.a.build.timeout` must be a number",
        "unknown key `libraries.a.build.jobs`",
        "`commands` needs `run`",
        "`libraries.a.test.retries` must be a number",
        "has `components` of it",
        "`libraries.a.artifacts[0]` must be a relative path",
        "`libraries.a.benchmark` must be a relative path",
    ):
        assert len([line for line in lines if words in line]) == 1, (words, lines)
    assert len(lines) == 11


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{path: }", "needs a value"),
        ("{path: a, build: {system: [cmake]}}", "not a list"),
        ("{path: a, build: {system: {a: b}}}", "not a mapping"),
        ("{path: a, test: [x]}", "must be a mapping"),
        ("{path: a, cuda: {a: b}}", "must be `toolkit` or `none`, not a mapping"),
        ("{path: a, source: {git: }}", "`libraries.a.source.git` needs a value"),
        ("[a]", "`libraries.a` must be a mapping"),
    ],
)
def test_what_is_of_the_wrong_kind_is_called_by_its_name(entry: str, words: str) -> None:
    lines = problems(entry)
    assert any(words in line for line in lines), lines
    assert not any("None" in line or "{'" in line or "['" in line for line in lines), lines
