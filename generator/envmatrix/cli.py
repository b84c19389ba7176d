"""The command line: verbs, each loaded when it is called, and readable errors."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import sys
import time
from contextlib import redirect_stderr
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, NoReturn

import click

from envmatrix import __version__
from envmatrix.commands.completions import VARIABLE
from envmatrix.commands.verbs import Verbs
from envmatrix.console import Console
from envmatrix.errors import INTERRUPTED, ConfigurationError, EnvmatrixError, InternalError
from envmatrix.help_page import HELP_OPTIONS, PAGE, VERBS
from envmatrix.parallel import handle_interruptions, ignore_interruptions, interrupt_once
from envmatrix.text import duration

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_OTHER_PATH = "see `ls -ld`; another path may work"
# Errors that only a defect of the program can cause.
_DEFECT_ERRORS = {errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOSYS}
_DEFECT = "this is a defect of envmatrix; report it"

_LONGEST_REASON = 200

atexit.register(ignore_interruptions)
# Verbs make much that stays to their end, and few cycles: collect seldom, and not at exit.
gc.set_threshold(100_000)
atexit.register(gc.freeze)


class AllVerbs(Verbs):
    """The group of all verbs; its help is `PAGE`."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(PAGE)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return verbs with their summaries without importing each verb, and options."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(verb, help=summary)
            for verb, summary in sorted(VERBS.items())
            if verb.startswith(incomplete)
        ]
        return [*verbs, *super(click.Group, self).shell_complete(ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        is_typed = not ctx.resilient_parsing  # and is not being completed
        if is_typed and args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            matches = get_close_matches(args[0], VERBS, 1) if args[0] != "help" else []
            hint = "".join(f"did you mean `envmatrix {verb}`?" for verb in matches)
            hint = hint or "see `envmatrix --help`"
            raise ConfigurationError(f"there is no verb `{args[0]}`", hint=hint)
        return super().resolve_command(ctx, args)


@click.command(
    cls=AllVerbs,
    package="envmatrix.commands",
    names=tuple(VERBS),
    context_settings={"help_option_names": [*HELP_OPTIONS]},
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="envmatrix")
@click.pass_context
def group(context: click.Context) -> None:
    """Run the verb that the command line names; without one, show the state of the repository."""
    if context.invoked_subcommand is None:
        from envmatrix.commands.status import show_state

        show_state()


def main(arguments: list[str] | None = None, today: date | None = None) -> None:
    """Run one verb and exit with its code; errors of all verbs are caught here."""
    if VARIABLE in os.environ:
        complete_silently()
    console, started = Console(), time.monotonic()
    handle_interruptions(interrupt_once())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not be UTF-8
    try:
        status: Any = group.main(
            arguments, prog_name="envmatrix", standalone_mode=False, obj=today or date.today()
        )
    except (KeyboardInterrupt, click.Abort):
        console.say(f"interrupted after {duration(time.monotonic() - started)}")
        sys.exit(INTERRUPTED)
    except Exception as error:
        failure = _as_envmatrix_error(error)
        console.error(failure)
        sys.exit(failure.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def complete_silently() -> NoReturn:
    """Print what a shell asks for, and nothing else: its line is on the same terminal."""
    with open(os.devnull, "w") as nothing, redirect_stderr(nothing):  # noqa: PTH123
        try:
            group.main(prog_name="envmatrix", complete_var=VARIABLE)
        except Exception:
            sys.exit(1)
    sys.exit(0)


def _as_envmatrix_error(error: Exception) -> EnvmatrixError:
    """Convert an exception to an error with a message and a hint for the user."""
    match error:
        case EnvmatrixError():
            return _with_remedy(error)
        case click.exceptions.NoArgsIsHelpError():
            usage = error.ctx.command_path if error.ctx else "envmatrix"
            return ConfigurationError(f"`{usage}` needs a verb", hint=f"see `{usage} --help`")
        case click.UsageError():
            usage = error.ctx.command_path if error.ctx else "envmatrix"
            message = _uncapitalize(error.format_message())
            return ConfigurationError(message, hint=f"see `{usage} --help`")
        case click.ClickException():
            return ConfigurationError(_uncapitalize(error.format_message()))
        case OSError() if error.errno not in _DEFECT_ERRORS and error.strerror:
            return _file_error(error)
        case UnicodeDecodeError():
            message = f"a file that has to be text is not UTF-8, but has {error.object[:40]!r}"
            return ConfigurationError(message, hint="see `git status` for what changed")
        case MemoryError():
            hint = "free some, or look for a file that is too large"
            return EnvmatrixError("there is not enough memory", hint=hint)
    return _internal(error)


def _with_remedy(error: EnvmatrixError) -> EnvmatrixError:
    """Add the remedy for what the file system refused, if that is the cause, to an error without a
    hint."""
    cause, (first, *others) = error.__cause__, error.problems
    if not isinstance(cause, OSError) or first.hint or others:
        return error
    error.problems = (replace(first, hint=_remedy(cause)),)
    return error


def _file_error(error: OSError) -> EnvmatrixError:
    where = f"`{_text_of(error.filename)}`: " if error.filename else ""
    message = f"{where}{_uncapitalize(str(error.strerror))}"
    return EnvmatrixError(message, hint=_remedy(error) or _OTHER_PATH)


def _remedy(error: OSError) -> str | None:
    from envmatrix.machine.cache import cache_directory
    from envmatrix.machine.remedies import file_remedy

    try:
        return file_remedy(error, cache_directory())
    except ConfigurationError:  # there is no home directory
        return None


def _text_of(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, bytes) else str(filename)


def _internal(error: Exception) -> InternalError:
    """Write the traceback of a defect to a file; if that fails, put it into the error's details."""
    import traceback

    from envmatrix.files import write_whole
    from envmatrix.machine.cache import cache_directory
    from envmatrix.text import redacted

    text = redacted("".join(traceback.format_exception(error)))
    message = f"internal error: {type(error).__name__}: {str(error)[:_LONGEST_REASON]}"
    log = cache_directory() / "internal-error.log"
    try:
        write_whole(log, text.encode("utf-8", "backslashreplace"), 0o600)
    except (OSError, ValueError, ConfigurationError):
        return InternalError(message, details=text.splitlines(), hint=_DEFECT)
    return InternalError(message, hint=f"{_DEFECT} with `{log}`, which says where")


def _uncapitalize(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")
