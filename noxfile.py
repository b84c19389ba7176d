"""Sessions: the project's own checks, and for every cell of matrix.yaml what people do in it.

`nox -l` lists them; `nox -s build-cuda12-aarch64` is the main job.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

from envmatrix.machine.cache import cache_directory, exclusive
from envmatrix.sessions.registration import add_sessions

ROOT = Path(__file__).parent

# About what all tests together take of the disk where nothing is there yet, in bytes.
_ROOM = 40 << 30

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = False


# Two tests at a time, by the groups and in the order of tests/scheduling.py.
_TWO_AT_A_TIME = "--numprocesses=2"


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run lint, unit tests, and integration tests with real cells, except for the longest."""
    _test(session, "-m", "not long")


@nox.session(name="tests-all", default=False)
def tests_all(session: nox.Session) -> None:
    """Run `tests` with the longest: minutes for other ways to test the same, and an example."""
    _test(session)


def _test(session: nox.Session, *options: str) -> None:
    lint(session)
    _make_room(session)
    paths = ("--no-loadscope-reorder", "tests/integration", "tests/unit")
    session.run("pytest", _TWO_AT_A_TIME, *paths, *options, *session.posargs)


def _install_test_tools(session: nox.Session) -> None:
    _install_tools(session, "test")


def _install_tools(session: nox.Session, extra: str) -> None:
    """Install what sessions need into the environment of `noxw`, which begins without it."""
    environment = Path(sys.prefix)
    stamp = environment / f".ready-for-{extra}"
    if not (environment / ".ready").exists():
        return
    with exclusive(environment.with_name(f"{environment.name}.lock")):
        if not stamp.exists():
            pip = ("python", "-m", "pip", "install", "-qq", "--disable-pip-version-check")
            session.run(*pip, "-c", f"{ROOT}/constraints.txt", "-e", f"{ROOT}[{extra}]")
            stamp.touch()


def _make_room(session: nox.Session) -> None:
    """Give up what earlier runs left, where disk is scarce and $CI says that a machine is for this.
    Tests say themselves what they cannot do without."""
    if os.environ.get("CI") and shutil.disk_usage(cache_directory().parent).free < _ROOM:
        prune = ("docker", "builder", "prune", "--all", "--force")
        for command in (("envmatrix", "gc", "--yes"), prune):
            session.run(*command, success_codes=range(256))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, the lock, and generated files: offline."""
    _install_test_tools(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("envmatrix", "lock", "--check")
    session.run("envmatrix", "generate", "--check")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the unit tests: offline, without a container engine."""
    _install_test_tools(session)
    session.run("pytest", _TWO_AT_A_TIME, "tests/unit", *session.posargs)


@nox.session(default=False)
def roundtrip(session: nox.Session) -> None:
    """Publish, wipe, pull signed images, rebuild from a mirror, and compare; inject faults."""
    _install_test_tools(session)
    files = ("roundtrip", "faults")
    paths = (f"tests/integration/test_{name}.py" for name in files)
    session.run("pytest", *paths, *session.posargs)


@nox.session(name="aarch64-host", default=False)
def aarch64_host(session: nox.Session) -> None:
    """Plan, build, compile and test on an aarch64 host under QEMU."""
    _install_test_tools(session)
    test = "tests/integration/test_aarch64_host.py"
    session.run("pytest", test, *session.posargs, env={"AARCH64_HOST": "1"})


@nox.session(default=False)
def hostile(session: nox.Session) -> None:
    """Build libraries that attack the machine; read thousands of mutated inputs."""
    _install_test_tools(session)
    session.run("pytest", "tests/hostile", *session.posargs)


@nox.session(default=False)
def ci(session: nox.Session) -> None:
    """Run the pipelines of GitHub, GitLab and Jenkins, also of an adopter (docs/ci/index.md)."""
    _install_test_tools(session)
    parts = ("pipelines", "github", "gitlab", "jenkins")
    tests = (f"tests/integration/test_{part}.py" for part in parts)
    session.run("pytest", "tests/ci", *tests, *session.posargs)


