"""Tasks in containers of an engine on another machine, such as that of a Docker context over SSH.

Nothing can be mounted from here: inputs are put into volumes, and outputs are taken out of them, as
archives. The engine keeps the output of a container, so a task goes on without its client.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from envmatrix.confined import Area
from envmatrix.confined.packing import Form
from envmatrix.engine import docker_client
from envmatrix.engine.containers import (
    LABEL,
    Containers,
    Execution,
    common_document,
    user_entries,
    watch_limits,
)
from envmatrix.engine.engine_api import (
    ANSWER_SECONDS,
    RequestFailed,
    no_answer,
)
from envmatrix.engine.tasks import Mount, Task
from envmatrix.errors import EngineError
from envmatrix.executors.archives import (
    digest_of_file,
    identity_of_inputs,
    packed,
    unpack_into,
)
from envmatrix.executors.ssh import forwarded_socket

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

# The label with the identity of the inputs of a container.
_INPUTS = "envmatrix.inputs"
_CHUNK = 1 << 20
# How long a connection may be lost.
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 1.0
# Of output, the engine keeps as much.
_LOG = {"Type": "local", "Config": {"max-size": "1g", "max-file": "2"}}
# The first release of the API that mounts a part of a volume.
_WITH_SUBPATH = (1, 45)
_FRACTION = re.compile(r"\.\d+")


class RemoteContainers(Containers):
    """Executes tasks on the engine of `client`, in a container each. Images that it lacks come from
    the engine of this machine, or from their registry where they are named by a digest. A task that
    was started is adopted by any client. Files belong to the user `uid` there."""

    def __init__(
        self, client: docker.DockerClient, local: docker.DockerClient, uid: int | None = None
    ) -> None:
        super().__init__(docker_client.engine_of(client))
        self._client = client
        self._local = local
        self._uid = os.getuid() if uid is None else uid
        self._transferring = threading.Lock()

    def submit(self, key: str, task: Task) -> None:
        self._transfer_image(task.image)  # not under the lock that `stop` needs
        super().submit(key, task)

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself and of its machine."""
        return self._engine.info()

    def _execution_of(self, key: str, task: Task) -> Execution:
        return _RemoteExecution(self._client, key, task, self._uid)

    def _transfer_image(self, name: str) -> None:
        """Have the image on the other machine; its layers are compared, which are the same in every
        kind of store."""
        from docker.errors import DockerException, ImageNotFound

        try:
            with self._transferring:
                if "@" in name:
                    with suppress(ImageNotFound):
                        self._client.images.get(name)
                        return
                    self._client.images.pull(name)
                elif _layers(self._client, name) != (layers := _layers(self._local, name)):
                    if layers is None:
                        raise EngineError(f"there is no image `{name}` on this machine")
                    _load(self._client, self._local.api.get_image(name))
        except (DockerException, OSError) as error:
            raise EngineError(f"the image `{name}` cannot be transferred: {error}") from error


def _load(client: docker.DockerClient, archive: Iterator[bytes]) -> None:
    api: Any = client.api
    for event in api.load_image(archive):
        if "error" in event:
            raise EngineError(str(event["error"]))


def _layers(client: docker.DockerClient, name: str) -> Sequence[str] | None:
    from docker.errors import ImageNotFound

    try:
        layers: Sequence[str] = client.images.get(name).attrs["RootFS"]["Layers"]
    except ImageNotFound:
        return None
    return layers


