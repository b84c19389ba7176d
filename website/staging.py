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


def sources(root: Path) -> Iterator[Path]:
    """Yield the pages and pictures of the site, relative to the root of the repository."""
    yield from map(Path, _PROJECT)
    for pattern in ("docs/**/*", "examples/*/README.md"):
        files = (path for path in sorted(root.glob(pattern)) if path.suffix in _SUFFIXES)
        yield from (path.relative_to(root) for path in files)


def stage(root: Path, directory: Path) -> None:
    """Replace `directory` with copies of all pages and pictures."""
    shutil.rmtree(directory, ignore_errors=True)
    for path in sources(root):
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)


if __name__ == "__main__":
    stage(ROOT, Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES)
