"""Tables of the documentation that repeat the code or its data.

Each stands between `<!-- name -->` and `<!-- /name -->` in its page. `./noxw -s docs` writes them;
tests/unit/test_docs.py checks that they are up to date.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any, get_args

import click
from tests.unit.test_architecture import LAYERS, TREES
from website.reference import table

from envmatrix import cli
from envmatrix.adoption.imports.formats import FORMATS
from envmatrix.doctor.diagnosis import HOST_CHECKS, PROJECT_CHECKS, Check
from envmatrix.facts.cuda import CudaRelease
from envmatrix.facts.gpus import GpuModel
from envmatrix.facts.model import Facts, load_facts
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.versions import version_key
from envmatrix.help_page import VERBS
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Exclusion, Matrix, SourceName
from envmatrix.sessions import registration

ROOT = Path(__file__).parents[1]

Notes = dict[str, int]


def note(notes: Notes, text: str) -> str:
    """Return the mark of a note, which is numbered where it is first used."""
    return f"({notes.setdefault(text, len(notes) + 1)})"


def with_notes(text: str, notes: Notes) -> str:
    return "\n".join([text, "", *(f"{number}. {note}." for note, number in notes.items())])


def verbs() -> str:
    """Return the verbs of the command line, each with an example."""
    return table(
        ["verb", "what it does", "example"],
        ([f"`{name}`", VERBS[name], f"`{example(name)}`"] for name in sorted(VERBS)),
    )


def formats() -> str:
    """Return the formats of CI matrices that are converted, as their readers describe them."""
    rows = []
    for name, row in FORMATS.items():
        text = inspect.getdoc(inspect.getmodule(row.read))
        rows.append([f"`{name}`", " ".join(str(text).split()).removesuffix(".")])
    return table(["`--from`", "what is read"], rows)


def example(verb: str) -> str:
    command = cli.group.get_command(click.Context(cli.group), verb)
    line = re.search("envmatrix .*", str(command and command.epilog))
    assert line, f"the help of `{verb}` has no example"
    return line[0]


def gpus() -> str:
    """Return the models of GPUs, by their names in `runs_on`."""
    rows = (
        [
            ", ".join(f"`{name}`" for name in (model.name, *model.aliases)),
            f"`{model.sm}`",
            _memory_of(model),
            ", ".join(model.arches) if len(model.arches) == 1 else "",
        ]
        for model in load_facts().gpus.values()
    )
    return table(["model", "`sm`", "memory", "only in machines of"], rows)


def _memory_of(model: GpuModel) -> str:
    """Return the memory of the smallest edition, and of the largest one."""
    amounts = [amount // 1000 for amount in (model.memory, model.largest) if amount]
    return f"{' to '.join(map(str, amounts))} GB" if amounts else ""


def sdks() -> str:
    """Return the licensed compilers that variants can name."""
    rows = (
        [
            f"`{sdk.name}`",
            sdk.cuda,
            ", ".join(sdk.std),
            ", ".join(sdk.arches),
            ", ".join(f"`{name}`" for name in sdk.variables),
        ]
        for sdk in load_facts().sdks.values()
    )
    return table(["`sdk`", "CUDA", "C++", "compiles for", "variables"], rows)


def sessions() -> str:
    """Return the sessions of noxfile.py that are not of cells."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    own = [[session_name(node), summary(node)] for node in functions if node.decorator_list]
    many = [[name, text.removesuffix(".")] for name, (_, text) in registration.MANY.items()]
    return table(["session", "what it does"], ([f"`{name}`", text] for name, text in (*own, *many)))


def session_name(function: ast.FunctionDef) -> str:
    (decorator,) = function.decorator_list
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    names = [ast.literal_eval(item.value) for item in keywords if item.arg == "name"]
    return str([*names, function.name][0])


def packages() -> str:
    """Return the packages and modules of each layer, by their docstrings."""
    return table(
        ["package", "contents"],
        ([f"`{layer}`", summary(TREES[layer])] for layer in LAYERS if layer != "__main__"),
    )


def summary(node: ast.Module | ast.FunctionDef) -> str:
    """Return the first paragraph of a docstring, in one line."""
    return " ".join(str(ast.get_docstring(node)).partition("\n\n")[0].split()).removesuffix(".")


