"""Programs that people run by hand in the container of a cell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from envmatrix.app.cell_session import CellSession, Purpose
from envmatrix.app.dev_containers import prepare
from envmatrix.app.library_runs import Needs, build_context, lock_build
from envmatrix.engine import docker_client
from envmatrix.engine.containers import Containers
from envmatrix.engine.tasks import Gpus
from envmatrix.errors import EnvmatrixError
from envmatrix.images.model import dev_image
from envmatrix.render.devcontainer import DIRECTORY
from envmatrix.sessions import tasks
from envmatrix.sessions.compilation import clear_outdated
from envmatrix.sessions.failure_causes import PACKAGE
from envmatrix.sessions.runner import clear_privileges

# The exit code of a shell, and of the first process of containers, for a missing program.
NOT_FOUND = 127


def run_by_hand(
    session: CellSession,
    command: Sequence[str],
    purpose: Purpose = "compiler",
    *,
    gpus: Gpus | None = None,
) -> int:
    """Run a command for the first library of the session, or a shell without one; return its exit
    code. A shell needs a terminal, and raises EnvmatrixError without."""
    if not command and not sys.stdin.isatty():
        hint = "run it from one, or a command: `envmatrix exec CELL -- COMMAND`"
        raise EnvmatrixError("a shell needs a terminal", hint=hint)
    Needs(session).install_for(session.libraries[0])
    context = build_context(session, session.libraries[0])
    task = partial(tasks.by_hand, context, command) if command else partial(tasks.shell, context)
    started = task(at_runtime=purpose == "runtime", gpus=gpus)
    if purpose == "dev":
        started = replace(started, image=session.names[dev_image(context.compiler)])
        prepare(context.directory / DIRECTORY, started)
    with (
        docker_client.open_engine() as engine,
        lock_build(context.directory, "shell", session.console),
    ):
        clear_outdated(context, session.console)
        status = Containers(engine).run_at_terminal(started)
        if command and status == NOT_FOUND:
            question = f"exit code {status}: is there a program `{command[0]}` in the image?"
            flavour = "dev" if purpose == "dev" else context.flavour_to_extend(started.image)
            session.console.warn(f"{question} {PACKAGE.format(flavour=flavour)}")
        written = [context.build, *([] if command else [context.history])]
        written += [context.installing] if context.prefix else []
        clear_privileges(context, written, session.console)
    return status
