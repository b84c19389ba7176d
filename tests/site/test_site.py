"""The documentation site: it builds without a warning, needs no other host, and its search answers
what newcomers ask. `./noxw -s site` installs what builds it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest
from playwright.sync_api import Browser
from tests import browsers
from website.staging import stage

from envmatrix.machine.origins import Origins

ROOT = Path(__file__).parents[2]
BUILDERS = ("mkdocs", "zensical")

# What someone looks for, the words for it, and the page that has the answer.
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "How do I install it?": ("install wheel", "README.md"),
    "How do I start?": ("tutorial", "docs/tutorial.md"),
    "What does my machine need?": ("requirements docker engine", "README.md"),
    "How do I add my library?": ("first library", "docs/how-to/first-library.md"),
    "How do I add a new CUDA release?": ("new cuda release", "docs/how-to/new-cuda-release.md"),
    "How do I build for Ubuntu?": ("ubuntu", "docs/how-to/new-operating-system.md"),
    "How do I use FetchContent?": ("fetchcontent", "docs/how-to/dependencies.md"),
    "How do I link cuBLAS?": ("link cublas", "docs/how-to/first-library.md"),
    "How do I work without a network?": ("offline mirror", "docs/airgap.md"),
    "How do I compile for Jetson?": ("jetson", "docs/how-to/jetson.md"),
    "How do I publish images?": ("publish images", "docs/how-to/publish-for-ci.md"),
    "How do I use it in GitHub Actions?": ("github actions", "docs/consumers.md"),
    "How do I open a development container?": ("devcontainer", "docs/consumers.md"),
    "How do I replace our Dockerfiles?": (
        "migrate dockerfiles",
        "docs/how-to/migrate-from-dockerfiles.md",
    ),
    "Can I keep nvidia/cuda images?": (
        "nvidia/cuda image",
        "docs/how-to/migrate-from-nvidia-cuda.md",
    ),
    "Which keys does matrix.yaml have?": ("matrix.yaml keys", "docs/reference/matrix-yaml.md"),
    "What does exit code 4 mean?": ("exit codes", "docs/reference/errors.md"),
    "Why is the lock out of date?": ("lock out of date", "docs/lock.md"),
    "How do I skip tests without a GPU?": ("tests need gpu", "docs/how-to/first-library.md"),
    "How do I run tests in parallel?": ("jobs parallel", "docs/jobs.md"),
    "How does it compare with Nix?": ("nix spack", "docs/alternatives.md"),
    "How do I cross-compile?": ("cross compile aarch64", "docs/explanation.md"),
    "How do I log in to a registry?": ("registry login", "docs/how-to/publish-for-ci.md"),
    "How do I sign images?": ("sign images", "docs/trust.md"),
    "How do I run tests in Kubernetes?": ("kubernetes", "docs/executors.md"),
    "How do I test with Catch2?": ("catch2", "docs/libraries.md"),
    "How do I use Python wheels?": ("python wheel", "docs/how-to/dependencies.md"),
    "How do I work behind a proxy?": ("proxy", "docs/lock.md"),
    "What if the disk is full?": ("disk full", "docs/doctor.md"),
    "What does exit code 77 mean?": ("exit code 77", "docs/reference/errors.md"),
    "Where is the dashboard?": ("dashboard", "docs/results.md"),
    "Which tests are flaky?": ("flaky", "docs/results.md"),
    "How do I waive a failure?": ("waiver", "docs/results.md"),
    "How do layers share space?": ("layers share", "docs/explanation.md"),
}
FIRST = 3

# Pages with tables, code, pictures, and many of each.
LOOKED_AT = (
    *("README.md", "docs/tutorial.md", "docs/jobs.md", "docs/alternatives.md", "docs/design.md"),
    *("docs/reference/cli.md", "docs/reference/errors/lookup-failed.md"),
)

# Attributes that make a browser load something, by element.
LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data"}
RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
OTHER_HOST = re.compile(r"(?:https?:)?//")
STYLE = re.compile(r"""(?:url\(|@import\s+)\s*['"]?([^'")]+)""")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return the site of each builder, built from a copy of the pages."""
    sites = {}
    for builder in BUILDERS:
        if not shutil.which(builder, path=str(Path(sys.executable).parent)):
            pytest.skip(f"{builder} is missing: `pip install -e '.[site]'`")
        root = tmp_path_factory.mktemp(builder)
        stage(ROOT, root / "build/site/pages")
        shutil.copy(ROOT / "mkdocs.yml", root)
        shutil.copytree(ROOT / "website/theme", root / "website/theme")
        command = [sys.executable, "-m", builder, "build", "--strict"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        sites[builder] = root / "build/site/html"
    return sites


class Requests(HTMLParser):
    """The addresses that a page makes a browser load, and its policy for them."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in [LOADED.get(tag)] if name in values]
        self.addresses += [part.split()[0] for part in values.get("srcset", "").split(",") if part]
        self.addresses += STYLE.findall(values.get("style", ""))
        if tag == "link" and RELATIONS & {*values.get("rel", "").split()}:
            self.addresses.append(values.get("href", ""))
        if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]


