"""How much of a library's tests does a change reach?

A library is built once. Then: where it is in the repository, the tests that each commit of its own
history reaches, against all of them; where its source is locked, those that each file reaches that
its authors changed between two releases, as if it had been changed alone; and those that any one
file reaches. What no test that is known is made of runs everything, and is counted as that. At last
the source is committed to a repository, the file that reaches the median is changed, and
`run test --since HEAD` is compared with a build and tests of everything.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

import yaml
from benchmarks import timing
from tests.made import cases_of

from envmatrix.commands.locked import source_tree
from envmatrix.console import Console
from envmatrix.engine.sources import differing
from envmatrix.lock.libraries import source_set
from envmatrix.lock.model import load
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Library
from envmatrix.matrix.selection import find_cell
from envmatrix.sessions.buildsystems import DEPS, GRAPH
from envmatrix.sessions.dependencies import (
    Dependencies,
    build_of,
    dependencies,
    listed_tests,
    of_library,
    selection,
)

CELL = "cuda13.5-debian12-x86_64"

Known = Mapping[str, Collection[str]]


def main() -> None:
    parser = timing.arguments(__doc__, rounds=1)
    parser.add_argument("--project", type=Path, default=timing.ROOT)
    parser.add_argument("--library", default="vectorops")
    parser.add_argument("--releases", nargs=2, metavar="SUITE", help="of a Debian source package")
    given = parser.parse_args()
    timing.announce("What changes reach")
    root: Path = given.project.resolve()
    # A shard is of the tests that CTest lists, and the list is in its log.
    all_tests = ["--library", given.library, "--shard", "1/1"]
    timing.run([*timing.ENVMATRIX, "run", "test", CELL, *all_tests], root)
    matrix = load_matrix(root)
    (library,) = (its for its in matrix.libraries if its.name == given.library)
    build = root / "build" / find_cell(matrix, CELL).id / library.name / "devel"
    tests = listed_tests((build.parent / "list.log").read_text())
    graph = build_of((build / GRAPH).read_text(), (build / DEPS).read_text())
    reach = dependencies(graph, tests, "/src")
    known = reach.files
    took = {its.name: its.seconds for its in cases_of(build.parent / "junit.xml")}
    if given.releases:
        changed = _between(root, library, given.releases)
        _tell_files("changed between the releases", changed, known, took)
    else:
        _tell_commits(library, reach)
    every = set(reach.compiled)
    _tell_files("that tests are made of", every, known, took)
    if given.releases:
        _change(root, library, _median(changed & every, known))


def _median(files: set[str], known: Known) -> str:
    """The source file that as many tests are made of as of the median one."""
    ranked = sorted(files, key=lambda name: (sum(name in its for its in known.values()), name))
    sources = [name for name in ranked if name.endswith((".c", ".cpp", ".cu"))]
    return sources[len(sources) // 2]


def _change(root: Path, library: Library, name: str) -> None:
    """Change one file of a library in a repository of its own, and test what that reaches."""
    assert library.source is not None
    with TemporaryDirectory(prefix="envmatrix-selection-") as scratch:
        project = Path(scratch)
        shutil.copytree(root / "envs", project / "envs")
        shutil.copytree(_locked(root, library), project / library.name)
        entry = yaml.safe_load((root / "matrix.yaml").read_text())
        own = {**entry["libraries"][library.name], "path": library.name}
        del own["source"]
        matrix = {**entry, "libraries": {library.name: own}}
        (project / "matrix.yaml").write_text(yaml.safe_dump(matrix))
        for verb in ("lock", "generate"):
            timing.run([*timing.ENVMATRIX, verb], project)
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "one"]):
            timing.run(["git", *_IDENTITY, *command], project)
        test = [*timing.ENVMATRIX, "run", "test", CELL]
        timing.run(test, project)  # whatever the compiler cache lacks
        shutil.rmtree(project / "build")
        everything = timing.run(test, project)
        with (project / library.name / name).open("a") as file:
            file.write("/* changed */\n")
        some = timing.run([*test, "--since", "HEAD"], project)
    ratio = some.wall / everything.wall
    print(f"`{name}` changed: {some.wall:.0f} s, everything {everything.wall:.0f} s, {ratio:.2f}")


_IDENTITY = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")


def _tell_commits(library: Library, reach: Dependencies) -> None:
    rows = []
    for commit in _git("log", "--format=%h", "--", library.path).split():
        changed = _git("show", "--format=", "--name-only", commit).split("\n")
        inside, _ = of_library(list(filter(None, changed)), library.path)
        found = selection(reach, inside, ["*.md"])
        every = len(reach.earlier)
        count = every if found.tests is None else len(found.tests)
        rows.append([commit, str(len(inside)), f"{count} of {every}", found.reason])
    print(timing.table(["commit", "files", "tests", "why"], rows))


def _tell_files(which: str, files: set[str], known: Known, took: Mapping[str, float]) -> None:
    made_of = sorted(files & {name for its in known.values() for name in its})
    print(f"of {len(files)} files {which}, tests are made of {len(made_of)}; one reaches")
    for what, weights in {"tests": dict.fromkeys(known, 1.0), "seconds": took}.items():
        whole = sum(weights.get(test, 0) for test in known)
        shares = [
            sum(weights.get(test, 0) for test, its in known.items() if name in its)
            for name in made_of
        ]
        share = (
            f"{mean(shares) / whole:.0%} in the mean, {median(shares) / whole:.0%} in the median"
        )
        print(f"  of {whole:.4g} {what} {share}")


def _between(root: Path, library: Library, suites: Sequence[str]) -> set[str]:
    """The files that differ between the releases of two suites, and are in both."""
    before, after = (_tree(root, library, suite) for suite in suites)
    return {name for name in differing(before, after) if (before / name).exists()}


def _locked(root: Path, library: Library) -> Path:
    """The library's source as the lock of the project has it; it was built, so it is here."""
    return source_tree(load(root).sets[source_set(library)], Console())


def _tree(root: Path, library: Library, suite: str) -> Path:
    """The library's source as a suite of Debian has it."""
    assert library.source is not None
    text = (root / "matrix.yaml").read_text()
    entry = f"debian: {library.source.place}, suite: "
    with TemporaryDirectory(prefix="envmatrix-selection-") as scratch:
        project = Path(scratch)
        (project / "envs").symlink_to(root / "envs")
        changed = text.replace(f"{entry}{library.source.version}", f"{entry}{suite}")
        (project / "matrix.yaml").write_text(changed)
        timing.run([*timing.ENVMATRIX, "lock"], project)
        locked = load(project).sets[source_set(library)]
    print(f"{suite}: {locked.artifacts[0].version}")
    return source_tree(locked, Console())


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(timing.ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
