"""Wheels as builds make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.archives import zipped
from tests.unit.sessions.contexts import build_context
from tests.unit.sessions.test_binaries import shared_object

from envmatrix.confined import Area
from envmatrix.matrix.library import PublishableWheels
from envmatrix.sessions.wheels.contents import WheelContents, read_wheel
from envmatrix.sessions.wheels.plan import WheelSettings

NAME = "a-1.0-cp311-cp311-linux_x86_64.whl"
PUBLISHED = NAME.replace("linux", "manylinux_2_36")
EXTENSION = "a/b.cpython-311-x86_64-linux-gnu.so"
CELL = "cuda13.5-debian12-x86_64"
CUDA = shared_object("libcudart.so.13", "libc.so.6", versions={"libc.so.6": ["GLIBC_2.34"]})


def wheel(
    name: str = NAME,
    files: Mapping[str, bytes] = MappingProxyType({EXTENSION: CUDA}),
    requires: Sequence[str] = (),
) -> bytes:
    """Return a wheel with files and requirements, and the tags of its name."""
    interpreter, abi, platforms = name.removesuffix(".whl").split("-")[-3:]
    tags = [f"Tag: {interpreter}-{abi}-{platform}" for platform in platforms.split(".")]
    lines = ["Metadata-Version: 2.1", "Name: a", "Version: 1.0"]
    lines += [f"Requires-Dist: {text}" for text in requires]
    about = {
        "METADATA": "\n".join([*lines, "", "The description.\n"]),
        "WHEEL": "\n".join(["Wheel-Version: 1.0", *tags, ""]),
        "RECORD": "",
    }
    rows = [(f"a-1.0.dist-info/{key}", text.encode(), 0o644) for key, text in about.items()]
    return zipped(*((path, content, 0o755) for path, content in files.items()), *rows)


def read(directory: Path, content: bytes | None = None, name: str = NAME) -> WheelContents:
    """Return what is read of a wheel."""
    with Area(directory).opened() as build:
        build.write(f"wheels/{name}", wheel(name) if content is None else content)
        return read_wheel(build, f"wheels/{name}")


def settings(wheels: PublishableWheels | None = None, cell: str = CELL) -> WheelSettings:
    context = build_context(cell=cell)
    return WheelSettings(context.cell, context.target, 36, wheels or PublishableWheels())
