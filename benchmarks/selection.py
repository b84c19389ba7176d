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
from tests.outputs import cases_of

from envmatrix.app.library_sources import source_tree
from envmatrix.console import Console
from envmatrix.lock.lock_file import load
from envmatrix.lock.model import source_set
from envmatrix.matrix.library import Library
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.selection import find_cell
from envmatrix.sessions.buildsystems.cmake import DEPS, GRAPH
from envmatrix.sessions.test_dependencies import (
    Dependencies,
    dependencies,
    files_of_library,
    listed_tests,
    parse_ninja,
    selection,
)
from envmatrix.vcs.source_trees import differing_files

CELL = "cuda13.5-debian12-x86_64"

# Test -> the files that it is made of.
FilesByTest = Mapping[str, Collection[str]]


def main() -> None:
    parser = timing.arguments(__doc__, rounds=1)
    parser.add_argument("--project", type=Path, default=timing.ROOT)
    parser.add_argument("--library", default="vectorops")
    parser.add_argument("--releases", nargs=2, metavar="SUITE", help="of a Debian source package")
    options = parser.parse_args()
    timing.announce("What changes reach")
    root: Path = options.project.resolve()
    # To shard, CTest lists the tests, and the list is in its log.
    all_tests = ["--library", options.library, "--shard", "1/1"]
    timing.run([*timing.ENVMATRIX, "run", "test", CELL, *all_tests], root)
    matrix = load_matrix(root)
    (library,) = (item for item in matrix.libraries if item.name == options.library)
    build = root / "build" / find_cell(matrix, CELL).id / library.name / "devel"
    tests = listed_tests((build.parent / "list.log").read_text())
    graph = parse_ninja((build / GRAPH).read_text(), (build / DEPS).read_text())
    reach = dependencies(graph, tests, "/src")
    files_by_test = reach.files
    durations = {case.name: case.seconds for case in cases_of(build.parent / "junit.xml")}
    if options.releases:
        changed = _changed_between(root, library, options.releases)
        _print_files("changed between the releases", changed, files_by_test, durations)
    else:
        _print_commits(library, reach)
    every = set(reach.compiled)
    _print_files("that tests are made of", every, files_by_test, durations)
    if options.releases:
        _test_change(root, library, _median(changed & every, files_by_test))


def _median(files: set[str], files_by_test: FilesByTest) -> str:
    """Return the source file with the median number of tests that are made of it."""
    ranked = sorted(
        files, key=lambda name: (sum(name in inputs for inputs in files_by_test.values()), name)
    )
    sources = [name for name in ranked if name.endswith((".c", ".cpp", ".cu"))]
    return sources[len(sources) // 2]


def _test_change(root: Path, library: Library, name: str) -> None:
    """Change a file of a library in another repository, and run the tests that it affects."""
    assert library.source is not None
    with TemporaryDirectory(prefix="envmatrix-selection-") as scratch:
        project = Path(scratch)
        shutil.copytree(root / "envs", project / "envs")
        shutil.copytree(_locked_source(root, library), project / library.name)
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
        timing.run(test, project)  # fills the compiler cache
        shutil.rmtree(project / "build")
        whole = timing.run(test, project)
        with (project / library.name / name).open("a") as file:
            file.write("/* changed */\n")
        some = timing.run([*test, "--since", "HEAD"], project)
    ratio = some.wall / whole.wall
    print(f"`{name}` changed: {some.wall:.0f} s, everything {whole.wall:.0f} s, {ratio:.2f}")


_IDENTITY = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")


def _print_commits(library: Library, reach: Dependencies) -> None:
    rows = []
    for commit in _git("log", "--format=%h", "--", library.path).split():
        changed = _git("show", "--format=", "--name-only", commit).split("\n")
        files = files_of_library(list(filter(None, changed)), library.path)
        selected = selection(reach, files, ["*.md"])
        total = len(reach.earlier)
        count = total if selected.tests is None else len(selected.tests)
        rows.append([commit, str(len(files)), f"{count} of {total}", selected.reason])
    print(timing.table(["commit", "files", "tests", "why"], rows))


def _print_files(
    description: str, files: set[str], files_by_test: FilesByTest, durations: Mapping[str, float]
) -> None:
    relevant = sorted(files & {name for inputs in files_by_test.values() for name in inputs})
    print(f"of {len(files)} files {description}, tests are made of {len(relevant)}; one reaches")
    for unit, weights in {"tests": dict.fromkeys(files_by_test, 1.0), "seconds": durations}.items():
        whole = sum(weights.get(test, 0) for test in files_by_test)
        shares = [
            sum(weights.get(test, 0) for test, inputs in files_by_test.items() if name in inputs)
            for name in relevant
        ]
        share = (
            f"{mean(shares) / whole:.0%} in the mean, {median(shares) / whole:.0%} in the median"
        )
        print(f"  of {whole:.4g} {unit} {share}")


def _changed_between(root: Path, library: Library, suites: Sequence[str]) -> set[str]:
    """Return the files that are in the releases of both suites, and differ."""
    before, after = (_suite_source(root, library, suite) for suite in suites)
    return {name for name in differing_files(before, after) if (before / name).exists()}


def _locked_source(root: Path, library: Library) -> Path:
    """Return the directory of the library's locked source, which the build has fetched."""
    return source_tree(load(root).sets[source_set(library)], Console())


def _suite_source(root: Path, library: Library, suite: str) -> Path:
    """Return the directory of the library's source in a suite of Debian."""
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
