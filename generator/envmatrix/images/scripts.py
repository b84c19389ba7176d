"""Scripts of the steps in Dockerfiles, and files of toolchains: templates and files of the package.
Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from jinja2 import Environment as Jinja
from jinja2 import PackageLoader, StrictUndefined

from envmatrix.facts.targets import CROSS_HOST, TARGETS
from envmatrix.images.cross_images import Cross
from envmatrix.images.stages import StepScript


@cache
def _jinja() -> Jinja:
    jinja = Jinja(
        loader=PackageLoader("envmatrix.images"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 -- Dockerfiles, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters["quote"] = shlex.quote
    return jinja


def rendered(template: str, **values: object) -> str:
    """Return the text of a template."""
    return _jinja().get_template(template).render(**values)


@cache
def shared_script(name: str, target: str | None = None) -> StepScript:
    """Return a script that is the same in every repository."""
    file = files("envmatrix.images").joinpath("templates/scripts", name)
    return StepScript(name, file.read_text("utf-8"), target or name)


def omitted_files(paths: Iterable[str]) -> StepScript:
    """Return dpkg's configuration that leaves out files of packages."""
    lines = (f"path-exclude={path}\n" for path in paths)
    return StepScript("omitted", "".join(lines), "omitted")


def toolchain_files(cross: Cross) -> tuple[StepScript, ...]:
    """Return the files that configure CMake and Meson for a target and its compiler."""
    host_triplet = TARGETS[CROSS_HOST].triplet
    return tuple(
        StepScript(
            f"{cross.toolchain}.{kind}",
            rendered(f"toolchain.{kind}.j2", cross=cross, host_triplet=host_triplet),
            f"toolchain.{kind}",
        )
        for kind in ("cmake", "ini")
    )
