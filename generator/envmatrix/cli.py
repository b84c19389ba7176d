"""The command line: verbs, each loaded when it is called; errors as people read them."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import io
import os
import signal
import sys
from datetime import date
from typing import Any

import click

from envmatrix import __version__
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError, EnvmatrixError, InternalError, Problem

INTERRUPTED = 130

# What a disk says that is full or not for us, and what to do about it.
_FULL = "see `df`; $ENVMATRIX_CACHE names another directory for the cache"
_FORBIDDEN = "see `ls -ld` and `id`; $ENVMATRIX_CACHE names another directory for the cache"
_OF_THE_MACHINE = {
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.EDQUOT: _FULL,
    errno.ENOSPC: _FULL,
}
_OTHERWISE = "see what is there: `ls -ld`; another path may do"
# What only a wrong call can cause.
_OF_A_DEFECT = {errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOSYS}
_DEFECT = "this is a defect of envmatrix; report it"

_LONGEST_NAME = 200

# The interpreter would look through all that was loaded once more at its end, for nothing: 50 ms.
atexit.register(gc.freeze)

VERBS = {
    "affected": "Show which libraries have to be tested again, in which cells.",
    "build": "Build the images of cells, or say why none is needed.",
    "doctor": "Check what this machine needs, and install what is missing.",
    "gc": "Remove images and files that no lock needs any more.",
    "generate": "Write the Dockerfiles, or find drift.",
    "images": "List and check what is published.",
    "lock": "Resolve every package to a file and its sha256.",
    "mirror": "Gather all that the lock names, for machines without a network.",
    "plan": "Show what `build` would do, and why.",
    "pull": "Pull published images by digest.",
    "push": "Publish images that were built.",
    "report": "Show the latest results and regressions.",
    "run": "Compile, test or measure libraries in a cell's container.",
    "sbom": "Write bills of materials of images.",
    "serve": "Show the dashboard of results on loopback.",
    "verify": "Rebuild without a cache and compare bit for bit.",
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not be UTF-8
    try:
        status: Any = group.main(
            arguments, prog_name="envmatrix", standalone_mode=False, obj=today or date.today()
        )
    except (KeyboardInterrupt, click.Abort):
        console.say("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read stdout has enough; the interpreter must not try to flush it again.
        sys.stdout = None
        sys.exit(0)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except Exception as error:
        told = _told(error)
        console.error(told)
        sys.exit(told.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def _told(error: Exception) -> EnvmatrixError:
    """What a person is told of an exception."""
    match error:
        case EnvmatrixError():
            return error
        case click.UsageError():
            usage = error.ctx.command_path if error.ctx else "envmatrix"
            message = _lowered(error.format_message())
            return ConfigurationError(Problem(message, hint=f"see `{usage} --help`"))
        case click.ClickException():
            return ConfigurationError(Problem(_lowered(error.format_message())))
        case OSError() if error.errno not in _OF_A_DEFECT and error.strerror:
            where = f"`{_name(error.filename)}`: " if error.filename else ""
            hint = _OF_THE_MACHINE.get(error.errno or 0, _OTHERWISE)
            return EnvmatrixError(f"{where}{_lowered(error.strerror)}", hint=hint)
        case UnicodeDecodeError():
            message = f"a file that has to be text is not UTF-8, but has {error.object[:40]!r}"
            return ConfigurationError(Problem(message, hint="see `git status` for what changed"))
        case MemoryError():
            return EnvmatrixError(
                "there is not enough memory", hint="free some, or look for a file that is too large"
            )
    return _internal(error)


def _name(filename: object) -> str:
    name = os.fsdecode(filename) if isinstance(filename, bytes) else str(filename)
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _internal(error: Exception) -> InternalError:
    """A defect: its traceback is kept in a file, or printed where that cannot be written."""
    import traceback

    from envmatrix.files import write_whole
    from envmatrix.store.artifacts import cache_directory
    from envmatrix.text import redacted

    text = redacted("".join(traceback.format_exception(error)))
    message = f"internal error: {type(error).__name__}: {str(error)[:_LONGEST_NAME]}"
    log = cache_directory() / "internal-error.log"
    try:
        write_whole(log, text.encode("utf-8", "backslashreplace"), 0o600)
    except (OSError, ValueError):
        return InternalError(message, details=text.splitlines(), hint=_DEFECT)
    return InternalError(message, hint=f"{_DEFECT} with `{log}`, which says where")


def _lowered(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")