def pages(site: Path) -> Iterator[tuple[str, Requests]]:
    for file in sorted(site.rglob("*.html")):
        parser = Requests()
        parser.feed(file.read_text("utf-8"))
        yield str(file.relative_to(site)), parser


@pytest.mark.parametrize("builder", BUILDERS)
def test_no_page_loads_anything_from_another_host(sites: Mapping[str, Path], builder: str) -> None:
    requests = dict(pages(sites[builder]))
    assert len(requests) > 40
    assert [
        (page, address)
        for page, request in requests.items()
        for address in request.addresses
        if OTHER_HOST.match(address)
    ] == []


@pytest.mark.parametrize("builder", BUILDERS)
def test_no_style_or_picture_loads_anything_from_another_host(
    sites: Mapping[str, Path], builder: str
) -> None:
    files = [
        file for suffix in ("css", "svg") for file in sorted(sites[builder].rglob(f"*.{suffix}"))
    ]
    assert files
    assert [
        (file.name, address)
        for file in files
        for address in STYLE.findall(file.read_text("utf-8"))
        if OTHER_HOST.match(address)
    ] == []


@pytest.mark.parametrize("builder", BUILDERS)
def test_browsers_are_told_to_refuse_requests_to_other_hosts(
    sites: Mapping[str, Path], builder: str
) -> None:
    policies = {page: request.policy for page, request in pages(sites[builder])}
    assert [page for page, policy in policies.items() if "default-src 'self'" not in policy] == []


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_search_answers_what_newcomers_ask(sites: Mapping[str, Path], builder: str) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("node is missing, which runs the search")
    assert len(QUESTIONS) >= 20
    done = subprocess.run(
        [node, str(ROOT / "website/search.mjs"), str(sites[builder])],
        input=json.dumps([words for words, _ in QUESTIONS.values()]),
        capture_output=True,
        text=True,
        check=True,
    )
    hits = [answer[:FIRST] for answer in json.loads(done.stdout)]
    assert {
        question: first
        for (question, (_, page)), first in zip(QUESTIONS.items(), hits, strict=True)
        if location(page) not in first
    } == {}


@pytest.fixture(scope="module")
def address(sites: Mapping[str, Path]) -> Iterator[str]:
    """The address of the site on loopback."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = partial(Handler, directory=str(sites["zensical"]))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    image = browsers.image(base, Origins().archive("debian")[0])
    with browsers.browse(image, tmp_path_factory.mktemp("browser")) as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 900, 1600])
def test_pages_are_accessible_in_every_width_and_scheme(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    for name in LOOKED_AT:
        page.goto(f"{address}/{location(name)}", wait_until="load")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert browsers.violations(page) == [], name
    context.close()


def location(page: str) -> str:
    """Return the path of a page in the site."""
    return page.removesuffix("README.md").replace(".md", "/")
