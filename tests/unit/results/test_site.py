"""Pages of runs that others recorded: whatever is stored, files are in one directory only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from tests.unit.prompt import Prompt
from tests.unit.results.examples import CELL, comparison, record

from envmatrix.errors import Position
from envmatrix.results import page_paths, tables
from envmatrix.results.database import connect
from envmatrix.results.page_paths import cell_page, file_name, run_page
from envmatrix.results.page_templates import command, commit
from envmatrix.results.records import Revision
from envmatrix.results.report import Scope
from envmatrix.results.site import Project, Site
from envmatrix.results.waivers import Waiver
from envmatrix.sessions.outcomes import State, Step
from envmatrix.sessions.products import Product

ROOT = Path(__file__).parents[3]

NAMES = [
    "../../../escaped",
    "/escaped",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "%2e%2e%2fescaped",
    "a\nb",
    "\x1b[31m",
    "<script>alert(1)</script>",
    '"onmouseover=alert(1) x="',
    "javascript:alert(1)",
    "n" * 400,
    "\u202e\U0001f600",
    "con~0",
    "a~" + "0" * 32,
    "-rf",
    "index.html",
]


class Links(HTMLParser):
    """The links of a page, and its elements that could run a program."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        source = dict(attrs).get("src")
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.append(value or "")
            if name.startswith("on"):
                self.active.append(f"{tag} {name}")
        if tag == "iframe" or (tag == "script" and not (source or "").endswith("grid.js")):
            self.active.append(tag)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has runs with each of these names in each place; tests only read it."""
    store = tmp_path_factory.mktemp("store") / "results.sqlite"
    now = datetime.now(UTC).timestamp()
    with connect(store) as database:
        database.add(record(1))
        for number, name in enumerate(NAMES):
            database.add(record(2, {name: "failed"}, library=name, message=name))
            database.add(record(3, {"t": "flaky"}, cell=name, revision=name))
            compared = comparison(name, device=name, pairs=name)
            database.add(record(4, verb="perf", library=f"l{number}", comparisons=[compared]))
            with database.engine.begin() as connection:
                row = {
                    "id": name,
                    "library": f"id{number}",
                    "cell": CELL,
                    "verb": "test",
                    "state": "failed",
                    "message": name,
                    "started": now,
                    "seconds": 1.0,
                    "revision": name,
                    "branch": name,
                    "image": name,
                    "digest": name,
                    "host": name,
                    "shard": "",
                    "cause": "product",
                    **dict.fromkeys(("passed", "flaky", "failed", "errored", "skipped"), 0),
                }
                connection.execute(sa.insert(tables.runs), row)
    return store


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose store has one run."""
    root = tmp_path / "outer" / "repository"
    (root / ".envmatrix").mkdir(parents=True)
    shutil.copy(ROOT / "matrix.yaml", root)
    shutil.copytree(ROOT / "envs", root / "envs")
    monkeypatch.chdir(root)
    with connect(root / ".envmatrix/results.sqlite") as database:
        database.add(record(1))
    return root


def test_pages_are_written_in_their_directory_only(
    repository: Path, store: Path, envmatrix: Prompt
) -> None:
    shutil.copy(store, repository / ".envmatrix")
    outer = repository.parent
    before = {file for file in outer.rglob("*") if repository / "site" not in file.parents}

    answer = envmatrix("report", "--html", "site")

    assert answer.status == 0, answer.err
    after = {file for file in outer.rglob("*") if repository / "site" not in file.parents}
    assert {file.relative_to(repository).parts[0] for file in after - before} <= {
        "site",
        ".envmatrix",
    }
    pages = [page for page in (repository / "site").rglob("*.html") if page.is_file()]
    assert len(pages) > 4 * len(NAMES)
    for page in pages:
        links = Links()
        links.feed(page.read_text())
        assert links.active == []
        for target in links.targets:
            file = page.parent / unquote(target.removesuffix("#image"))
            assert target in ("data:,", "#main") or file.exists(), target


def test_each_page_is_served_under_its_link(store: Path) -> None:
    waiver = Waiver(
        test="*",
        owner="ana",
        bug="javascript:alert(1)",
        expires=date(2999, 1, 1),
        position=Position("waivers.yaml", 1, 1),
    )
    with connect(store) as database, database.reading() as connection:
        site = Site(connection, Scope(date(2026, 1, 1), 1e9, (waiver,)))
        paths = list(site.paths())
        assert len(set(paths)) == len(paths)
        assert all(site.page(path) for path in paths)
        assert 'href="javascript' not in (site.page("index.html") or "")


