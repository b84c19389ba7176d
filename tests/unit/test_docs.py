"""The documentation is true: its commands parse, its links lead somewhere, and its tables and
messages are those of the code."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import get_args

import click
import pytest
from tests.tables import TABLES, keys, marked
from tests.unit.test_architecture import FILES, LAYERS, TREES

from envmatrix import cli, help_page
from envmatrix.errors import INTERRUPTED, SKIPPED, EnvmatrixError
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.targets import TARGETS
from envmatrix.lock.audit import State
from envmatrix.lock.lock_file import FILE
from envmatrix.lock.model import REQUESTS
from envmatrix.matrix import contents, library, model
from envmatrix.matrix.cells import Candidate
from envmatrix.matrix.compatibility import trace
from envmatrix.matrix.flavours import IMAGES
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix, SourceName
from envmatrix.matrix.requirements import Requirement
from envmatrix.matrix.runs import RunEntry
from envmatrix.matrix.selection import short_names
from envmatrix.matrix.tier_names import TIERS
from envmatrix.schema.shapes import Shape, shape_of, table_of
from envmatrix.sessions.analysis.analysers import ANALYSERS
from envmatrix.sessions.registration import MANY, VERBS

ROOT = Path(__file__).parents[2]
NOT_OURS = {"build", "dist", "golden", "node_modules"}
PAGES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in NOT_OURS for part in path.relative_to(ROOT).parts)
)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S* )*(?:\./)?((?:envmatrix|noxw?) .*)$")
MENTION = re.compile(r"`(envmatrix [^`]+)`")
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    return load_matrix(ROOT)


def text_of(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[str]:
    """Yield the fenced examples, with lines that go on joined."""
    for _, code in FENCE.findall(text_of(page)):
        yield re.sub(r"\\\n\s*", "", code)


def examples(program: str) -> list[tuple[Path, tuple[str, ...]]]:
    """Return every line of every page that runs `program`, as its arguments."""
    return [
        (page, tuple(words[1:]))
        for page in PAGES
        for block in blocks(page)
        for line in block.splitlines()
        if (command := COMMAND.match(line))
        for words in [shlex.split(re.split(r" [|>&]", command[1])[0], comments=True)]
        if words[0].removesuffix("w") == program
    ]


def mentions() -> list[tuple[Path, tuple[str, ...]]]:
    return [
        (page, tuple(shlex.split(text)[1:]))
        for page in PAGES
        for text in MENTION.findall(FENCE.sub("", text_of(page)))
    ]


def command_of(arguments: Iterable[str]) -> tuple[click.Command, list[str]]:
    """Return the verb that `arguments` name, and its own arguments."""
    command: click.Command = cli.group
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        verb = command.get_command(click.Context(command), name)
        assert verb, f"there is no verb `{name}`"
        command = verb
    return command, rest


def parse(arguments: Iterable[str]) -> None:
    command, rest = command_of(arguments)
    try:
        command.make_context("envmatrix", rest)
    except click.exceptions.Exit:
        pass  # --help and --version end the program when they are parsed
    except click.exceptions.NoArgsIsHelpError:
        pass


def test_there_is_something_to_check() -> None:
    assert Path("README.md") in PAGES
    assert len(examples("envmatrix")) > 20


@pytest.mark.parametrize(("page", "arguments"), examples("envmatrix"))
def test_an_example_is_a_command_that_parses(page: Path, arguments: tuple[str, ...]) -> None:
    parse(arguments)


@pytest.mark.parametrize(("page", "arguments"), mentions())
def test_a_mention_is_a_command_that_parses(page: Path, arguments: tuple[str, ...]) -> None:
    try:
        parse(arguments)
    except click.MissingParameter:
        assert len(arguments) <= 2, "a verb may be named without what it needs"


@pytest.mark.parametrize(("page", "arguments"), examples("nox"))
def test_a_session_that_is_named_exists(
    page: Path, arguments: tuple[str, ...], matrix: Matrix
) -> None:
    if (ROOT / page).with_name("matrix.yaml").exists():
        matrix = load_matrix((ROOT / page).parent)
    of_libraries = {
        f"{cell}-{library.name}" for cell in matrix.by_id for library in matrix.libraries
    }
    cells = {*matrix.by_id, *short_names(matrix), *of_libraries}
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    own = set(re.findall(r"(?m)^def ([a-z]\w*)\(session: nox", noxfile))
    own |= set(re.findall(r'(?m)^@nox\.session\(name="([\w-]+)"', noxfile))
    if arguments[0] == "-s":
        prefix, _, cell = arguments[1].partition("-")
        assert arguments[1] in own | MANY.keys() or (prefix in VERBS and cell in cells)


@pytest.mark.parametrize("verb", sorted(help_page.VERBS))
def test_every_verb_has_an_example(verb: str) -> None:
    commands = [*examples("envmatrix"), *mentions()]
    assert any(arguments[:1] == (verb,) for _, arguments in commands)


def exit_codes(error: type[EnvmatrixError]) -> Iterator[int]:
    yield error.exit_code
    for kind in error.__subclasses__():
        if "exit_code" in vars(kind):
            yield from exit_codes(kind)


def test_every_exit_code_is_explained() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \|", text_of(Path("docs/reference/errors.md")))
    assert {int(row) for row in rows} == {
        *(0, SKIPPED, INTERRUPTED),
        *exit_codes(EnvmatrixError),
    }


@pytest.mark.parametrize(("page", "name"), TABLES)
def test_a_written_table_is_up_to_date(page: str, name: str) -> None:
    assert marked(page, name) == TABLES[page, name](), "write it: `./noxw -s docs`"


LOCK = json.loads((ROOT / FILE).read_text("utf-8"))


def request_fields() -> set[str]:
    kinds = (PackageSpec, *REQUESTS.values())
    return {field.name for kind in kinds for field in fields(kind)} - {"name", "version"}


def rules() -> set[str]:
    """Return the names of the compatibility rules."""
    tools = {"compiler": "clang-16", "cuda_compiler": "clang", "python": "3.13"}
    cell = Candidate("12.4", "9.10", "debian12", "x86_64", **tools)
    rules = ", ".join(verdict.rule for verdict in trace(cell, load_facts()))
    return {"cuda", "os", *rules.split(", ")}


# The names in the code that the first column of a table has.
COLUMNS: Mapping[tuple[str, str], Callable[[], Iterable[str]]] = {
    ("docs/matrix.md", "keys"): lambda: table_of(contents.MatrixFile).shapes,
    ("docs/matrix.md", "overlay keys"): lambda: table_of(contents.OverlayFile).shapes,
    ("docs/matrix.md", "run keys"): lambda: table_of(RunEntry).shapes,
    ("docs/matrix.md", "tier keys"): lambda: table_of(contents.Tier).shapes,
    ("docs/matrix.md", "flavour keys"): lambda: table_of(model.Flavour).shapes,
    ("docs/matrix.md", "sources"): lambda: get_args(SourceName),
    ("docs/matrix.md", "targets"): lambda: TARGETS,
    ("docs/matrix.md", "tiers"): lambda: TIERS,
    ("docs/matrix.md", "rules"): rules,
    ("docs/lock.md", "lock fields"): lambda: LOCK,
    # `versions` are of images and of sources, which this repository has not.
    ("docs/lock.md", "set fields"): lambda: {"versions", *chain(*LOCK["sets"].values())},
    ("docs/lock.md", "artifact columns"): lambda: LOCK["columns"],
    ("docs/lock.md", "request fields"): request_fields,
    ("docs/lock.md", "audit states"): lambda: get_args(State),
    ("docs/libraries.md", "source kinds"): lambda: [*library.SOURCE_KINDS, "path"],
    ("docs/libraries.md", "build systems"): lambda: get_args(library.BuildSystemName),
    ("docs/libraries.md", "test frameworks"): lambda: (
        name for name in get_args(library.TestFrameworkName) if name != "none"
    ),
    ("docs/libraries.md", "step keys"): lambda: table_of(library.LibraryStep).shapes,
    ("docs/machines.md", "requirement keys"): lambda: table_of(Requirement).shapes,
    ("docs/analysis.md", "analyses"): lambda: ANALYSERS,
    ("docs/images.md", "flavours"): lambda: [
        *(*IMAGES, "cross-<target>", "runtime-<target>"),
        *("devel-<compilers>", "cross-<compilers>"),
        *("devel-py<release>", "cross-py<release>", "runtime-py<release>"),
    ],
}


@pytest.mark.parametrize(("page", "name"), COLUMNS)
def test_a_table_has_a_row_for_every_name_in_the_code(page: str, name: str) -> None:
    assert sorted({*keys(page, name)}) == sorted(COLUMNS[page, name]())


def test_names_in_the_code_that_the_design_mentions_exist() -> None:
    text = text_of(Path("docs/design.md"))
    dotted = re.findall(rf"`((?:{'|'.join(LAYERS)})(?:\.\w+)+)(?<!yaml|json)`", text)
    assert len(dotted) > 20
    assert [name for name in dotted if not is_in_code(name)] == []


def is_in_code(name: str) -> bool:
    """Return whether a dotted name is a module of the package, or is defined in one."""
    module, _, member = name.rpartition(".")
    text = FILES[module].read_text("utf-8") if module in FILES else ""
    return name in FILES or bool(re.search(rf"(?m)^(?:class |def )?{member}\b", text))


def keys_below(shape: Shape) -> Iterator[str]:
    """Yield the keys of all tables in a value of a file."""
    if shape.is_table:
        for name, inner in table_of(shape.kind).shapes.items():
            yield name
            yield from keys_below(inner)
    for argument in shape.arguments:
        yield from keys_below(shape_of(argument))


FILES_OF_USERS = (contents.MatrixFile, contents.OverlayFile, model.Flavour)
KEYS = {key for kind in FILES_OF_USERS for key in keys_below(shape_of(kind))}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_of_the_matrix_is_documented(key: str) -> None:
    pages = (Path("docs/matrix.md"), Path("docs/libraries.md"), Path("docs/machines.md"))
    assert any(re.search(rf"`(\w+\.)?{key}\b[^`]*`", text_of(page)) for page in pages)


def constants() -> Iterator[str]:
    """Yield every string of the package, with `…` for what is formatted into it."""
    for node in (node for tree in TREES.values() for node in ast.walk(tree)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_environment_variable_is_documented() -> None:
    names = {text for text in constants() if re.fullmatch("ENVMATRIX_[A-Z_]+", text)}
    launcher = (
        file.read_text("utf-8")
        for file in (ROOT / "generator/envmatrix/sessions/launcher").iterdir()
        if file.is_file()
    )
    internal = {name for text in launcher for name in re.findall("ENVMATRIX_[A-Z_]+", text)}
    script = {*re.findall("ENVMATRIX_[A-Z_]+", (ROOT / "noxw").read_text("utf-8"))}
    documented = [*keys("README.md", "environment variables")]
    assert {name for name in documented if name.startswith("ENVMATRIX_")} == (
        names - internal | script
    )


def test_every_variable_of_images_is_documented() -> None:
    documented = re.findall(r"`([A-Z_\d]+\*?)`", text_of(Path("docs/images.md")))
    variables = {
        name
        for file in ROOT.glob("dockerfiles/*/Dockerfile")
        for name in re.findall(r"(?m)^(?:ENV|   ) ([A-Z_\d]+)=", file.read_text("utf-8"))
    }
    assert "CUDACXX" in variables
    assert [
        name for name in sorted(variables) if not any(fnmatchcase(name, row) for row in documented)
    ] == []


# In examples of output: its lines up to the next message, without the position.
MESSAGE = re.compile(r"(?m)^(?:error|hint|warning): (?:\S+:\d+:\d+: )?(.*(?:\n(?!\w+: ).+)*)")


def messages() -> Iterator[str]:
    """Yield the messages that pages quote, with `…` for what varies."""
    for page in PAGES:
        for _, code in FENCE.findall(text_of(page)):
            yield from (" ".join(text.split()) for text in MESSAGE.findall(code))
    for _, text in re.findall(r"(?m)^\| (`+) ?(.+?) ?\1 \|", marked("docs/images.md", "messages")):
        yield text


@pytest.fixture(scope="module")
def templates() -> Mapping[str, re.Pattern[str] | None]:
    """The strings of the package in one line, each with what its messages match if it is long."""
    texts = dict.fromkeys(" ".join(text.split()) for text in constants())
    return {
        text: re.compile(".*".join(map(re.escape, text.split("…")))) if len(text) > 15 else None
        for text in texts
    }


@pytest.mark.parametrize("message", [*messages()])
def test_a_quoted_message_is_one_of_the_code(
    message: str, templates: Mapping[str, re.Pattern[str] | None]
) -> None:
    assert any(
        message in text or (pattern and pattern.search(message))
        for text, pattern in templates.items()
    )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", text_of(page))):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), f"{target} does not exist"
        if heading:
            assert heading in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = FENCE.sub("", text_of(page))
    names = re.findall(r"`((?:[\w-]+/)+[\w.-]+\.(?:j2|py|sh|yaml))`", text)
    roots = (ROOT, ROOT / page.parent, ROOT / "generator/envmatrix")
    assert [name for name in names if not any((root / name).exists() for root in roots)] == []


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


# Put together here, so that this file names none of them either.
DOT = r"\."
REGISTRY_HOSTS = re.compile(
    "|".join(
        [
            rf"\b(?:deb|ftp|security|snapshot){DOT}[a-z]+{DOT}(?:org|net|com)\b",
            rf"\bpypi{DOT}(?:org|io)\b",
            rf"\bpythonhosted{DOT}org\b",
            rf"\bregistry(?:-1)?{DOT}[a-z]+{DOT}(?:io|com|org)\b",
        ]
    )
)
WRITTEN = {".md", ".py", ".yaml", ".toml", ".json", ".j2", ".sh", ""}


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/threat-model.md").read_text("utf-8"))
    tests = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", file.read_text("utf-8"))
    }
    assert len(named) > 20
    assert sorted(set(named) - tests) == []


def test_no_package_registry_is_named() -> None:
    named = [
        f"{file.relative_to(ROOT)}: {host[0]}"
        for file in sorted(ROOT.rglob("*"))
        if file.suffix in WRITTEN and is_ours(file) and file.is_file()
        if (host := REGISTRY_HOSTS.search(file.read_text(encoding="utf-8", errors="replace")))
    ]
    assert named == []


def is_ours(file: Path) -> bool:
    parts = file.relative_to(ROOT).parts
    return not any(
        part.startswith(".") or part in {"build", "dist", "__pycache__"} for part in parts
    )
