"""What pip installs on machines of CI engines: envmatrix, from where matrix.yaml says. Pure.

Words of a shell, without characters that mean something to a shell, to YAML or to an engine.
"""

from __future__ import annotations

# Digits of a hash that tell one installation from another.
_DIGITS = 16


def is_file(install: str | None) -> bool:
    """Return whether `ci: install` is a file of the repository."""
    return install is not None and not install.startswith("https://")


def arguments(version: str, install: str | None) -> str:
    """Return the arguments of `pip install`."""
    if install is None:
        return f"envmatrix=={version}"
    if install.endswith(".txt"):
        return f"--require-hashes --requirement {install}"
    return f"./{install}" if is_file(install) else f"'{install}'"


def key(version: str, install: str | None) -> str:
    """Return the part of a path that only installations of the same contents share."""
    if install is None:
        return version
    if is_file(install):
        return f"{version}-$(sha256sum {install} | cut -c 1-{_DIGITS})"
    return f"{version}-{install.rpartition('=')[2][:_DIGITS]}"
