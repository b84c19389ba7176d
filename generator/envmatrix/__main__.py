"""The program: its help at once, and all else by the command line."""

import sys

from envmatrix.help_page import HELP_OPTIONS, PAGE


def main() -> None:
    if len(sys.argv) == 2 and sys.argv[1] in HELP_OPTIONS:
        sys.stdout.write(PAGE)
        return
    from envmatrix.cli import main as run  # click, which takes longer than Python itself

    run()


if __name__ == "__main__":
    main()
