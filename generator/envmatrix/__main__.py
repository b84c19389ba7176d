"""The program: its help at once, and all else by the command line."""

import os
import sys

from envmatrix.help_page import HELP_OPTIONS, PAGE


def main() -> None:
    try:
        _open_missing_streams()
        if len(sys.argv) == 2 and sys.argv[1] in HELP_OPTIONS and _shows_help():
            return
        from envmatrix.cli import main as run  # click, which takes longer than Python itself
    except KeyboardInterrupt:
        from envmatrix.errors import INTERRUPTED

        sys.exit(INTERRUPTED)
    run()


def _open_missing_streams() -> None:
    """Open /dev/null for each standard stream that is closed: another file would take its number,
    and what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def _shows_help() -> bool:
    """Print the help; False if it cannot be printed, which the command line explains."""
    try:
        os.write(sys.stdout.fileno(), PAGE.encode())
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
