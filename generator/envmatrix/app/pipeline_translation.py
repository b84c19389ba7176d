"""What a CI engine reads of a pipeline: files beside its document, and outputs of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from envmatrix.app.gitlab_ci import write_child
from envmatrix.app.workspace import Workspace
from envmatrix.pipeline import github
from envmatrix.pipeline.model import Pipeline, PipelineJob
from envmatrix.pipeline.triggers import Engine, Variables

# Writes what an engine reads, into the directory of the pipeline or where variables say.
Translator = Callable[[Pipeline, Workspace, Path, Variables], None]


def translate(
    pipeline: Pipeline, engine: Engine, workspace: Workspace, directory: Path, variables: Variables
) -> None:
    """Write a pipeline as an engine reads it; Jenkins reads the document itself."""
    if translator := TRANSLATORS.get(engine):
        translator(pipeline, workspace, directory, variables)


def translate_again(
    pipeline: Pipeline, jobs: Sequence[PipelineJob], engine: Engine | None, variables: Variables
) -> None:
    """Tell an engine that asks for them which jobs are worth a second attempt."""
    if engine == "github":
        append(
            github.output_lines(github.second_attempt(pipeline, jobs)), variables, "GITHUB_OUTPUT"
        )


def append(text: str, variables: Variables, name: str) -> None:
    """Append text to the file that a variable of an engine names, if it does."""
    if path := variables.get(name):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def _github(pipeline: Pipeline, _: Workspace, __: Path, variables: Variables) -> None:
    append(github.output_lines(github.outputs(pipeline)), variables, "GITHUB_OUTPUT")
    append(github.summary(pipeline), variables, "GITHUB_STEP_SUMMARY")


def _gitlab(pipeline: Pipeline, workspace: Workspace, directory: Path, _: Variables) -> None:
    write_child(pipeline, workspace, directory)


TRANSLATORS: Mapping[Engine, Translator] = {"github": _github, "gitlab": _gitlab}
