"""Development containers: of an environment, with a published image by digest, and of a library in
a cell, with what is on this machine; both with a user. Pure.

https://containers.dev/implementors/json_reference/
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from envmatrix.lock.images_lock import PublishedIndex
from envmatrix.records import dataclass

_USER = "dev"

# The directory, beside the build directory, of what a container on this machine is made from, and
# what is in it: links to what is mounted, by its place in containers, variables and the image.
DIRECTORY = "devcontainer"
LINKS: Mapping[str, str] = {
    "/src": "source",
    "/build": "build",
    "/requires": "requires",
    "/ccache": "ccache",
    "/opt/envmatrix": "programs",
}
ENVIRONMENT, DOCKERFILE = "environment", "Dockerfile"
_WRITABLE = ("/build", "/ccache")
_EXTENSIONS = (
    "llvm-vs-code-extensions.vscode-clangd",
    "ms-vscode.cmake-tools",
    "nvidia.nsight-vscode-edition",
)

# Options of nvcc alone, which clangd reports as errors of each file of CUDA's.
_CLANGD = """\
If:
  PathMatch: .*[.]cuh?
CompileFlags:
  Remove: [-forward-unknown-to-host-compiler, -forward-unknown-to-host-linker, -ccbin*,
    --compiler-bindir*, --generate-code*, -gencode*, -arch*, -Xcompiler*, -Xcudafe*, -Xptxas*,
    --objdir-as-tempdir, --frandom-seed*, --expt-*, --extended-lambda, -rdc*]
  Add: [-Wno-unknown-cuda-version]
"""

# The tools of dev containers set the id of the user to that of the host's user, unless another user
# has it: so users of the image, such as Ubuntu's, get other ids.
ADD_USER = f"""\
#!/bin/sh
# {{banner}}
set -eu
free=60000
getent passwd | while IFS=: read -r name _ number _; do
  case $number in
    [1-9][0-9][0-9][0-9] | [1-5][0-9][0-9][0-9][0-9])
      while getent passwd "$free" >/dev/null; do free=$((free + 1)); done
      usermod --uid "$free" "$name"
      free=$((free + 1)) ;;
  esac
done
useradd --create-home --uid 1000 --shell /bin/bash {_USER}
mkdir --parents /home/{_USER}/.config/clangd
cat >/home/{_USER}/.config/clangd/config.yaml <<'END'
{_CLANGD}END
chown --recursive {_USER}: /home/{_USER}/.config
"""


_FOLDER = "${localWorkspaceFolder}"
_WORKSPACE = "/workspace"
_FOR_USER: Mapping[str, object] = {
    "features": {"./user": {}},
    "containerUser": _USER,
    "remoteUser": _USER,
    "updateRemoteUserUID": True,
    "hostRequirements": {"gpu": "optional"},
}


def links(others: Iterable[str] = ()) -> Mapping[str, str]:
    """Return the links by their places in containers, with those for other places."""
    return {**LINKS, **{target: target.strip("/").replace("/", "-") for target in others}}


def devcontainer(environment: str, image: PublishedIndex, banner: str) -> Mapping[str, str]:
    """Return the files by path within `.devcontainer/<environment>`.

    A local feature creates the user: it needs no network, and the image stays as it was published.
    """
    container = {"name": environment, "image": image.reference, **_FOR_USER}
    return _files(container, banner)


@dataclass(frozen=True, slots=True)
class LocalContainer:
    """A container for a library in a cell. `directory` is that of the library in the cell, `path`
    that of its source, in the repository, if it is there, and `tree` where builds have the source;
    `configure` are the arguments of CMake, if that builds it; `prefixes` are the directories in
    which what it needs is installed, by their places in containers, and `archives` those of what
    builds would download."""

    cell: str
    library: str
    directory: str
    path: str | None
    tree: str
    configure: Sequence[str] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)
    archives: Sequence[str] = ()

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.library}"


def local_devcontainer(
    local: LocalContainer, banner: str, own: Mapping[str, Any]
) -> Mapping[str, str]:
    """Return the files by path within `.devcontainer/<name>`; `own` is what the file has of its
    user, which stays where nothing is generated.

    envmatrix builds the image and writes what the container is made from before that is created.
    """
    prepared = f"{_FOLDER}/{local.directory}/{DIRECTORY}"
    sources = {target: f"{prepared}/{name}" for target, name in links(local.archives).items()}
    sources |= {target: f"{_FOLDER}/{place}" for target, place in local.prefixes.items()}
    mounts = (
        f"type=bind,source={source},target={target}" + ("" if target in _WRITABLE else ",readonly")
        for target, source in sources.items()
    )
    program = ["envmatrix", "exec", local.cell, "--library", local.library, "--dev", "--", "true"]
    context = f"../../{local.directory}/{DIRECTORY}"
    container = {
        "name": f"{local.library} in {local.cell}",
        "initializeCommand": program,
        "build": {"dockerfile": f"{context}/{DOCKERFILE}", "context": context},
        "runArgs": [f"--env-file={prepared}/{ENVIRONMENT}"],
        "workspaceMount": f"type=bind,source={_FOLDER},target={_WORKSPACE}",
        "workspaceFolder": _WORKSPACE,
        "mounts": [*mounts],
        **_FOR_USER,
        "customizations": {"vscode": {"extensions": [*_EXTENSIONS], "settings": _settings(local)}},
    }
    return _files(_merged(own, container), banner)


def own_settings(text: str) -> Mapping[str, Any]:
    """Return the contents of a generated file, with what its user added; raise ValueError if it is
    not JSON below its banner."""
    document = json.loads(text.partition("\n")[2] or "{}")
    if not isinstance(document, dict):
        raise ValueError("it is no object")
    return document


def _merged(own: Mapping[str, Any], generated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add what only `own` has to what is generated; of lists, those of extensions are joined."""
    merged = {**own, **generated}
    for key in own.keys() & generated.keys():
        before, now = own[key], generated[key]
        if isinstance(before, dict) and isinstance(now, dict):
            merged[key] = _merged(before, now)
        elif key == "extensions" and isinstance(before, list):
            merged[key] = [*now, *(name for name in before if name not in now)]
    return {key: merged[key] for key in (*generated, *(key for key in own if key not in generated))}


def _settings(local: LocalContainer) -> Mapping[str, object]:
    """Return settings of clangd, for which sources have the paths of builds, and of CMake."""
    clangd = ["--compile-commands-dir=/build"]
    if local.path is not None:
        source = posixpath.normpath(f"{_WORKSPACE}/{local.path}")
        clangd.append(f"--path-mappings={source}=/src")
    if not local.configure:
        return {"clangd.arguments": clangd}
    return {
        "clangd.arguments": clangd,
        "cmake.useCMakePresets": "never",
        "cmake.sourceDirectory": local.tree,
        "cmake.buildDirectory": "/build",
        "cmake.configureOnOpen": False,
        "cmake.configureArgs": [*local.configure],
    }


def _files(container: Mapping[str, object], banner: str) -> Mapping[str, str]:
    feature = {"id": "user", "version": "1.0.0", "name": f"The user {_USER}", "description": banner}
    return {
        "devcontainer.json": f"// {banner}\n{json.dumps(container, indent=2)}\n",
        "user/devcontainer-feature.json": f"{json.dumps(feature, indent=2)}\n",
        "user/install.sh": ADD_USER.format(banner=banner),
    }
