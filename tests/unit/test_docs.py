"""The documentation is true: its commands parse, its links lead somewhere, and its tables are
what the code says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest
from tests.unit.prompt import Prompt
from tests.unit.test_architecture import LAYERS

from envmatrix import cli
from envmatrix.errors import SKIPPED, EnvmatrixError
from envmatrix.facts.components import Component
from envmatrix.facts.model import Facts, load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.targets import TARGETS
from envmatrix.facts.versions import version_key
from envmatrix.lock.lock_file import FILE
from envmatrix.lock.model import REQUESTS
from envmatrix.matrix import contents, library, model
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Exclusion, Matrix
from envmatrix.matrix.selection import short_names
from envmatrix.schema.shapes import table_of

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

TABLES = (
    contents.MatrixFile,
    contents.Axes,
    contents.Include,
    contents.Exclude,
    model.NameDefaults,
    model.CellAlias,
    library.Library,
    library.LibrarySource,
    library.LibraryBuild,
    library.LibraryTest,
    contents.Tier,
    contents.AxisChanges,
    contents.OverlayFile,
    model.Flavour,
)


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    return load_matrix(ROOT)


def text_of(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def marked(page: str, name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- /name -->`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text_of(Path(page)), re.DOTALL)
    assert found, f"{page} has no part `{name}`"
    return found[1].strip()


def blocks(page: Path) -> Iterator[str]:
    """The fenced examples, with lines that go on joined."""
    for _, code in FENCE.findall(text_of(page)):
        yield re.sub(r"\\\n\s*", "", code)


def examples(program: str) -> list[tuple[Path, tuple[str, ...]]]:
    """Every line of every page that runs `program`, as its arguments."""
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
    """The verb that `arguments` name, and what is left for it."""
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
    of_libraries = {f"{cell}-{its.name}" for cell in matrix.by_id for its in matrix.libraries}
    cells = {*matrix.by_id, *short_names(matrix), *of_libraries}
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    own = set(re.findall(r"(?m)^def ([a-z]\w*)\(session: nox", noxfile))
    own |= set(re.findall(r'(?m)^@nox\.session\(name="([\w-]+)"', noxfile))
    if arguments[0] == "-s":
        prefix, _, cell = arguments[1].partition("-")
        assert arguments[1] in own or (
            prefix in {"build", "test", "perf", "shell"} and cell in cells
        )


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_an_example(verb: str) -> None:
    assert any(arguments[:1] == (verb,) for _, arguments in examples("envmatrix"))


def exit_codes(error: type[EnvmatrixError]) -> Iterator[int]:
    yield error.exit_code
    for kind in error.__subclasses__():
        if "exit_code" in vars(kind):
            yield from exit_codes(kind)


def test_the_readme_lists_every_exit_code() -> None:
    rows = re.findall(r"^\| `?(\d+)`? \|", marked("README.md", "exit codes"), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(
        {0, *exit_codes(EnvmatrixError), SKIPPED, cli.INTERRUPTED}
    )


@pytest.mark.parametrize(
    "key", sorted({name for table in TABLES for name in table_of(table).shapes})
)
def test_every_key_of_the_matrix_is_documented(key: str) -> None:
    pages = (Path("docs/matrix.md"), Path("docs/libraries.md"))
    assert any(re.search(rf"`(\w+\.)?{key}\b[^`]*`", text_of(page)) for page in pages)


def test_every_target_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", marked("docs/matrix.md", "targets"), re.MULTILINE)
    assert rows[1:] == [*TARGETS], "below the head"


def test_every_field_of_the_lock_is_documented() -> None:
    document = json.loads((ROOT / FILE).read_text(encoding="utf-8"))
    names = {*document, *document["columns"], *(row.name for row in fields(PackageSpec))}
    names |= {name for row in document["sets"].values() for name in row}
    names |= {row.name for kind in REQUESTS.values() for row in fields(kind)}
    page = text_of(Path("docs/lock.md"))
    assert [name for name in sorted(names) if f"| `{name}` |" not in page] == []


def test_every_package_is_in_the_picture_of_the_layers() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", marked("docs/design.md", "layers"), re.MULTILINE)
    assert rows == [layer for layer in LAYERS if layer != "__main__"]


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
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"(?m)^def (test_\w+)", file.read_text("utf-8"))
    }
    assert len(named) > 20
    assert sorted(set(named) - there) == []


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


def test_the_components_and_their_sources_are_documented() -> None:
    assert marked("docs/matrix.md", "components") == components_table(load_facts())


def components_table(facts: Facts) -> str:
    """Components by source, with what they need; what is lacking, with the reason below. An image
    has what it has."""
    sources = shipped_recipes().parts
    notes: dict[str, int] = {}
    lines = [
        f"| component | {' | '.join(f'`{source}`' for source in sources)} | needs |",
        f"| --- |{' --- |' * len(sources)} --- |",
    ]
    for component in facts.components.values():
        there = [availability(facts, component.name, source, notes) for source in sources]
        lines.append(f"| `{component.name}` | {' | '.join(there)} | {needs_of(component)} |")
    return "\n".join([*lines, "", *(f"{number}. {text}." for text, number in notes.items())])


def availability(facts: Facts, component: str, source: str, notes: dict[str, int]) -> str:
    """`yes` where a source has a component in some release, and why it lacks it in others."""
    found = [
        facts.absence(component, source, release.release)
        for release in facts.cuda.values()
        if source in {package.source for package in release.packages}
    ]
    numbers = {notes.setdefault(its.reason, len(notes) + 1) for its in found if its}
    return " ".join(["yes" if None in found else "—", *(f"({number})" for number in numbers)])


def needs_of(component: Component) -> str:
    rows = sorted(component.needs.items(), key=lambda row: version_key(row[0]))
    return "; ".join(f"since {first} {', '.join(f'`{n}`' for n in names)}" for first, names in rows)


def test_the_operating_systems_are_documented() -> None:
    assert marked("docs/matrix.md", "systems") == systems_table(load_facts())


def systems_table(facts: Facts) -> str:
    lines = ["| name | packages | glibc | GCC | NVIDIA's repository |", "|---|---|---|---|---|"]
    for os in facts.os.values():
        first = facts.distributions[os.distribution].origins[0]
        origins = dict.fromkeys([first, os.origins.get("arm64", first)])
        repository = os.nvidia_repository.suite if os.nvidia_repository else ""
        packages = f"{os.family.name}: {', '.join(f'`{name}`' for name in origins)}"
        cells = (f"`{os.name}`", packages, os.glibc, ", ".join(os.gcc), repository)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_coverage_of_the_largest_example_is_documented(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "examples/nvidia-cuda")
    lines = envmatrix("plan", "--tier", "pr").out.splitlines()
    pairs = next(index for index, line in enumerate(lines) if re.match(r"\d+ of", line))
    shown = [*lines[:4], "...", *lines[pairs - 1 : pairs + 3], "..."]
    assert marked("docs/matrix.md", "coverage") == "\n".join(["```", *shown, "```"])


def test_the_readme_shows_the_cells_that_exist(matrix: Matrix) -> None:
    assert marked("README.md", "cells") == grid(matrix)


def grid(matrix: Matrix) -> str:
    """CUDA by operating system and architecture; what cannot be, with the reason below."""
    notes: dict[str, int] = {}
    places = [(os, arch) for os in matrix.axes["os"] for arch in matrix.axes["arch"]]
    rows = [
        ["CUDA", *(f"{os}, {arch}" for os, arch in places)],
        ["---"] * (len(places) + 1),
        *([cuda, *(entry(matrix, cuda, *place, notes) for place in places)]
          for cuda in matrix.axes["cuda"]),
    ]  # fmt: skip
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"{number}. {reason}" for reason, number in notes.items())])


def entry(matrix: Matrix, cuda: str, os: str, arch: str, notes: dict[str, int]) -> str:
    """The host compiler and the cuDNN versions of one place of the grid, or what is in the way."""
    place = (cuda, os, arch)
    cells = [cell for cell in matrix.cells if (cell.cuda, cell.os, cell.arch) == place]
    lacking = [
        its for its in matrix.exclusions if (its.cell.cuda, its.cell.os, its.cell.arch) == place
    ]
    if not cells:
        return f"— ({note(notes, lacking[0])})"
    text = f"GCC {cells[0].toolchain.gcc}"
    versions = [cell.cudnn for cell in cells if cell.cudnn]
    if versions:
        return f"{text}, cuDNN {', '.join(versions)}"
    unpublished = [its for its in lacking if its.rule == "cudnn-arch"]
    return f"{text} ({note(notes, unpublished[0])})" if unpublished else text


def note(notes: dict[str, int], exclusion: Exclusion) -> int:
    text = f"`{exclusion.rule}`: {exclusion.reason}."
    return notes.setdefault(text, len(notes) + 1)
