"""Tasks as Jobs of Kubernetes. Inputs and outputs go through a registry by their content.

What Kubernetes says of a Job is a hint. The result of a task is a manifest in the registry, tagged
with its key: where it exists, the task has ended, whatever became of its pod.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

from envmatrix.confined import packing
from envmatrix.engine.containers import base_environment, user_entries
from envmatrix.engine.submissions import Submissions
from envmatrix.engine.tasks import Mount, OnOutput, Phase, Task, TaskResult, cancelled_task
from envmatrix.errors import EngineError, LookupFailed
from envmatrix.executors import agent
from envmatrix.executors.archives import digest_of_file, identity_of_inputs, packed, unpack_into
from envmatrix.executors.manifests import (
    COLLECTOR,
    INPUTS_LABEL,
    Cluster,
    Document,
    Inputs,
    job,
    job_name,
    result_tag,
)
from envmatrix.executors.results import (
    StoredResult,
    lines_of,
    read_pieces,
    read_result,
)
from envmatrix.parallel import run_parallel
from envmatrix.records import dataclass
from envmatrix.registry.client import Registry

_T = TypeVar("_T")

_LOOK_SECONDS = 0.5
# How long the API server and the registry may be away.
_PATIENCE_SECONDS = 120.0
_CONNECT_SECONDS = 5.0
# The agent prints something every few seconds.
_SILENCE_SECONDS = 30.0
# How long the registry may take to have a result after the end of a Job.
_SETTLING_SECONDS = 10.0
_STOPPED_AT_ONCE = 8
# Tasks that are followed at the same time have a connection each.
_CONNECTIONS = 256
_CHUNK = 1 << 16
# Reasons of a container that waits for what never comes.
_HOPELESS = {
    *("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
}


@dataclass
class _Submission:
    """A task that was submitted, the `identity` of its inputs, and how much of its output was
    passed, in bytes."""

    key: str
    task: Task
    position: int = 0
    is_cancelled: bool = False
    identity: str = ""
    # Digests of what areas had when they were submitted, None of an empty one; none of an adopted
    # task.
    areas: Sequence[str | None] = ()
    starting: threading.Lock = field(default_factory=threading.Lock)
    is_started: bool = False


class Kubernetes:
    """Executes tasks as Jobs of a cluster. `api` is a client of `kubernetes.client.ApiClient`,
    `registry` that of the repository of inputs and results, and `image_of` returns the name by
    digest of an image of this machine."""

    def __init__(
        self, cluster: Cluster, api: Any, registry: Registry, image_of: Callable[[str], str]
    ) -> None:
        self._cluster, self._registry, self._image_of = cluster, registry, image_of
        self._jobs = _Jobs(cluster.namespace, api)
        self._submissions: Submissions[_Submission] = Submissions()

    def submit(self, key: str, task: Task) -> None:
        submission = self._submissions.submit(key, lambda: _Submission(key, task))
        try:
            with submission.starting:
                if not submission.is_started:
                    self._start(submission)
                    submission.is_started = True
        except BaseException:
            self._submissions.remove(key)
            raise
        if submission.is_cancelled:
            self._jobs.delete(key)
            raise cancelled_task(key)

    def _start(self, submission: _Submission) -> None:
        """Create the Job, unless it or its result exists."""
        key, task, uid = submission.key, submission.task, self._cluster.user
        digests = self._upload(mount for mount in task.mounts if mount.read_only)
        submission.identity = identity_of_inputs(digests)
        if self._result(submission):
            return
        present = self._jobs.identity(key)
        if present == submission.identity:
            return
        if present is not None:  # with other inputs, it is not this task
            self._jobs.delete(key)
        areas = [mount for mount in task.mounts if not mount.read_only]
        digests |= self._upload(areas)
        submission.areas = [digests.get(mount.target) for mount in areas]
        contents = [digests.get(mount.target) for mount in task.mounts]
        inputs = Inputs(contents, submission.identity, user_entries(uid, uid))
        image = self._image_of(task.image)
        document = job(self._cluster, key, _with_image(task, image, uid), inputs, agent_program())
        if not self._jobs.create(document) and self._jobs.identity(key) != submission.identity:
            raise EngineError(f"another client has started the task `{key}` with other inputs")

    def _upload(self, mounts: Iterable[Mount]) -> dict[str, str]:
        """Have the registry store what mounts have; return the digests by target, none of an empty
        area."""
        digests = {}
        for mount in mounts:
            with packed(mount) as archive:
                if archive:
                    digests[mount.target] = digest = digest_of_file(archive)
                    self._try(partial(self._registry.put_file, archive, digest))
        return digests

    def watch(self, key: str) -> Iterator[Phase]:
        submission = self._submissions.find(key)
        phase: Phase | None = None
        while phase != "ended":
            present = self._phase(submission)
            if present != phase:
                phase = present
                yield phase
            else:
                time.sleep(_LOOK_SECONDS)

    def logs(self, key: str, on_output: OnOutput) -> None:
        submission = self._submissions.find(key)
        while (phase := self._phase(submission)) != "ended":
            if phase == "running":
                self._follow(submission, on_output)
                if self._result(submission):  # which Kubernetes notices later
                    break
            time.sleep(_LOOK_SECONDS)
        result = self._settled_result(submission)
        if submission.position < result.printed:
            with self._downloaded(result.log) as file, file.open("rb") as lines:
                _pass_on(lines, submission, on_output)

    def _follow(self, submission: _Submission, on_output: OnOutput) -> None:
        """Pass the output on while the connection lasts."""
        with self._jobs.log(submission.key) as chunks:
            _pass_on(lines_of(chunks), submission, on_output)

    def cancel(self, key: str) -> None:
        if submission := self._submissions.cancel(key):
            submission.is_cancelled = True
            self._jobs.delete(key)

    def collect(self, key: str) -> TaskResult:
        submission = self._submissions.find(key)
        while not self._result(submission) and self._phase(submission) != "ended":
            time.sleep(_LOOK_SECONDS)
        result = self._settled_result(submission)
        stdout = self._stdout(result) if submission.task.keeps_stdout else ""
        self._fetch_outputs(submission, result)
        self._jobs.delete(key)
        self._submissions.remove(key)
        return TaskResult(result.status, stdout, result.stopped, result.out_of_memory)

    def _stdout(self, result: StoredResult) -> str:
        with self._downloaded(result.log) as file, file.open("rb") as lines:
            pieces = [piece.content for piece in read_pieces(lines) if piece.stream == 0]
        return b"".join(pieces).decode("utf-8", "replace")

    def _fetch_outputs(self, submission: _Submission, result: StoredResult) -> None:
        """Bring the outputs that differ from what was submitted."""
        areas = submission.task.outputs
        if result.stopped == "disk":
            return
        if len(result.outputs) != len(areas):
            raise EngineError(f"the result of the task `{submission.key}` is incomplete")
        before = submission.areas or [None] * len(areas)
        for area, digest, submitted in zip(areas, result.outputs, before, strict=True):
            if digest != submitted:
                with self._downloaded(digest) as archive:
                    unpack_into(area, archive)

    def stop(self) -> None:
        run_parallel(self.cancel, self._submissions.close(), _STOPPED_AT_ONCE)

    def _phase(self, submission: _Submission) -> Phase:
        if submission.is_cancelled:
            raise cancelled_task(submission.key)
        return self._jobs.phase(submission.key) or "ended"

    def _settled_result(self, submission: _Submission) -> StoredResult:
        """Return the result of a task that has ended; EngineError where there is none. The Job is
        removed then, so that the task can be submitted again."""
        end = time.monotonic() + _SETTLING_SECONDS
        while (result := self._result(submission)) is None:
            if submission.is_cancelled:
                raise cancelled_task(submission.key)
            if time.monotonic() > end:
                problem = self._jobs.problem(submission.key)
                self._jobs.delete(submission.key)
                raise EngineError(f"the task of `{submission.task.image}` has no result: {problem}")
            time.sleep(_LOOK_SECONDS)
        return result

    def _result(self, submission: _Submission) -> StoredResult | None:
        tag = result_tag(submission.key, submission.identity)

        def read() -> StoredResult | None:
            manifest = self._registry.manifest(tag)
            if manifest is None:
                return None
            config = manifest.read(lambda document: str(document["config"]["digest"]))
            content = self._registry.blob(config)
            return read_result(type(manifest)(manifest.media_type, content))

        return self._try(read)

    def _try(self, action: Callable[[], _T]) -> _T:
        """Call a function of the registry, whose client has patience of its own."""
        try:
            return action()
        except LookupFailed as error:
            raise EngineError(error.message, hint=error.hint, details=error.details) from error

    @contextmanager
    def _downloaded(self, digest: str) -> Iterator[Path]:
        """Yield a temporary file with a blob, verified."""
        with NamedTemporaryFile(prefix="envmatrix-output-") as file:

            def download() -> None:
                file.seek(0)
                file.truncate()
                for chunk in self._registry.stream(digest):
                    file.write(chunk)
                file.flush()

            self._try(download)
            if digest_of_file(Path(file.name)) != digest:
                raise EngineError(f"the registry has something else as {digest}")
            yield Path(file.name)


def _with_image(task: Task, image: str, uid: int) -> Task:
    return replace(task, image=image, environment={**base_environment(uid), **task.environment})


@cache
def agent_program() -> str:
    """Return the text of the agent: that of two modules."""
    texts = [Path(module.__file__ or "").read_text("utf-8") for module in (packing, agent)]
    lines = "\n".join(texts).splitlines()
    omitted = ("from __future__ import", "from envmatrix.")
    body = [line for line in lines if not line.startswith(omitted)]
    return "\n".join(("from __future__ import annotations", *body, "main()", ""))


def _pass_on(lines: Any, submission: _Submission, on_output: OnOutput) -> None:
    """Pass pieces of output on that were not passed before. It ends at a gap: a node keeps only the
    end of a long log, and the whole one is in the result."""
    for piece in read_pieces(lines):
        if submission.is_cancelled or piece.offset > submission.position:
            return
        rest = piece.content[submission.position - piece.offset :]
        if rest:
            submission.position += len(rest)
            on_output(piece.stream, rest)


class _Jobs:
    """The Jobs of a namespace. Requests are repeated while an API server that has answered before
    is away for a moment."""

    def __init__(self, namespace: str, api: Any) -> None:
        from kubernetes import client

        self._namespace = namespace
        self._has_answered = False
        self._batch, self._core = client.BatchV1Api(api), client.CoreV1Api(api)

    def find(self, key: str) -> Document | None:
        return self._request(self._batch.read_namespaced_job, job_name(key), self._namespace)

    def identity(self, key: str) -> str | None:
        """Return the identity of the inputs of a task; None without a Job."""
        present = self.find(key)
        return None if present is None else str(present["metadata"]["labels"].get(INPUTS_LABEL))

    def create(self, document: Document) -> bool:
        """Create a Job; False where there is one of this name, also of this client's after a lost
        answer."""
        created = self._request(
            self._batch.create_namespaced_job,
            self._namespace,
            document,
            accepts=HTTPStatus.CONFLICT,
        )
        return created is not None

    def delete(self, key: str) -> None:
        self._request(
            self._batch.delete_namespaced_job,
            job_name(key),
            self._namespace,
            propagation_policy="Background",
        )

    def phase(self, key: str) -> Phase | None:
        """Return the phase of a task as far as Kubernetes knows; None without a Job."""
        present = self.find(key)
        if present is None:
            return None
        if any(row["status"] == "True" for row in present["status"].get("conditions", ())):
            return "ended"
        pod = self._pod(present)
        if pod is None:
            return "queued"
        self._check(pod)
        if "terminated" in _states(pod, COLLECTOR):
            return "ended"
        is_waiting = "running" not in _states(pod, COLLECTOR) or not _states(pod, "task")
        return "queued" if is_waiting else "running"

    def _check(self, pod: Document) -> None:
        """Raise EngineError for a container that cannot start."""
        for row in _containers(pod):
            waiting = row["state"].get("waiting") or {}
            if waiting.get("reason") in _HOPELESS:
                message = waiting.get("message") or ""
                raise EngineError(
                    f"the image `{row['image']}` cannot run: {waiting['reason']}: {message}"
                )

    def problem(self, key: str) -> str:
        """Return why a Job has ended without a result."""
        present = self.find(key)
        if present is None:
            return "its Job was removed"
        pod = self._pod(present)
        rows = [*present["status"].get("conditions", ()), *([pod["status"]] if pod else ())]
        words = [f"{row.get('reason', '')}: {row.get('message', '')}" for row in rows]
        ends = [
            f"`{row['name']}` ended with {end['exitCode']}: {(end.get('message') or '')[-500:]}"
            for row in (_containers(pod) if pod else ())
            if (end := row["state"].get("terminated")) and end["exitCode"]
        ]
        return "; ".join(word for word in (*words, *ends) if word.strip(": ")) or "unknown"

    @contextmanager
    def log(self, key: str) -> Iterator[Iterator[bytes]]:
        """Yield the output of the collector of a task, while the connection lasts."""
        import urllib3

        present = self.find(key)
        pod = self._pod(present) if present else None
        if pod is None:
            yield iter(())
            return
        try:
            response: Any = self._core.read_namespaced_pod_log(
                pod["metadata"]["name"],
                self._namespace,
                container=COLLECTOR,
                follow=True,
                _preload_content=False,
                _request_timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
            )
        except Exception as error:
            if not _is_momentary(error) and _status(error) is None:
                raise
            yield iter(())
            return

        def chunks() -> Iterator[bytes]:
            with suppress(urllib3.exceptions.HTTPError, OSError):
                while chunk := response.read1(_CHUNK):
                    yield chunk

        try:
            yield chunks()
        finally:
            response.close()

    def _pod(self, present: Document) -> Document | None:
        selector = f"controller-uid={present['metadata']['uid']}"
        rows = self._request(
            self._core.list_namespaced_pod, self._namespace, label_selector=selector
        )
        items = rows["items"] if rows else []
        return items[-1] if items else None

    def _request(
        self, method: Callable[..., Any], *arguments: Any, accepts: int = 404, **options: Any
    ) -> Document | None:
        """Return the answer to a request, repeated if need be; None for the status `accepts`."""
        end = time.monotonic() + (_PATIENCE_SECONDS if self._has_answered else 0)
        pause = _LOOK_SECONDS
        while True:
            try:
                response = method(
                    *arguments,
                    _preload_content=False,
                    _request_timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
                    **options,
                )
                document: Document = json.loads(response.data)
            except Exception as error:
                if _status(error) == accepts:
                    self._has_answered = True
                    return None
                if not _is_momentary(error) or time.monotonic() > end:
                    raise _error(error) from error
                time.sleep(pause)
                pause = min(pause * 2, 8)
            else:
                self._has_answered = True
                return document


def _containers(pod: Document, name: str | None = None) -> list[Document]:
    status = pod["status"]
    rows = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return [row for row in rows if name in (None, row["name"])]


def _states(pod: Document, name: str) -> set[str]:
    """Return the state of a container, `running` or `terminated`; nothing before it begins."""
    return {state for row in _containers(pod, name) for state in row["state"]} - {"waiting"}


def _status(error: Exception) -> int | None:
    status = getattr(error, "status", None)
    return status if isinstance(status, int) and status else None


def _is_momentary(error: Exception) -> bool:
    """Return whether an error of the API server may be over in a moment."""
    import urllib3

    status = _status(error)
    if status is not None:
        return status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500
    return isinstance(error, (urllib3.exceptions.HTTPError, OSError, ValueError))


def _error(error: Exception) -> EngineError:
    status = _status(error)
    reason = getattr(error, "reason", None) or error
    body = str(getattr(error, "body", "") or "")[:500]
    message = (
        f"Kubernetes answers {status} {reason}" if status else f"no Kubernetes answers: {error}"
    )
    return EngineError(message, details=[body] if body else ())


@contextmanager
def connect(
    cluster: Cluster, registry: Registry, image_of: Callable[[str], str], context: str | None = None
) -> Iterator[Kubernetes]:
    """Yield an executor for a context of the user's kubeconfig, the present one by default."""
    try:
        from kubernetes import client, config
    except ImportError as error:
        hint = "install it: `pip install 'envmatrix[kubernetes]'`"
        raise EngineError("the client of Kubernetes is missing", hint=hint) from error
    configuration = client.Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    load: Callable[..., None] = config.load_kube_config
    try:
        load(context=context, client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise EngineError(f"the kubeconfig cannot be used: {error}") from error
    with client.ApiClient(configuration) as api:
        yield Kubernetes(cluster, api, registry, image_of)