class _RemoteExecution(Execution):
    """A container on another machine, with a volume for each mount."""

    def __init__(self, client: docker.DockerClient, key: str, task: Task, uid: int) -> None:
        super().__init__(docker_client.engine_of(client), key, task)
        self._client = client
        self._uid = uid
        # An input that is a file needs a part of a volume; so do the files that define a user.
        has_parts = _version(client) >= _WITH_SUBPATH
        self._user_files = user_entries(uid, uid) if has_parts else {}

    def _begin(self) -> None:
        container = self._adopted() or self._started()
        output = self._resources.enter_context(closing(self._new_output()))
        self._output = output
        passed = self._passed_seconds(container)
        limits = watch_limits(self._stopped, self._task, passed_seconds=passed, disks=())
        self._resources.enter_context(limits)

    @contextmanager
    def _engine_errors(self) -> Iterator[None]:
        from docker.errors import DockerException

        with super()._engine_errors():
            try:
                yield
            except (DockerException, OSError) as error:
                raise RequestFailed(str(error)) from error

    def _adopted(self) -> Container | None:
        """Return the container of another client. One that was never started is incomplete, and one
        with other inputs is not that of this task: both are removed."""
        from docker.errors import NotFound

        try:
            container = self._client.containers.get(self._name)
        except NotFound:
            return None
        self._is_created = True
        if container.status == "created" or container.labels.get(_INPUTS) != self._identity():
            self._remove()
            return None
        return container

    def _started(self) -> Container:
        from docker.errors import APIError

        self._is_created = True
        with self._files() as files:
            identity = self._put_inputs(files)
        self._engine.create(self._name, self._document(identity), self._task.platform)
        container = self._client.containers.get(self._name)
        self._check()
        with suppress(APIError):  # another client was faster
            container.start()
        container.reload()
        return container

    def _volume(self, number: int | str) -> str:
        return f"{self._name}-{number}"

    @contextmanager
    def _files(self) -> Iterator[Container]:
        """Yield a container that is never started, and has all volumes at the root directory."""
        names = [*map(str, range(len(self._task.mounts))), "user"]
        for name in names:
            self._client.volumes.create(self._volume(name), labels={LABEL: self._key})
        mounts = [_volume_mount(f"/{name}", self._volume(name)) for name in names]
        with docker_client.temporary_container(
            self._client,
            self._task.image,
            command=["true"],
            mounts=mounts,
            labels={LABEL: self._key},
            platform=self._task.platform,
        ) as container:
            yield container

    def _put_inputs(self, files: Container) -> str:
        """Put the inputs into the volumes; return their identity."""
        roots = [str(number) for number in range(len(self._task.mounts))]
        texts = {f"user/{Path(name).name}": text for name, text in self._user_files.items()}
        files.put_archive("/", _small_archive(roots, texts, self._uid))
        digests = {}
        for mount in self._task.mounts:
            with self._packed(mount) as archive:
                if archive:
                    with archive.open("rb") as content:
                        files.put_archive("/", content)
                if archive and mount.read_only:
                    digests[mount.target] = digest_of_file(archive)
            self._check()
        return identity_of_inputs(digests)

    def _identity(self) -> str:
        """Return the identity of the inputs as they are now."""
        digests = {}
        for mount in self._task.mounts:
            if mount.read_only:
                with self._packed(mount) as archive:
                    assert archive  # noqa: S101 -- only areas have none
                    digests[mount.target] = digest_of_file(archive)
        return identity_of_inputs(digests)

    def _packed(self, mount: Mount) -> AbstractContextManager[Path | None]:
        """Pack a mount for its volume: the engine refuses links out of the directory that it
        unpacks to."""
        number = self._task.mounts.index(mount)
        return packed(mount, Form(self._uid, prefix=f"{number}/"))

    def _document(self, identity: str) -> dict[str, Any]:
        mounts = [
            _volume_mount(
                mount.target,
                self._volume(number),
                read_only=mount.read_only,
                part=mount.source.name if _is_file(mount.source) else None,
            )
            for number, mount in enumerate(self._task.mounts)
        ]
        mounts += [
            _volume_mount(name, self._volume("user"), read_only=True, part=Path(name).name)
            for name in self._user_files
        ]
        labels = {LABEL: self._key, _INPUTS: identity}
        files = {"Mounts": mounts, "LogConfig": _LOG}
        return common_document(self._task, self._uid, self._uid, labels, files)

    def _passed_seconds(self, container: Container) -> float:
        """Return for how long a container has run, by the clock of its machine."""
        present = _time(self._engine.info()["SystemTime"])
        return max(0.0, (present - _time(container.attrs["State"]["StartedAt"])).total_seconds())

    def _new_output(self) -> Generator[tuple[int, bytes], None, None]:
        """Yield the output. If the connection is lost, follow it again for a while: the engine
        begins with the first output, so what was passed is left out."""
        passed = 0
        lost: float | None = None
        while True:
            try:
                with self._engine.follow(self._name) as output:
                    end = 0
                    for stream, chunk in output:
                        end += len(chunk)
                        if end > passed:
                            rest = chunk[-(end - passed) :]
                            passed, lost = end, None
                            yield stream, rest
                if self._engine.state(self._name).get("Status") in ("exited", "dead"):
                    return
            except RequestFailed as error:
                self._check()
                lost = lost or time.monotonic()
                is_gone = error.status == HTTPStatus.NOT_FOUND
                if is_gone or time.monotonic() - lost > _PATIENCE_SECONDS:
                    raise
            time.sleep(_PAUSE_SECONDS)

    def _fetch_outputs(self) -> None:
        for mount in self._task.mounts:
            if isinstance(mount.source, Area):
                with NamedTemporaryFile(prefix="envmatrix-output-") as file:
                    chunks, _ = self._client.api.get_archive(
                        self._name, f"{mount.target}/.", _CHUNK
                    )
                    for chunk in chunks:
                        file.write(chunk)
                    file.flush()
                    unpack_into(mount.source, Path(file.name))

    def _remove(self) -> None:
        """Remove the container and its volumes."""
        from docker.errors import DockerException

        super()._remove()
        if self._is_created:
            with suppress(DockerException, OSError):
                for volume in self._client.volumes.list(filters={"label": f"{LABEL}={self._key}"}):
                    volume.remove(force=True)


