"""The dashboard in a real browser: files, served, without JavaScript, by keyboard, on a phone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page
from tests import browsers
from tests.integration.conftest import ROOT
from tests.unit.results.examples import record

from envmatrix.machine.origins import Origins
from envmatrix.results.database import connect
from envmatrix.sessions.outcomes import Measurement, Step
from envmatrix.sessions.products import Product

CELLS = ("cuda12.4-debian12-x86_64", "cuda13.5-debian12-aarch64", "cuda13.5-debian12-x86_64")
# To be looked at; nothing compares them.
SHOTS = ROOT / "build/screenshots"
SCRIPT = "<script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with results of two libraries in three cells."""
    root = tmp_path_factory.mktemp("dashboard")
    (root / "matrix.yaml").write_text((ROOT / "matrix.yaml").read_text())
    (root / "envs").symlink_to(ROOT / "envs")
    with connect(root / ".envmatrix/results.sqlite") as database:
        for number in range(1, 13):
            for cell in CELLS:
                bad = cell == CELLS[1] and number > 9
                database.add(
                    record(
                        1_790_000_000 + number * 3600,
                        {
                            "host_reference": "passed",
                            "host_runtime": "failed" if bad else "passed",
                            "gpu_axpy": "skipped",
                            SCRIPT: "flaky",
                        },
                        library="vectorops",
                        cell=cell,
                        revision=f"{number:040x}",
                        cause="product" if bad else None,
                        message="1 of 4 tests failed" if bad else "",
                        seconds=60.0 + number,
                        steps=[
                            Step("compile", 0, 50.0, f"[1/9] {SCRIPT}\n"),
                            Step("test", 0, 9, ""),
                        ],
                        measurements=[Measurement("line coverage", 80 + number / 4, "%", "higher")],
                        products=[Product("libvectorops.so.1", "x86_64", 1_702_832, "0" * 64)],
                    )
                )
        database.add(record(1_790_050_000, library="solver", cell=CELLS[0], verb="compile"))
    return root


@pytest.fixture(scope="module")
def files(repository: Path) -> Path:
    """The dashboard as files."""
    directory = repository / "site"
    command = [sys.executable, "-m", "envmatrix", "report", "--html", str(directory)]
    subprocess.run(command, cwd=repository, check=True)
    return directory


@pytest.fixture(scope="module")
def address(repository: Path) -> Iterator[str]:
    """The address of the dashboard."""
    command = [sys.executable, "-m", "envmatrix", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        yield serving.stdout.readline().strip()
        serving.terminate()


@pytest.fixture(scope="module")
def browser(base: str, repository: Path) -> Iterator[Browser]:
    image = browsers.image(base, Origins().archive("debian")[0])
    with browsers.browse(image, repository) as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails for whatever its console says is wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    yield tab
    context.close()
    assert problems == []


def test_the_grid_has_a_place_for_every_cell_and_its_state(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")

    assert page.locator("h1").inner_text() == "1 of 4 fail"
    rows = page.locator("table.grid tbody tr")
    assert rows.count() == 25, "all cells of the matrix"
    row = page.locator(f'tr[data-cell="{CELLS[1]}"]')
    text = row.inner_text()
    assert "FAILED" in text
    assert "1 passed, 1 flaky, 1 failed, 1 skipped" in text
    assert "1 min 12 s, 2 MB, 83 % covered" in text
    assert "not run" in text
    page.screenshot(path=SHOTS / "grid.png", full_page=True)


def test_a_failure_leads_to_its_test_and_its_log(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")
    page.get_by_role("link", name="vectorops in cuda13.5-debian12-aarch64").first.click()

    assert "host_runtime says failed" in page.locator("main").inner_text()
    strip = page.locator("tr", has_text="host_runtime").locator(".strip a")
    assert [strip.nth(n).get_attribute("class") for n in (0, 11)] == ["passed", "failed"]
    page.locator("summary", has_text="compile").click()
    assert SCRIPT in page.locator("details[open] pre").first.inner_text()
    page.screenshot(path=SHOTS / "run.png", full_page=True)
    strip.first.click()
    assert page.locator("h1 .badge").inner_text() == "passed"


def test_what_a_test_prints_is_text(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/cell/vectorops/{CELLS[0]}.html")

    assert SCRIPT in page.locator("main").inner_text()
    assert page.title() != "owned"


def test_all_can_be_read_without_javascript(browser: Browser, files: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{files}/index.html")

    assert page.locator("table.grid tbody tr").count() == 25
    assert not page.locator("form.filter").is_visible()
    page.locator(f'tr[data-cell="{CELLS[1]}"] a').click()
    assert page.locator("h1").inner_text().startswith("vectorops")
    page.locator("summary", has_text="passed").click()
    assert page.get_by_text("host_reference").is_visible()
    context.close()


def test_links_lead_to_pages_that_are_there(files: Path) -> None:
    for file in files.rglob("*.html"):
        text = file.read_text()
        for part in text.split('href="')[1:]:
            target = part.partition('"')[0]
            if not target.startswith(("data:", "#")):
                assert (file.parent / target).resolve().is_file(), f"{file}: {target}"


def test_the_filter_leaves_the_cells_that_match(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")
    page.get_by_label("Only cells with").fill("cuda13.5 aarch64")
    assert page.locator("table.grid tbody tr:visible").count() == 4

    page.get_by_label("that fail").check()
    assert page.locator("table.grid tbody tr:visible").count() == 1


def test_the_keyboard_goes_through_the_grid(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"

    page.locator(f'tr[data-cell="{CELLS[0]}"] td[data-library="solver"] a').focus()
    where = "document.activeElement.getAttribute('href')"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(where) == f"cell/vectorops/{CELLS[0]}.html"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(where) == f"cell/vectorops/{CELLS[1]}.html" or CELLS[2] in page.evaluate(
        where
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/cell/vectorops/**")


def test_a_phone_scrolls_one_way_only(browser: Browser, files: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    for path in ("index.html", f"cell/vectorops/{CELLS[1]}.html"):
        page.goto(f"file://{files}/{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, path
        name = path.partition("/")[0].removesuffix(".html")
        page.screenshot(path=SHOTS / f"phone-{name}.png")
    context.close()


def test_it_is_served_as_it_is_now(page: Page, address: str, repository: Path) -> None:
    page.goto(address)
    assert page.locator("h1").inner_text() == "1 of 4 fail"
    mended = record(1_790_100_000, {"a": "passed"}, library="vectorops", cell=CELLS[1])
    with connect(repository / ".envmatrix/results.sqlite") as database:
        database.add(mended)

    page.reload()

    assert page.locator("h1").inner_text() == "All 4 are good"
    page.get_by_role("link", name=CELLS[1]).or_(
        page.locator(f'tr[data-cell="{CELLS[1]}"] a')
    ).first.click()
    assert page.locator("h1 .badge").inner_text() == "passed"


@pytest.mark.parametrize(
    "path", ["../matrix.yaml", "%2e%2e/matrix.yaml", "run/none.html", "cell/a/b.html", "x" * 9000]
)
def test_nothing_else_is_served(address: str, path: str) -> None:
    answer = httpx.get(f"{address}{path}")
    assert answer.status_code in (404, 414)
    assert answer.headers.get("Content-Security-Policy", "default-src 'none'")


def test_a_directory_with_other_files_is_not_overwritten(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    command = [sys.executable, "-m", "envmatrix", "report", "--html", str(tmp_path)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has files that are no dashboard" in done.stderr
