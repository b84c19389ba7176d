"""A workflow of GitHub Actions that pulls images by digest and tests cells in them. Pure.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from envmatrix.facts.targets import MACHINES
from envmatrix.records import dataclass

FILE = ".github/workflows/envmatrix.yml"

# By commit: a tag can move.
_CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683"  # v4.2.2
_COSIGN = "sigstore/cosign-installer@d58896d6a1865668819e1d91763c7751a165e159"  # v3.9.2

_MINUTES = 90

_ENGINE = """\
echo '{"features": {"containerd-snapshotter": true}}' | sudo tee /etc/docker/daemon.json
sudo systemctl restart docker
"""
_EMULATOR = """\
sudo apt-get update
sudo apt-get install --yes --no-install-recommends qemu-user-static
"""
_INSTALL = """\
python3 -m venv "$RUNNER_TEMP/envmatrix"
"$RUNNER_TEMP/envmatrix/bin/pip" install envmatrix=={version}
echo "$RUNNER_TEMP/envmatrix/bin" >> "$GITHUB_PATH"
"""
_LOG_IN = """\
printf '%s' "$PASSWORD" | docker login "$REGISTRY" --username "$USERNAME" --password-stdin
"""


@dataclass(frozen=True, slots=True)
class Program:
    """How jobs run envmatrix: `pull` and `test` are commands; `version` is to be installed."""

    pull: str
    test: str
    version: str | None = None


# The script of a repository that has it.
NOXW = Program("./noxw -s pull --", './noxw -s "test-$CELL"')


def installed(version: str) -> Program:
    """Return a version of envmatrix that pip installs."""
    return Program("envmatrix pull", 'envmatrix run test "$CELL"', version)


def workflow(
    cells: Mapping[str, bool],
    host: str,
    registry: str,
    banner: str,
    program: Program,
    *,
    signed: bool,
) -> str:
    """Return the YAML of a workflow with a job for each cell, on machines of the architecture
    `host` (Docker's name).

    `cells` tells by id whether programs of a cell are emulated. `registry` is the host of the
    images; its secrets are optional. `signed`: images are verified.
    """
    cosign = [{"name": "Install cosign", "uses": _COSIGN}] if signed else []
    install = {"name": "Install envmatrix", "run": _INSTALL.format(version=program.version)}
    steps: list[Mapping[str, object]] = [
        {"uses": _CHECKOUT, "with": {"persist-credentials": False}},
        {"name": "Use containerd's image store", "run": _ENGINE},
        {"name": "Run what is made for other machines", "if": "matrix.emulated", "run": _EMULATOR},
        {
            "name": "Log in to the registry",
            "if": "env.USERNAME != ''",
            "env": {"REGISTRY": registry, "PASSWORD": "${{ secrets.ENVMATRIX_REGISTRY_PASSWORD }}"},
            "run": _LOG_IN,
        },
        *cosign,
        *([install] if program.version else []),
        {
            "name": "Pull the images by digest",
            "run": f'{program.pull} --select "$CELL"{" --verify" if signed else ""}\n',
        },
        {"name": "Compile and test", "run": f"{program.test}\n"},
    ]
    job = {
        "name": "${{ matrix.cell }}",
        "runs-on": MACHINES[host].runner,
        "timeout-minutes": _MINUTES,
        "strategy": {
            "fail-fast": False,
            "matrix": {"include": [{"cell": name, "emulated": cells[name]} for name in cells]},
        },
        "env": {
            "CELL": "${{ matrix.cell }}",
            "USERNAME": "${{ secrets.ENVMATRIX_REGISTRY_USERNAME }}",
        },
        "steps": steps,
    }
    document = {
        "name": "envmatrix",
        "on": {"push": {"branches": ["main"]}, "pull_request": {}},
        "permissions": {"contents": "read"},
        "concurrency": {
            "group": "${{ github.workflow }}-${{ github.ref }}",
            "cancel-in-progress": True,
        },
        "jobs": {"test": job},
    }
    return f"# {banner}\n{yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000)}"


class _Dumper(yaml.SafeDumper):
    """Writes texts with several lines as literal blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
