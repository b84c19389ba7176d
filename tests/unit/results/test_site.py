"""Pages of runs that others recorded: whatever is stored, files are in one directory only."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from tests.unit.prompt import Prompt
from tests.unit.results.examples import CELL, record

from envmatrix.errors import Position
from envmatrix.results import tables
from envmatrix.results.database import connect
from envmatrix.results.report import Scope
from envmatrix.results.site import Site, file_name
from envmatrix.results.waivers import Waiver

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
    assert len(pages) > 5 * len(NAMES)
    for page in pages:
        links = Links()
        links.feed(page.read_text())
        assert links.active == []
        for target in links.targets:
            assert target in ("data:,", "#main") or (page.parent / unquote(target)).exists(), target


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
    assert envmatrix("report", "--check").status == 0
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


def test_what_was_put_beside_a_dashboard_stays(repository: Path, envmatrix: Prompt) -> None:
    envmatrix("report", "--html", "site")
    site = repository / "site"
    (site / "CNAME").write_text("mine")
    (site / "run/old.html").write_text("of a run that is gone")
    (repository / "mine").mkdir()
    (site / "style.css").unlink()
    (site / "style.css").symlink_to(repository / "mine" / "style.css")

    envmatrix("report", "--html", "site")

    assert (site / "CNAME").read_text() == "mine"
    assert not (site / "run/old.html").exists()
    assert list((repository / "mine").iterdir()) == []
