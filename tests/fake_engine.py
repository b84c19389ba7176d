"""A container engine that has images and starts no container, and its client program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from tests.loopback import Handler, serving

NO_CONTAINER = "no container starts here"

# Answers `docker image inspect --format=... NAME...` with the rows of a file.
_CLIENT = """\
#!/bin/sh
shift 3
for name; do grep -F "\\"$name\\"" "$(dirname "$0")/images"; done
exit 0
"""


def image_id(name: str) -> str:
    return f"sha256:{sha256(name.encode()).hexdigest()}"


class _Engine(Handler):
    """Each image has two names: with the fingerprint of its inputs, and without."""

    protocol_version = "HTTP/1.1"
    images: ClassVar[Mapping[str, str]] = {}

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.partition("/images/")[2].removesuffix("/json")
        if path.endswith("/version"):
            self._answer({"ApiVersion": "1.43", "Version": "24.0", "Arch": "amd64", "Os": "linux"})
        elif path.endswith(("/containers/json", "/info")):
            self._answer([] if path.endswith("json") else {})
        elif name in self.images:
            self._answer({"Id": self.images[name], "RepoTags": names_of(name)})
        else:
            self._answer({"message": f"No such image: {name}"}, 404)

    def do_POST(self) -> None:  # noqa: N802 -- as the server calls it
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer({"message": NO_CONTAINER}, 500)

    def do_DELETE(self) -> None:  # noqa: N802 -- likewise
        self._answer({"message": "No such container"}, 404)

    def _answer(self, document: object, status: int = 200) -> None:
        headers = {"Content-Type": "application/json"}
        self.answer(status, json.dumps(document).encode(), headers)


def names_of(reference: str) -> list[str]:
    return [reference, reference.rpartition("-")[0]]


@contextmanager
def fake_engine(directory: Path, references: list[str]) -> Iterator[Mapping[str, str]]:
    """Serve an engine that has the images; yield the variables with which programs find it, and
    `directory` with its client."""
    directory.mkdir(exist_ok=True)
    client = directory / "docker"
    client.write_text(_CLIENT)
    client.chmod(0o755)
    rows = [[names_of(name), image_id(name), {}] for name in references]
    (directory / "images").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    images = {name: image_id(own) for own in references for name in names_of(own)}
    with serving(type("Engine", (_Engine,), {"images": images})) as url:
        yield {"DOCKER_HOST": url.replace("http://", "tcp://"), "DOCKER_CONFIG": str(directory)}
