from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from envmatrix.render.devcontainer import LocalContainer, local_devcontainer, own_settings

BANNER = "a banner"
LOCAL = LocalContainer("a", "solver", "build/a/solver", "libs/solver", "/src", ["-G", "Ninja"])


def container_of(local: LocalContainer = LOCAL, **own: Any) -> dict[str, Any]:
    text = local_devcontainer(local, BANNER, own)["devcontainer.json"]
    assert text.startswith(f"// {BANNER}\n")
    return dict(own_settings(text))


def test_a_local_container_needs_no_registry() -> None:
    container = container_of()
    assert "image" not in container
    assert container["build"]["dockerfile"] == "../../build/a/solver/devcontainer/Dockerfile"
    program = "envmatrix exec a --library solver --dev -- true"
    assert container["initializeCommand"] == program.split()


def test_only_the_build_and_the_compiler_cache_are_writable_beside_the_workspace() -> None:
    mounts = [mount.split(",") for mount in container_of()["mounts"]]
    writable = [mount[2] for mount in mounts if mount[-1] != "readonly"]
    assert writable == ["target=/build", "target=/ccache"]


def test_what_a_library_needs_is_mounted_where_builds_have_it() -> None:
    local = replace(LOCAL, prefixes={"/prefix/fmt": "build/a/fmt/devel.prefix"})
    source = "${localWorkspaceFolder}/build/a/fmt/devel.prefix"
    assert container_of(local)["mounts"][-1] == (
        f"type=bind,source={source},target=/prefix/fmt,readonly"
    )


def test_cmake_is_configured_as_in_builds_if_it_builds_the_library() -> None:
    settings = container_of()["customizations"]["vscode"]["settings"]
    assert settings["cmake.sourceDirectory"] == "/src"
    assert settings["cmake.configureArgs"] == ["-G", "Ninja"]
    others = container_of(replace(LOCAL, configure=()))["customizations"]["vscode"]["settings"]
    assert [*others] == ["clangd.arguments"]


def test_clangd_knows_sources_by_their_paths_in_builds() -> None:
    settings = container_of()["customizations"]["vscode"]["settings"]
    assert "--path-mappings=/workspace/libs/solver=/src" in settings["clangd.arguments"]
    locked = container_of(replace(LOCAL, path=None))["customizations"]["vscode"]["settings"]
    assert locked["clangd.arguments"] == ["--compile-commands-dir=/build"]


def test_what_users_added_stays_and_what_is_generated_wins() -> None:
    vscode = {"extensions": ["mine.own"], "settings": {"editor.rulers": [100]}}
    own: dict[str, Any] = {
        "name": "mine",
        "postCreateCommand": "true",
        "customizations": {"vscode": vscode},
    }
    container = container_of(**own)
    assert container["name"] == "solver in a"
    assert container["postCreateCommand"] == "true"
    merged = container["customizations"]["vscode"]
    assert merged["settings"]["editor.rulers"] == [100]
    assert merged["extensions"][-1] == "mine.own"
    assert container_of(**container) == container


@pytest.mark.parametrize("text", ["// banner\n{", "// banner\n[]", "// banner\n// mine\n{}"])
def test_a_file_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|no object"):
        own_settings(text)


def test_a_file_is_json_below_its_banner() -> None:
    text = local_devcontainer(LOCAL, BANNER, {})["devcontainer.json"]
    assert json.loads(text.split("\n", 1)[1]) == own_settings(text)
