"""Open a shell in the container that a cell compiles in."""

from __future__ import annotations

import sys

from envmatrix.app.cell_session import CellSession
from envmatrix.app.library_runs import build_context, lock_build
from envmatrix.engine import docker_client
from envmatrix.engine.containers import Containers
from envmatrix.errors import EnvmatrixError
from envmatrix.sessions import tasks
from envmatrix.sessions.compilation import clear_outdated
from envmatrix.sessions.runner import clear_privileges


def open_shell(session: CellSession) -> int:
    """Open a shell for the first library of the session; return its exit code."""
    if not sys.stdin.isatty():
        raise EnvmatrixError(
            "a shell needs a terminal", hint="run it from one, or use `run compile`"
        )
    context = build_context(session, session.libraries[0])
    with docker_client.connect() as client, lock_build(context, "shell", session.console):
        clear_outdated(context, session.console)
        status = Containers(client).run_at_terminal(tasks.shell(context))
        clear_privileges(context, [context.build], session.console)
    return status