COMMIT = "0123456789abcdef" * 2 + "01234567"
OTHER_CELL = "cuda12.4-debian12-x86_64"


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Site]:
    """The site of a library that broke in one of two cells, after ten runs that passed."""
    with connect(tmp_path / "results.sqlite") as database:
        for number in range(1, 12):
            state: State = "failed" if number == 11 else "passed"
            log = "".join(f"line {line}\n" for line in range(200))
            for cell in (CELL, OTHER_CELL):
                database.add(
                    record(
                        number,
                        {"sum": state if cell == CELL else "passed", "max[1]": "passed"},
                        cell=cell,
                        revision=COMMIT if number == 11 else f"r{number}",
                        steps=[Step("compile", 0, 1.0, log), Step("test", 8, 1.0, log)],
                    )
                )
        with database.reading() as connection:
            project = Project(
                name="numbers",
                cells=(CELL, OTHER_CELL, "cuda9.2-debian12-x86_64"),
                owners={"lib": "ana <ana@example>"},
                commit_urls={"lib": "https://git.example/{commit}?plain"},
            )
            yield Site(connection, Scope(date(2026, 1, 1), 1e9), project)


def page(site: Site, path: str) -> str:
    text = site.page(path)
    assert text is not None, path
    return text


def test_the_first_page_says_what_is_broken_since_when_and_whose_it_is(broken: Site) -> None:
    text = page(broken, "index.html")
    parts = [
        "numbers",
        "1 of 2 fail",
        "main",
        f'<a href="https://git.example/{COMMIT}?plain" rel="external noreferrer">',
        '<a href="outcome/lib/sum.html">',
        "sum says failed",
        f"envmatrix run test {CELL} --library lib",
        f"cell/lib/{CELL}.html#image",
        "1970-01-01 00:00",
        "<code>r10</code>",
        "ana &lt;ana@example&gt;",
        "1 failed, 1 passed, 1 not run",
        '<table class="map">',
    ]
    positions = [text.find(part) for part in parts]
    assert -1 not in positions
    assert positions[4:7] == sorted(positions[4:7])
    assert positions[4] < positions[-1], "failures come before the cells"


def test_a_static_site_has_the_runs_where_failures_began_and_no_others(broken: Site) -> None:
    site = broken.static()
    assert list(site.paths()) == [
        "index.html",
        cell_page("lib", OTHER_CELL),
        cell_page("lib", CELL),
        "outcome/lib/sum.html",
        run_page(record(10).run.id),
    ]
    links = Links()
    for path in site.paths():
        links.feed(page(site, path))
    assert not [target for target in links.targets if target.endswith(record(9).run.id + ".html")]
    assert record(9).run.id in page(broken, cell_page("lib", CELL))


def test_a_static_site_has_the_end_of_a_log_without_an_error(broken: Site) -> None:
    text = page(broken.static(), cell_page("lib", CELL))
    compiled, tested = text.split("exit code 8")
    assert "… 150 lines before" in compiled
    assert "line 149\n" not in compiled
    assert "line 150\n" in compiled
    assert "line 0\n" in tested
    assert "lines before" not in page(broken, cell_page("lib", CELL))


def test_the_page_of_a_run_says_what_a_wheel_has(tmp_path: Path) -> None:
    wheel = Product("devel/dist/a.whl", None, 144_485, "0" * 64, "cp311; loads <b> of torch")
    with connect(tmp_path / "results.sqlite") as database:
        database.add(record(1, products=[wheel]))
        with database.reading() as connection:
            site = Site(connection, Scope(date(2026, 1, 1), 1e9), Project("numbers", (CELL,)))
            text = page(site, cell_page("lib", CELL))
    assert '<span class="note">cp311; loads &lt;b&gt; of torch</span>' in text


def test_a_page_shows_a_test_in_all_cells(broken: Site) -> None:
    text = page(broken, "outcome/lib/sum.html")
    assert "1 failed, 1 passed, 1 not run" in text
    assert f'title="{CELL}: failed, 0.50 s"' in text
    assert f'title="{OTHER_CELL}: passed, 0.50 s"' in text
    assert f"envmatrix run test {CELL} --library lib" in text
    passed = page(broken, page_paths.test_page("lib", "max[1]"))
    assert "2 passed, 1 not run" in passed
    assert "<h1><code>max[1]</code>" in passed


@pytest.mark.parametrize(
    "path", ["outcome/lib/none.html", "outcome/none/sum.html", f"outcome/lib/{'a~'}"]
)
def test_a_test_that_no_run_has_has_no_page(broken: Site, path: str) -> None:
    assert broken.page(path) is None


@pytest.mark.parametrize("revision", ["r1", "12345", f"{COMMIT}-changed", "javascript:alert(1)"])
def test_only_a_commit_is_a_link(revision: str) -> None:
    assert "href" not in commit(Revision(revision), "https://git.example/{commit}")
    assert "href" in commit(Revision(COMMIT), "https://git.example/{commit}")
    assert "href" not in commit(Revision(COMMIT), None)


def test_a_command_is_one_whatever_the_names(broken: Site) -> None:
    run = record(1, library="a b", cell="$(rm -rf x)", shard="1/3").run
    assert command(run) == "envmatrix run test '$(rm -rf x)' --library 'a b' --shard 1/3"


