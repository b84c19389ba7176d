from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from tests.docker_api import DockerApi

from envmatrix.engine.image_comparison import Contents, contents, image_differences

FILES = {"bin/a": b"a", "bin/b": b"b" * 100_000}


def engine(one: dict[str, object], two: dict[str, object]) -> DockerApi:
    """Return an engine with the images `one` and `two`, by the answers to requests of each."""
    containers = iter(("one", "two"))
    return DockerApi(EngineAnswers({**one, **two}, containers))


class EngineAnswers(dict[str, object]):
    """The answers of an engine; the containers that are created are those of `names`."""

    def __init__(self, answers: dict[str, object], names: Iterator[str]) -> None:
        super().__init__(answers)
        self._names = names

    def __missing__(self, action: str) -> object:
        if action == "POST /containers/create":
            return {"Id": next(self._names)}
        assert action.startswith("DELETE /containers/")
        return {}


def image(
    name: str, files: dict[str, bytes], layers: list[str], user: str = ""
) -> dict[str, object]:
    return {
        f"GET /images/{name}/json": {
            "Id": f"sha256:{name}",
            "Architecture": "amd64",
            "Config": {"User": user},
            "RootFS": {"Layers": layers},
        },
        f"GET /containers/{name}/json": {"Id": name},
        f"GET /containers/{name}/export": tar(files),
    }


def tar(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def test_images_of_equal_layers_and_configuration_are_equal_whatever_their_digest() -> None:
    api = engine(image("one", FILES, ["sha256:1"]), image("two", FILES, ["sha256:1"]))
    client = api.client()
    assert image_differences(client, "one", "two") == ()
    assert not any("containers" in action for action in api.actions)
    config = {"Architecture": "amd64", "Os": None, "Config": {"User": ""}, "Created": None}
    assert contents(client, "one") == Contents(("sha256:1",), config, "sha256:one")


def test_differences_are_named_by_layer_configuration_and_file() -> None:
    others = {**FILES, "bin/b": b"other", "bin/c": b""}
    api = engine(
        image("one", FILES, ["sha256:1", "sha256:2"]),
        image("two", others, ["sha256:1", "sha256:3"], user="x"),
    )
    lines = image_differences(api.client(), "one", "two")
    assert lines[:2] == (
        "config: `Config` is {'User': ''} and {'User': 'x'}",
        "layer 2: sha256:2 and sha256:3",
    )
    assert [line.split(":")[0] for line in lines[2:]] == ["file bin/b", "file bin/c"]
    assert "absent and 644 0" in lines[3]
    assert sum(action.startswith("DELETE /containers") for action in api.actions) == 2
