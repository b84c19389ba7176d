"""Copy the pages of the documentation site to where mkdocs.yml expects them.

Pages keep their paths in the repository, so one link works in a checkout and on the site.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build/site/pages"

_PROJECT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
_SUFFIXES = {".md", ".svg"}
# The history has most words of all other pages, and answers few questions.
_WITHOUT_SEARCH = {Path("CHANGELOG.md")}
_EXCLUSION = "---\nsearch:\n  exclude: true\n---\n\n"


def sources(root: Path) -> Iterator[Path]:
    """Yield the pages and pictures of the site, relative to the root of the repository."""
    yield from map(Path, _PROJECT)
    for pattern in ("docs/**/*", "examples/*/README.md"):
        files = (path for path in sorted(root.glob(pattern)) if path.suffix in _SUFFIXES)
        yield from (path.relative_to(root) for path in files)


def stage(root: Path, directory: Path) -> None:
    """Replace `directory` with copies of all pages and pictures. The search leaves out some."""
    shutil.rmtree(directory, ignore_errors=True)
    for path in sources(root):
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (root / path).read_text("utf-8")
        target.write_text(f"{_EXCLUSION if path in _WITHOUT_SEARCH else ''}{text}", "utf-8")


if __name__ == "__main__":
    stage(ROOT, Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES)