@pytest.mark.parametrize(
    ("verb", "part", "words"),
    [
        ("test", "on-h100", "test cell"),
        ("step", "nvrtc", "step nvrtc cell"),
        ("step", "nvrtc on-h100", "step nvrtc cell"),
        ("perf", "on-t4", "perf cell"),
    ],
)
def test_a_command_does_the_same_on_this_machine(verb: str, part: str, words: str) -> None:
    run = record(1, library="lib", cell="cell", verb=verb, part=part).run
    assert command(run) == f"envmatrix run {words} --library lib"


@pytest.mark.parametrize(
    "path",
    [
        "cell/../x",
        "run/../../x",
        "cell//",
        "run/\0",
        "run/~",
        "a/b/c/d",
        "run/" + "~" * 40,
        "cell/a/" + "b" * 10_000,
        "run/\udcff",
        "",
        "/",
    ],
)
def test_a_path_that_is_no_page_is_none(store: Path, path: str) -> None:
    with connect(store) as database, database.reading() as connection:
        assert Site(connection, Scope(date(2026, 1, 1), 1e9)).page(path) is None


def test_names_have_files_of_their_own() -> None:
    assert file_name("vector.ops-1_x+y") == "vector.ops-1_x+y"
    assert len({file_name(name) for name in NAMES}) == len(NAMES)
    assert all(len(file_name(name)) < 130 for name in NAMES)


@pytest.mark.parametrize("kind", ["index.html", "cell", "run", "style.css", "a file", "links"])
def test_what_is_no_dashboard_is_left_as_it_is(
    repository: Path, envmatrix: Prompt, kind: str
) -> None:
    site = repository / "site"
    if kind == "a file":
        site.write_text("mine")
    else:
        site.mkdir()
        if kind == "links":
            (repository / "mine").mkdir()
            (site / "cell").symlink_to(repository / "mine")
            (site / "index.html").symlink_to(repository / "matrix.yaml")
        else:
            (site / kind).write_text("mine")
    before = {
        file: file.read_bytes()
        for file in repository.rglob("*")
        if file.is_file() and ".envmatrix" not in file.parts
    }

    answer = envmatrix("report", "--html", "site")

    assert answer.status == 2
    assert "`site`" in answer.err
    for file, content in before.items():
        assert file.read_bytes() == content


@pytest.mark.parametrize("column", ["message", "library"])
def test_a_store_without_a_valid_result_is_no_success(
    repository: Path, envmatrix: Prompt, column: str
) -> None:
    assert envmatrix("report", "--check").err == ""
    with (
        connect(repository / ".envmatrix/results.sqlite") as database,
        database.engine.begin() as connection,
    ):
        connection.execute(sa.update(tables.runs).values({column: sa.literal_column("x'ff'")}))
    answer = envmatrix("report", "--check")
    assert answer.status == 1
    assert "warning: there is no valid result; invalid and left out: " in answer.err
    assert "nothing has run yet" not in answer.err
    assert envmatrix("report").status == 0


def test_a_place_without_a_valid_result_is_named(repository: Path, envmatrix: Prompt) -> None:
    with connect(repository / ".envmatrix/results.sqlite") as database:
        database.add(record(1, library="other"))
        with database.engine.begin() as connection:
            change = sa.update(tables.runs).values(message=sa.literal_column("x'ff'"))
            connection.execute(change.where(tables.runs.c.library == "other"))
    answer = envmatrix("report", "--check", "--format", "junit")
    assert answer.status == 1
    assert f"warning: no result of `other` in `{CELL}` is valid\n" in answer.err


def test_only_a_library_of_the_repository_has_its_commits(
    repository: Path, envmatrix: Prompt
) -> None:
    matrix = (repository / "matrix.yaml").read_text()
    foreign = "  foreign: {source: {git: 'https://git.example/foreign', revision: main}}\n"
    declared = matrix.replace("libraries:\n", f"libraries:\n{foreign}")
    commit_url = 'commit_url: "https://git.example/own/{commit}"\n'
    (repository / "matrix.yaml").write_text(f"{declared}{commit_url}")
    with connect(repository / ".envmatrix/results.sqlite") as database:
        for library in ("foreign", "vectorops"):
            database.add(record(1, library=library, revision=COMMIT))

    answer = envmatrix("report", "--html", "site")

    assert answer.status == 0, answer.err
    own, other = (
        (repository / "site" / cell_page(library, CELL)).read_text()
        for library in ("vectorops", "foreign")
    )
    assert f'href="https://git.example/own/{COMMIT}"' in own
    assert "repository</a>" in own
    assert COMMIT in other
    assert "https://git.example" not in other


def test_what_was_put_beside_a_dashboard_stays(repository: Path, envmatrix: Prompt) -> None:
    envmatrix("report", "--html", "site")
    site = repository / "site"
    (site / "CNAME").write_text("mine")
    (site / "run").mkdir()
    (site / "run/old.html").write_text("of a run that is gone")
    (repository / "mine").mkdir()
    (site / "style.css").unlink()
    (site / "style.css").symlink_to(repository / "mine" / "style.css")

    envmatrix("report", "--html", "site")

    assert (site / "CNAME").read_text() == "mine"
    assert not (site / "run/old.html").exists()
    assert list((repository / "mine").iterdir()) == []