def grid() -> str:
    """Return the cells of this repository: CUDA by operating system and architecture."""
    matrix = load_matrix(ROOT)
    notes: Notes = {}
    places = [(os, arch) for os in matrix.axes["os"] for arch in matrix.axes["arch"]]
    rows = [
        [cuda, *(cells_at(matrix, (cuda, *place), notes) for place in places)]
        for cuda in matrix.axes["cuda"]
    ]
    return with_notes(table(["CUDA", *map(", ".join, places)], rows), notes)


def cells_at(matrix: Matrix, place: tuple[str, str, str], notes: Notes) -> str:
    """Return the host compiler and the cuDNN versions of a place, or why no cell is there."""
    cells = [cell for cell in matrix.cells if (cell.cuda, cell.os, cell.arch) == place]
    exclusions = [
        row for row in matrix.exclusions if (row.cell.cuda, row.cell.os, row.cell.arch) == place
    ]
    if not cells:
        return f"— {note(notes, reason(exclusions[0]))}"
    text = f"GCC {cells[0].toolchain.gcc}"
    versions = [cell.cudnn for cell in cells if cell.cudnn]
    if versions:
        return f"{text}, cuDNN {', '.join(versions)}"
    unpublished = [row for row in exclusions if row.rule == "cudnn-arch"]
    return f"{text} {note(notes, reason(unpublished[0]))}" if unpublished else text


def reason(exclusion: Exclusion) -> str:
    return f"`{exclusion.rule}`: {exclusion.reason}"


def systems() -> str:
    """Return the operating systems with their packages and compilers."""
    facts = load_facts()

    def row(name: str) -> Sequence[str]:
        os = facts.os[name]
        first = facts.distributions[os.distribution].origins[0]
        origins = dict.fromkeys([first, os.origins.get("arm64", first)])
        repository = os.nvidia_repository.suite if os.nvidia_repository else ""
        packages = f"{os.family.name}: {', '.join(f'`{origin}`' for origin in origins)}"
        compilers = ", ".join(os.gcc), ", ".join(os.clang)
        return f"`{name}`", packages, os.glibc, *compilers, repository

    head = ["name", "packages", "glibc", "GCC", "Clang", "NVIDIA's repository"]
    return table(head, map(row, facts.os))


def checks() -> str:
    """Return the checks of `envmatrix doctor`; images cannot be built where `missing` is found."""
    every: Iterable[Check[Any]] = (*HOST_CHECKS, *PROJECT_CHECKS)
    rows = (
        [f"`{check.name}`", check.condition, "missing" if check.required else "warning"]
        for check in every
    )
    return table(["check", "it passes if", "else"], rows)


def omissions() -> str:
    """Return the groups of files that images omit."""
    rows = load_facts().omissions.items()
    return table(
        ["group", "files", "what they are for"],
        (
            [f"`{name}`", ", ".join(f"`{path}`" for path in row.paths), row.contents]
            for name, row in rows
        ),
    )


def releases() -> str:
    """Return the CUDA releases of each source, by repository and target."""
    facts = load_facts()
    places = dict.fromkeys(
        (package.source, package.suite)
        for release in facts.cuda.values()
        for package in release.packages
    )
    arches = ("x86_64", "aarch64", "ppc64le", "jetson")
    order = get_args(SourceName)
    rows = [
        [f"`{source}`", suite or "", *(span(facts, source, suite, arch) for arch in arches)]
        for source, suite in sorted(places, key=lambda row: (order.index(row[0]), row[1] or ""))
    ]
    return table(["source", "suite or repository", *(f"`{arch}`" for arch in arches)], rows)


def span(facts: Facts, source: str, suite: str | None, arch: str) -> str:
    """Return the releases that a repository has for a target, as a range."""

    def has(release: CudaRelease) -> bool:
        return any(
            (package.source, package.suite) == (source, suite) and arch in package.arches
            for package in release.packages
        )

    names = [name for name, release in facts.cuda.items() if has(release)]
    if not names:
        return "—"
    *_, newest = facts.cuda
    first, last = names[0], names[-1]
    if last == newest:
        return f"{first} and later"
    return first if first == last else f"{first} to {last}"


def components() -> str:
    """Return the components of each source, and why others lack them."""
    facts, sources = load_facts(), shipped_recipes().sources
    notes: Notes = {}
    rows = [
        [
            f"`{component.name}`",
            *(availability(facts, component.name, source, notes) for source in sources),
            needs(component.needs),
        ]
        for component in facts.components.values()
    ]
    head = ["component", *(f"`{source}`" for source in sources), "needs"]
    return with_notes(table(head, rows), notes)


