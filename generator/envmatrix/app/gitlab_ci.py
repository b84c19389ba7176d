"""GitLab CI: the template of a repository, and the child pipeline of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envmatrix import __version__
from envmatrix.app.pipeline_plan import write_changed
from envmatrix.app.workspace import Workspace
from envmatrix.pipeline.gitlab import CHILD_FILE, Installation, child_pipeline, control_runner
from envmatrix.pipeline.machines import runners_of
from envmatrix.pipeline.model import Pipeline
from envmatrix.render import gitlab


def gitlab_files(workspace: Workspace, banner: str) -> Mapping[str, str]:
    """Return the text of the template by its path."""
    runner = control_runner(runners_of(workspace.matrix, "gitlab").values())
    tags = runner.gitlab if runner else ()
    return {gitlab.FILE: gitlab.template(_installation(workspace), tags, banner)}


def write_child(pipeline: Pipeline, workspace: Workspace, directory: Path) -> None:
    """Write the child pipeline of a plan into its directory."""
    text = child_pipeline(pipeline, _installation(workspace))
    write_changed(directory / Path(CHILD_FILE).name, text)


def _installation(workspace: Workspace) -> Installation:
    registry, signer = workspace.matrix.registry, workspace.signer
    return Installation(
        None if workspace.has_own_program else __version__,
        registry.repository.partition("/")[0] if registry else None,
        is_signed=signer is not None and signer.identity is not None,
        install=workspace.matrix.ci_install,
    )
