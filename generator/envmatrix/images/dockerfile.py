"""The generated files of an environment: its Dockerfile and its scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from envmatrix.images.definition import Definition, mirror_arguments
from envmatrix.images.environments import Environment
from envmatrix.images.scripts import rendered
from envmatrix.images.stages import SCRIPTS, Stage


def generated_files(definition: Definition) -> Mapping[str, str]:
    """Return the Dockerfile and the scripts by their paths in the build context."""
    scripts = {f"{SCRIPTS}/{name}": text for name, text in definition.scripts.items()}
    return {f"{definition.environment.name}/Dockerfile": dockerfile(definition), **scripts}


def dockerfile(definition: Definition) -> str:
    environment = definition.environment
    return rendered(
        "Dockerfile.j2",
        environment=environment,
        mirrors=mirror_arguments(environment),
        targets=_targets(environment),
        stages="".join(_texts(definition.stages.values())),
    )


def _targets(environment: Environment) -> Mapping[str, list[str]]:
    """Return the platforms of each target."""
    platforms: dict[str, list[str]] = {}
    for image in environment.images:
        platforms.setdefault(image.flavour, []).append(image.platform)
    return platforms


def _texts(stages: Iterable[Stage]) -> Iterator[str]:
    """Yield stages with empty lines between them, except between those without instructions."""
    follows_an_alias = True
    for stage in stages:
        is_alias = not stage.instructions
        yield "" if is_alias and follows_an_alias else "\n"
        yield f"# {stage.comment}\n" if stage.comment else ""
        yield stage.text
        follows_an_alias = is_alias