def availability(facts: Facts, component: str, source: str, notes: Notes) -> str:
    """Return `yes` if a source has a component in some release, and why it lacks it in others."""
    absences = [
        facts.absence(component, source, release.release)
        for release in facts.cuda.values()
        if source in {package.source for package in release.packages}
    ]
    marks = dict.fromkeys(note(notes, absence.reason) for absence in absences if absence)
    return " ".join(["yes" if None in absences else "—", *marks])


def needs(releases: Mapping[str, Sequence[str]]) -> str:
    rows = sorted(releases.items(), key=lambda row: version_key(row[0]))
    return "; ".join(f"since {first} {', '.join(f'`{n}`' for n in names)}" for first, names in rows)


def standards() -> str:
    """Return the C++ standards with the compilers that have them."""
    rows = (
        [f"`{name}`", row.gcc, row.clang, row.cuda or "none"]
        for name, row in load_facts().standards.items()
    )
    return table(["C++", "GCC since", "Clang since", "CUDA since"], rows)


def clangs() -> str:
    """Return the CUDA releases and the GPU architectures that each Clang compiles itself."""
    rows = (
        [major, row.cuda or "none", ", ".join(row.sm)] for major, row in load_facts().clang.items()
    )
    return table(["Clang", "CUDA up to", "GPU architectures"], rows)


def pythons() -> str:
    """Return the releases of Python that are compiled, and the suites that have their sources."""
    rows = (
        [f"`{row.release}`" + (f", `{row.release}t`" if row.free_threaded else ""), row.suite]
        for row in load_facts().pythons.values()
    )
    return table(["release", "suite of Debian with its source"], rows)


def flavours() -> str:
    """Return the files of the built-in flavours."""
    files = sorted((ROOT / "generator/envmatrix/matrix/defaults").glob("*.yaml"))
    texts = (f"# envs/{file.name}\n{file.read_text('utf-8')}" for file in files)
    return "\n\n".join(f"```yaml\n{text}```" for text in texts)


def coverage() -> str:
    """Return the beginning and the end of the tier `pr` of the largest example."""
    with chdir(ROOT / "examples/nvidia-cuda"), redirect_stdout(io.StringIO()) as printed:
        cli.group.main(["plan", "--quiet", "--tier", "pr"], standalone_mode=False, obj=date.min)
    lines = printed.getvalue().splitlines()
    pairs = next(index for index, line in enumerate(lines) if re.match(r"\d+ of", line))
    return "\n".join(["```", *lines[:4], "...", *lines[pairs - 1 : pairs + 3], "...", "```"])


# The function that writes each table, by page and name.
TABLES: Mapping[tuple[str, str], Callable[[], str]] = {
    ("README.md", "cells"): grid,
    ("README.md", "verbs"): verbs,
    ("CONTRIBUTING.md", "sessions"): sessions,
    ("docs/design.md", "layers"): packages,
    ("docs/doctor.md", "checks"): checks,
    ("docs/how-to/migrate-from-ci-matrix.md", "formats"): formats,
    ("docs/images.md", "omissions"): omissions,
    ("docs/libraries.md", "standards"): standards,
    ("docs/libraries.md", "sdks"): sdks,
    ("docs/machines.md", "gpus"): gpus,
    ("docs/matrix.md", "clangs"): clangs,
    ("docs/matrix.md", "pythons"): pythons,
    ("docs/matrix.md", "flavours"): flavours,
    ("docs/matrix.md", "releases"): releases,
    ("docs/matrix.md", "systems"): systems,
    ("docs/matrix.md", "components"): components,
    ("docs/matrix.md", "coverage"): coverage,
}


def marked(page: str, name: str) -> str:
    """Return the table `name` of a page."""
    pattern = rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->"
    match = re.search(pattern, (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert match, f"{page} has no table `{name}`"
    return match[1]


def keys(page: str, name: str) -> Iterator[str]:
    """Yield the code in the first cells of a table, below its head."""
    for line in marked(page, name).splitlines()[2:]:
        yield from re.findall("`([^`]+)`", line.split(" | ")[0])


def main() -> None:
    for (page, name), written in TABLES.items():
        text = (ROOT / page).read_text("utf-8")
        before, after = f"<!-- {name} -->\n{marked(page, name)}", f"<!-- {name} -->\n{written()}"
        if before != after:
            (ROOT / page).write_text(text.replace(before, after), encoding="utf-8")
            print(f"wrote `{name}` of {page}")


if __name__ == "__main__":
    main()
