"""The directories of this user, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
from pathlib import Path

from envmatrix.errors import ConfigurationError


def home_directory() -> Path:
    """Return $HOME, else the directory of the user database; ConfigurationError without one."""
    home = os.environ.get("HOME") or ""
    if home:
        if not home.startswith("/"):
            hint = "set it to the directory of this user: `export HOME=/home/name`"
            raise ConfigurationError(f"$HOME is `{home}`, which is no absolute path", hint=hint)
        return Path(home)
    import pwd

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        message = f"the user database has no home directory of user {os.getuid()}"
        raise ConfigurationError(message, hint="set $HOME") from error


def user_directory(variable: str, default: str) -> Path:
    """Return envmatrix's directory in the one that `variable` names, else in `default` of the
    user's home."""
    directory = os.environ.get(variable, "").strip()
    return Path(directory or home_directory() / default) / "envmatrix"