@nox.session(default=False)
def kubernetes(session: nox.Session) -> None:
    """Run tasks and many jobs on the cluster of $ENVMATRIX_TEST_KUBECONFIG (docs/executors.md)."""
    _install_test_tools(session)
    tests = (f"tests/integration/{name}.py" for name in ("test_executors", "test_executor_faults"))
    session.run("pytest", *tests, "-k", "kubernetes", *session.posargs)
    many_cells = ("python", "-m", "benchmarks.many", "--on", "kubernetes")
    session.run("python", "-m", "benchmarks.cluster", *many_cells)


@nox.session(default=False)
def many(session: nox.Session) -> None:
    """Test eight libraries in twelve cells, kill and repeat that, and measure it (docs/jobs.md)."""
    session.run("python", "-m", "benchmarks.many", *session.posargs)


@nox.session(default=False)
def libraries(session: nox.Session) -> None:
    """Compile and test libraries that need each other, natively and crossed (examples/chain)."""
    session.run("python", "-m", "benchmarks.chain", *session.posargs)


@nox.session(default=False)
def statistics(session: nox.Session) -> None:
    """Print how well slowdowns are found, and how often by chance (docs/performance.md)."""
    _install_test_tools(session)
    session.run("python", "-m", "benchmarks.decisions", *session.posargs)


@nox.session(default=False)
def newcomer(session: nox.Session) -> None:
    """Go from bare Debian with Python to a passing test by five commands (docs/newcomers.md)."""
    _install_test_tools(session)
    session.run("python", "-m", "benchmarks.newcomer", *session.posargs)


@nox.session(default=False)
def finders(session: nox.Session) -> None:
    """Check what build systems find, in every way to invoke a build (docs/discovery.md)."""
    _install_test_tools(session)
    session.run("pytest", "tests/integration/test_finders.py", "--finders", *session.posargs)


@nox.session(default=False)
def constraints(session: nox.Session) -> None:
    """Write constraints.txt with the newest releases of the project's own dependencies."""
    scratch = session.create_tmp()
    pip = f"{scratch}/venv/bin/pip"
    session.run(sys.executable, "-m", "venv", "--clear", f"{scratch}/venv")
    session.run(
        pip,
        "install",
        "-q",
        "--disable-pip-version-check",
        f"{ROOT}[kubernetes,perforce,postgresql,site,test]",
    )
    frozen = session.run(pip, "freeze", "--exclude", "envmatrix", silent=True, stderr=None)
    banner = "# GENERATED by `./noxw -s constraints`; do not edit. Tests run with these versions.\n"
    (ROOT / "constraints.txt").write_text(f"{banner}{frozen}")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write the tables, pages and pictures of the documentation that repeat code and data."""
    _install_test_tools(session)
    for module in ("tests.tables", "website.reference", "website.pictures"):
        session.run("python", "-m", module)


@nox.session(default=False)
def recording(session: nox.Session) -> None:
    """Record the terminal of the README: builds and tests a small library, shows its output."""
    _install_tools(session, "site")
    session.run("python", "-m", "website.recording")


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """Build the documentation site in build/site/html, with both builders, and check it."""
    _install_test_tools(session)
    _install_tools(session, "site")
    session.run("python", "-m", "website.staging")
    session.run("zensical", "build", "--strict", "--clean")
    session.run("pytest", "tests/site", *session.posargs)


@nox.session(name="release-notes", default=False)
def release_notes(session: nox.Session) -> None:
    """Print the changelog of a version: `-- 0.1.0`."""
    sections = (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1:]
    notes = [text for text in sections if [text.split(",")[0]] == session.posargs]
    if not notes:
        session.error("name a version of CHANGELOG.md: `-- 0.1.0`")
    print(f"## {notes[0]}")


add_sessions(ROOT)
