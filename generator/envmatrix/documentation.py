"""Pages of the documentation, as messages name them: an installed package has none of the files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

_PACKAGE, _LABEL = "envmatrix", "Documentation"


def page(name: str) -> str:
    """Return where a page is: its address, if the package names a documentation site, or else its
    name."""
    site = _site()
    return f"{site.rstrip('/')}/{name}/" if site else f"the page `{name}` of the documentation"


@cache
def _site() -> str | None:
    """Return the address of the documentation site, as the package's metadata has it."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        rows = metadata(_PACKAGE).get_all("Project-URL") or ()
    except PackageNotFoundError:
        return None
    return site_among(rows)


def site_among(urls: Iterable[str]) -> str | None:
    """Return the address of the documentation among the URLs of a project, each after its label."""
    labelled = (url.partition(", ") for url in urls)
    return next((url for label, _, url in labelled if label == _LABEL), None)