def _is_file(source: Path | Area) -> bool:
    return isinstance(source, Path) and source.is_file()


def _volume_mount(
    target: str, volume: str, *, read_only: bool = False, part: str | None = None
) -> Mapping[str, Any]:
    """Return a mount of a volume, or of a file in it."""
    options = {"NoCopy": True, **({"Subpath": part} if part is not None else {})}
    return {
        "Type": "volume",
        "Source": volume,
        "Target": target,
        "ReadOnly": read_only,
        "VolumeOptions": options,
    }


def _small_archive(directories: Sequence[str], files: Mapping[str, str], owner: int) -> bytes:
    """Return a tar of directories that belong to `owner`, and of files that belong to root."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as entries:
        for name in directories:
            header = tarfile.TarInfo(name)
            header.type, header.mode = tarfile.DIRTYPE, 0o755
            header.uid = header.gid = owner
            entries.addfile(header)
        for name, text in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(text.encode())
            entries.addfile(header, io.BytesIO(text.encode()))
    return archive.getvalue()


def _version(client: docker.DockerClient) -> tuple[int, ...]:
    return tuple(map(int, str(client.api.api_version).split(".")))


def _time(text: str) -> datetime:
    """Read a time of the engine, which has nanoseconds."""
    return datetime.fromisoformat(_FRACTION.sub("", text))


@contextmanager
def connect(context: str, local: docker.DockerClient) -> Iterator[RemoteContainers]:
    """Yield an executor for a Docker context, such as one with an address `ssh://user@machine`."""
    import docker
    from docker.context import ContextAPI
    from docker.errors import DockerException

    try:
        present = ContextAPI.get_context(context)
    except DockerException as error:
        raise EngineError(f"the Docker context `{context}` cannot be used: {error}") from error
    if present is None:
        hint = "`docker context ls` lists them"
        raise EngineError(f"there is no Docker context `{context}`", hint=hint)
    address = str(present.Host)
    is_ssh = address.startswith("ssh://")
    with forwarded_socket(address) if is_ssh else nullcontext(address) as near:
        try:
            client = docker.DockerClient(
                near,
                tls=present.TLSConfig or False,
                timeout=ANSWER_SECONDS,
                num_pools=docker_client.POOLS,
            )
        except DockerException as error:
            raise no_answer(f"{address}: {error}") from error
        docker_client.limit_silence(client)
        with closing(client), closing(RemoteContainers(client, local)) as executor:
            yield executor
