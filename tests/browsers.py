"""A real Chromium for tests: Debian's, in a container of the project's own base, spoken to by
Playwright."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from tests.images import with_package
from tests.tools import node_packages

IMAGE = "envmatrix-test/chromium"
# It looks for nothing outside: no updates, no lists, no names that are not asked for.
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --user-data-dir=/tmp/profile"
)

_AXE_PACKAGE = "axe-core@4.10.3"
# The rules of WCAG 2.2, levels A and AA, and others that are best practice.
_AXE = """\
axe.run(document, {preload: false, runOnly: [
  'wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice',
]}).then(result => result.violations.map(row => [row.id, row.nodes.map(node => node.html)]))
"""


def image(base: str, archive: str) -> str:
    """Return the name of an image with Chromium on `base`, whose packages are at `archive`."""
    packages = "chromium fonts-dejavu-core"
    return with_package(IMAGE, base, archive, packages, '"chromium"')


@contextmanager
def browse(image: str, pages: Path) -> Iterator[Browser]:
    """Yield a browser that sees this machine's loopback, and `pages` under its own name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    container = (
        DockerContainer(image)
        .with_command(f"{_OPTIONS} --remote-debugging-port={port}")
        .with_volume_mapping(str(pages), str(pages), "ro")
        .with_kwargs(network_mode="host")
        .waiting_for(LogMessageWaitStrategy("DevTools listening"))
    )
    with container, sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
        yield browser
        browser.close()


def violations(page: Page) -> object:
    """Return the rules of accessibility that a page violates, each with the elements."""
    file = node_packages(_AXE_PACKAGE) / "node_modules/axe-core/axe.min.js"
    page.evaluate(file.read_text())
    return page.evaluate(_AXE)
