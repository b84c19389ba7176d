"""The dashboard in a real browser: files, served, without JavaScript, by keyboard, in three widths,
light and dark, checked by axe-core."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

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
# By the names of their screenshots.
PAGES = {
    "index": "index.html",
    "test": "outcome/vectorops/host_runtime.html",
    "cell": f"cell/vectorops/{CELLS[1]}.html",
}
SCRIPT = "<script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with results of two libraries in three cells."""
    root = tmp_path_factory.mktemp("dashboard")
    matrix = (ROOT / "matrix.yaml").read_text()
    owned = matrix.replace("  vectorops:\n", "  vectorops:\n    owner: ana\n")
    commit_url = "commit_url: https://git.example/{commit}\n"
    (root / "matrix.yaml").write_text(f"{owned}{commit_url}")
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


def test_the_first_screen_says_what_is_broken_since_when_and_whose_it_is(
    page: Page, files: Path
) -> None:
    page.goto(f"file://{files}/index.html")

    assert page.locator("h1").inner_text().startswith("1 of 4 fail")
    facts = page.locator(".facts").inner_text()
    for part in ("main", "r1790050000", "2026-09-22 04:06 UTC", "2 libraries, 25 cells"):
        assert part in facts
    failure = page.locator("table.failures tbody tr")
    assert failure.count() == 1
    text = failure.inner_text()
    for part in ("host_runtime", "host_runtime says failed", CELLS[1], "2026-09-22 00:13", "ana"):
        assert part in text
    assert f"envmatrix run test {CELLS[1]} --library vectorops" in text
    box = failure.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900, "on the first screen"
    commit = failure.locator('a[rel~="external"]').first.get_attribute("href")
    assert commit == f"https://git.example/{10:040x}"


def test_the_map_has_a_tile_for_every_cell_and_its_state(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")

    tiles = page.locator("details", has_text="vectorops").locator(".map :is(a, i)")
    assert tiles.count() == 25, "all cells of the matrix"
    bad = page.locator(".map a.failed")
    assert [bad.nth(n).get_attribute("title") for n in range(bad.count())] == [
        f"{CELLS[1]}: failed"
    ]
    bad.click()
    assert page.locator("h1 .badge").inner_text() == "failed"


def test_a_failure_leads_to_its_test_its_image_and_its_log(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")
    page.get_by_role("link", name="host_runtime").click()
    assert page.locator("h1").inner_text() == "host_runtime of vectorops in all cells"
    assert page.locator(".map a").count() == 3
    page.get_by_role("link", name="image of").click()
    page.wait_for_url("**/cell/vectorops/**#image")

    assert "host_runtime says failed" in page.locator("main").inner_text()
    strip = page.locator("tr", has_text="host_runtime").locator(".strip > *")
    assert [strip.nth(n).get_attribute("class") for n in (0, 11)] == ["passed", "failed"]
    page.locator("summary", has_text="compile").click()
    assert SCRIPT in page.locator("details[open] pre").first.inner_text()
    chart = page.get_by_role("img", name="line coverage, %: 80.25 to 83 in 12 runs")
    assert chart.locator("text").first.text_content() == "80"
    strip.nth(8).click()
    assert page.locator("h1 .badge").inner_text() == "passed"


def test_what_a_test_prints_is_text(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/cell/vectorops/{CELLS[0]}.html")

    assert SCRIPT in page.locator("main").inner_text()
    assert page.title() != "owned"


def test_all_can_be_read_without_javascript(browser: Browser, files: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{files}/index.html")

    assert page.locator("table.failures tbody tr").is_visible()
    assert not page.locator("form.filter").is_visible()
    page.locator(".map a.failed").click()
    assert page.locator("h1").inner_text().startswith("vectorops")
    page.locator("summary", has_text="passed").click()
    assert page.get_by_text("host_reference").is_visible()
    context.close()


def test_links_lead_to_pages_that_are_there(files: Path) -> None:
    for file in files.rglob("*.html"):
        text = file.read_text()
        for part in text.split('href="')[1:]:
            target = part.partition('"')[0]
            if not target.startswith(("data:", "#", "https://git.example/")):
                target = target.removesuffix("#image")
                assert (file.parent / target).resolve().is_file(), f"{file}: {target}"


def test_a_search_highlights_the_cells_that_match(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")
    page.get_by_label("Highlight cells").fill("cuda13.5 aarch64")
    assert page.locator(".map a:not(.faded)").count() == 1
    assert page.locator(".filter output").inner_text() == "1 match"

    page.get_by_label("Highlight cells").fill("")
    assert page.locator(".map a.faded").count() == 0


def test_the_keyboard_goes_through_the_map(page: Page, files: Path) -> None:
    page.goto(f"file://{files}/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"

    where = "document.activeElement.title"
    page.locator(".map a.failed").focus()
    assert page.evaluate(where) == f"{CELLS[1]}: failed"
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(where) == f"{CELLS[2]}: passed"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(where) == f"{CELLS[0]}: passed"
    assert page.locator('details:has(.failed) .map a[tabindex="0"]').count() == 1
    page.keyboard.press("Enter")
    page.wait_for_url("**/cell/vectorops/**")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_every_page_is_accessible_in_every_width_and_scheme(
    browser: Browser, files: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width == 360
    )
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    for name, path in PAGES.items():
        page.goto(f"file://{files}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        assert browsers.violations(page) == [], path
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_it_is_served_as_it_is_now(page: Page, address: str, repository: Path) -> None:
    page.goto(address)
    assert page.locator("h1").inner_text().startswith("1 of 4 fail")
    mended = record(1_790_100_000, {"a": "passed"}, library="vectorops", cell=CELLS[1])
    with connect(repository / ".envmatrix/results.sqlite") as database:
        database.add(mended)

    page.reload()

    assert page.locator("h1").inner_text() == "All 4 are good"
    page.get_by_role("link", name=f"{CELLS[1]}: passed").click()
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
