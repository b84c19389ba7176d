"""What a development container on this machine is made from: links to what a build mounts, its
variables, and its image, in a directory that the generated devcontainer.json names."""

from __future__ import annotations

from pathlib import Path

from envmatrix.engine.tasks import Task
from envmatrix.files import write_whole
from envmatrix.matrix.library import is_archive
from envmatrix.render.devcontainer import DOCKERFILE, ENVIRONMENT, links


def prepare(directory: Path, task: Task) -> None:
    """Write the files for a container like that of `task`; what it does not mount is empty."""
    directory.mkdir(parents=True, exist_ok=True)
    sources = {mount.target: Path(str(mount.source)) for mount in task.mounts}
    for target, name in links(filter(is_archive, sources)).items():
        (directory / name).unlink(missing_ok=True)
        nothing = directory / "nothing"
        nothing.mkdir(exist_ok=True)
        (directory / name).symlink_to(sources.get(target, nothing).absolute())
    # A file of variables has lines: those with several cannot be in it.
    lines = (f"{name}={value}\n" for name, value in sorted(task.environment.items()))
    text = "".join(line for line in lines if line.count("\n") == 1)
    write_whole(directory / ENVIRONMENT, text.encode())
    write_whole(directory / DOCKERFILE, f"FROM {task.image}\n".encode())
