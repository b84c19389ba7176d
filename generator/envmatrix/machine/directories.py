"""The directories of this user, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
from pathlib import Path


def user_directory(variable: str, default: str) -> Path:
    """Return envmatrix's directory in the one that `variable` names, else in `default` of the
    user's home."""
    directory = os.environ.get(variable, "").strip()
    return Path(directory or Path.home() / default) / "envmatrix"
