"""The command line: verbs, each loaded when it is called; errors as people read them."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import signal
import sys
from datetime import date
from typing import Any

import click

from envmatrix import __version__
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError, Problem

INTERRUPTED = 130

# What a disk says that is full or not for us.
_OF_THE_MACHINE = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}

# The interpreter would look through all that was loaded once more at its end, for nothing: 50 ms.
atexit.register(gc.freeze)

VERBS = {
    "affected": "Show which libraries have to be tested again, in which cells.",
    "build": "Build the images of cells, or say why none is needed.",
    "doctor": "Check what this machine needs, and install what is missing.",
    "gc": "Remove what no lock needs any more.",
    "generate": "Write the Dockerfiles, or find drift.",
    "images": "List and check what is published.",
    "lock": "Resolve every package to a file and its sha256.",
    "mirror": "Gather all that the lock names, for machines without a network.",
    "plan": "Show what `build` would do, and why.",
    "pull": "Pull published images by digest.",
    "push": "Publish images that were built.",
    "report": "Show what libraries came to, and what broke.",
    "run": "Compile, test or measure libraries in a cell's container.",
    "sbom": "Say what images are made of.",
    "serve": "Show the dashboard of results on loopback.",
    "verify": "Rebuild cold and compare bit for bit.",
    "why": "Explain why a cell exists, or why it cannot.",
}


class Verbs(click.Group):
    """`envmatrix --help` loads no verb; a verb loads only itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"envmatrix.commands.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, 1)
            hint = f"did you mean `envmatrix {near[0]}`?" if near else "see `envmatrix --help`"
            raise ConfigurationError(Problem(f"there is no verb `{args[0]}`", hint=hint))
        return super().resolve_command(ctx, args)


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: envmatrix why cuda12.4-debian13-aarch64",
)
@click.version_option(__version__, prog_name="envmatrix")
def group() -> None:
    """Locked, reproducible CUDA build environments from one matrix file."""


def main(arguments: list[str] | None = None, today: date | None = None) -> None:
    """Run one verb and end with its exit code; the only place where errors are caught."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl+C does, cleanly
    try:
        status: Any = group.main(
            arguments, prog_name="envmatrix", standalone_mode=False, obj=today or date.today()
        )
    except EnvmatrixError as error:
        console.error(error)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        usage = error.ctx.command_path if error.ctx else "envmatrix"
        console.error(
            ConfigurationError(
                Problem(_lowered(error.format_message()), hint=f"see `{usage} --help`")
            )
        )
        sys.exit(ConfigurationError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        console.say("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read stdout has enough; the interpreter must not try to flush it again.
        sys.stdout = None
        sys.exit(0)
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        where = f"`{error.filename}`: " if error.filename else ""
        console.error(
            EnvmatrixError(
                f"{where}{_lowered(str(error.strerror))}",
                hint="see `df`; $ENVMATRIX_CACHE names another directory for the cache",
            )
        )
        sys.exit(EnvmatrixError.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def _lowered(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")
