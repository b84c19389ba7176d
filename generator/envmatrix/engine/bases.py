"""Bases bootstrapped from locked packages: mmdebstrap with a repository of just those files, stored
as an OCI layout, loaded into the engine under the name that the Dockerfiles use."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from envmatrix.console import Display
from envmatrix.engine import docker_client, foreign_bases, image_store
from envmatrix.errors import EngineError, LookupFailed
from envmatrix.facts.targets import MACHINES
from envmatrix.files import naming, new_directory
from envmatrix.lock.model import Artifact, BootstrapRequest, PackageSet
from envmatrix.machine.cache import exclusive
from envmatrix.machine.host import ID_PACKAGE, emulation_handler
from envmatrix.machine.processes import run
from envmatrix.parallel import INTERRUPTION
from envmatrix.records import dataclass
from envmatrix.registry.manifests import CONFIG, LAYER, MANIFEST
from envmatrix.store.artifacts import Store, link_or_copy, sha256_of
from envmatrix.store.downloads import Mirror
from envmatrix.store.image_records import ImageRecords

# Part of a base's identity: raise it when what `bootstrap` does changes the result.
_RECIPE = 1

# dpkg's options in a base, for every package that is ever installed on it: no documentation,
# manuals and translations, but the licences; and no fsync, which an image has no use for.
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
)
# Those about paths reach dpkg's file once mmdebstrap has extracted the essential packages, which it
# would filter by a process of Python for each. dpkg unpacks all of them again, and filters.
_PATH_OPTIONS = tuple(line for line in _DPKG_OPTIONS if line.startswith("path-"))
_FILTER_HOOK = f"""
set -eu
printf '%s\\n' {shlex.join(_PATH_OPTIONS)} >> "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap
cd "$1"/usr/share
for name in doc info locale man; do
  if [ -d "$name" ]; then
    touch --reference="$name" ../time
    find "$name" -mindepth 1 -delete
    touch --reference=../time "$name"
  fi
done
rm --force ../time
"""


# The package that asserts that /bin, /lib and /sbin are links into /usr, and mmdebstrap's hook that
# makes these links for it.
_MERGED_USR = "usr-is-merged"
_MERGED_USR_HOOK = "/usr/share/mmdebstrap/hooks/merged-usr"
# Directories that apt gives to its own user, but not where that user cannot read the repository:
# $TMPDIR may be private.
_OF_APT = ("/var/cache/apt/archives/partial", "/var/lib/apt/lists/partial")

# Files that mmdebstrap writes from the machine it runs on.
_FORGOTTEN = ("apt/sources.list", "apt/apt.conf.d/99mmdebstrap", "hostname", "resolv.conf")

_WITHOUT_ROOT = (
    f"who is not root needs the package `{ID_PACKAGE}`, and ids in /etc/subuid and /etc/subgid: "
    "see `envmatrix doctor`"
)


@dataclass(frozen=True, slots=True)
class BaseLayout:
    """An OCI layout with one image of one layer."""

    directory: Path

    @property
    def diff_id(self) -> str:
        return str(self._index["annotations"]["envmatrix.diff-id"])

    @property
    def layer(self) -> Path:
        return self.directory / "blobs/sha256" / self.diff_id.removeprefix("sha256:")

    @property
    def context(self) -> str:
        """The build context for a builder other than this engine."""
        return f"oci-layout://{self.directory}@{self._index['manifests'][0]['digest']}"

    @property
    def _index(self) -> Any:
        return json.loads((self.directory / "index.json").read_text())

    def read(self, path: str) -> str:
        """Return the text of the file at `path` in the layer."""
        with tarfile.open(self.layer) as archive:
            member = archive.extractfile(f"./{path}")
            return member.read().decode() if member else ""

    def add_to(self, archive: tarfile.TarFile, image: str) -> None:
        """Add the layout to an archive that the engine loads as `image`."""
        index = self._index
        index["manifests"][0]["annotations"] = {"io.containerd.image.name": f"docker.io/{image}"}
        content = json.dumps(index).encode()
        entry = tarfile.TarInfo("index.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for name in ("oci-layout", "blobs"):
            archive.add(self.directory / name, name)


def base_layout(
    cache: Path,
    store: Store,
    package_set: PackageSet,
    epoch: int,
    display: Display,
    mirror: Mirror | None = None,
    helper: BaseLayout | None = None,
) -> BaseLayout:
    """Return the base of `package_set`, built unless it is cached or in `mirror`; its artifacts are
    in `store`. With the programs of a `helper`, one of another architecture takes less time.

    Raises EngineError where mmdebstrap is missing or fails, and where the result is not the
    one that the lock names.
    """
    directory = cache / "bases" / base_identity(package_set, epoch)
    with exclusive(directory.with_suffix(".lock")):
        if not (directory / "index.json").is_file():
            name = _display_name(package_set)
            if mirror and adopt(mirror, package_set, epoch, directory):
                display.say(f"base     {name}: from the mirror")
            else:
                reason = f"bootstrapping {len(package_set.artifacts)} packages"
                with display.job(name, "base", reason, "made"):
                    _make(store, package_set, epoch, directory, helper, display)
    layout = BaseLayout(directory)
    if package_set.diff_id not in (None, layout.diff_id):
        raise EngineError(
            f"the base of {_request_of(package_set).suite} for {package_set.request.arch} came out "
            f"as {layout.diff_id}, the lock names {package_set.diff_id}",
            hint="another mmdebstrap may make another base: compare its version, or lock anew "
            "with `envmatrix lock --upgrade`",
        )
    return layout


def cached_base(cache: Path, package_set: PackageSet, epoch: int) -> BaseLayout | None:
    """Return the base of `package_set` if the cache has it, as the lock names it."""
    layout = BaseLayout(cache / "bases" / base_identity(package_set, epoch))
    is_there = (layout.directory / "index.json").is_file()
    return layout if is_there and layout.diff_id == package_set.diff_id else None


def _make(
    store: Store,
    package_set: PackageSet,
    epoch: int,
    directory: Path,
    helper: BaseLayout | None,
    display: Display,
) -> None:
    """Write the layout at `directory`: by the programs of `helper` first, otherwise under
    emulation, which the user is told."""
    if helper:
        problem = _problem_with(helper, store, package_set, epoch, directory)
        if problem is None:
            return
        name = _display_name(package_set)
        display.say(f"base     {name}: {problem}; emulating all of it, which takes longer")
    bootstrap(store, package_set, epoch, directory)


def _problem_with(
    helper: BaseLayout, store: Store, package_set: PackageSet, epoch: int, directory: Path
) -> str | None:
    """Write the layout at `directory` by the programs of `helper`, which make the same base unless
    a maintainer script ignores $DPKG_ROOT; return why it is not there, if it is not."""
    try:
        bootstrap(store, package_set, epoch, directory, helper)
    except EngineError as error:
        if INTERRUPTION.is_set:
            raise
        return f"native programs do not make it: {error.message}"
    if package_set.diff_id in (None, BaseLayout(directory).diff_id):
        return None
    shutil.rmtree(directory)
    return "native programs made another base than the lock names"


def _request_of(base: PackageSet) -> BootstrapRequest:
    assert isinstance(base.request, BootstrapRequest)  # noqa: S101 -- others are not bootstrapped
    return base.request


def _display_name(package_set: PackageSet) -> str:
    request = _request_of(package_set)
    return f"{request.suite}-{request.arch}"


def base_identity(package_set: PackageSet, epoch: int) -> str:
    """Return the name of the base's directory in the cache."""
    request = _request_of(package_set)
    files = [item.sha256 for item in package_set.artifacts]
    text = json.dumps([_RECIPE, epoch, request.suite, request.arch, _DPKG_OPTIONS, files])
    return hashlib.sha256(text.encode()).hexdigest()


def bootstrap(
    store: Store,
    package_set: PackageSet,
    epoch: int,
    directory: Path,
    helper: BaseLayout | None = None,
) -> None:
    """Run mmdebstrap and write the layout at `directory`, in one step at the end."""
    if not shutil.which("mmdebstrap"):
        raise EngineError("`mmdebstrap` is missing", hint="install it: `envmatrix doctor --fix`")
    with (
        _new_layout(directory, package_set, epoch) as rootfs,
        _repository(store, package_set) as repository,
    ):
        if helper:
            _add_helper(helper, repository)
        _mmdebstrap(package_set, epoch, repository, rootfs)


def _add_helper(helper: BaseLayout, repository: Path) -> None:
    link_or_copy(helper.layer, repository / foreign_bases.HELPER)
    for name, text in foreign_bases.scripts().items():
        (repository / name).write_text(text)
        (repository / name).chmod(0o755)


def adopt(mirror: Mirror, package_set: PackageSet, epoch: int, directory: Path) -> bool:
    """Write the layout at `directory` from the locked layer; return whether `mirror` has it."""
    if package_set.diff_id is None:
        return False
    sha256 = package_set.diff_id.removeprefix("sha256:")
    try:
        with _new_layout(directory, package_set, epoch) as rootfs:
            with naming(rootfs), rootfs.open("wb") as layer:
                layer.writelines(mirror.read(sha256))
            if sha256_of(rootfs) != sha256:
                raise LookupFailed(f"the mirror has another layer for {sha256}")
    except (LookupFailed, httpx.HTTPError):
        return False
    return True


@contextmanager
def _new_layout(directory: Path, package_set: PackageSet, epoch: int) -> Iterator[Path]:
    """Yield the path of the layer's tar; convert it to the layout at `directory` at the end."""
    with new_directory(directory) as layout:
        layout.mkdir()
        rootfs = layout / "layer.tar"
        yield rootfs
        _write_layout(layout, rootfs, package_set.request.arch, epoch)


def bootstrap_command(package_set: PackageSet, repository: Path, rootfs: Path) -> list[str]:
    """Return the command that makes the layer of a base at `rootfs`."""
    request = _request_of(package_set)
    options = [f"--dpkgopt={line}" for line in _DPKG_OPTIONS if line not in _PATH_OPTIONS]
    names = {item.name for item in package_set.artifacts}
    hooks = [f"--hook-dir={_MERGED_USR_HOOK}"] if _MERGED_USR in names else []
    has_helper = (repository / foreign_bases.HELPER).exists()
    apt = foreign_bases.options(repository) if has_helper else ("--include=apt",)
    forgotten = " ".join(f'"$1"/etc/{name}' for name in _FORGOTTEN)
    return [
        "mmdebstrap",
        "--variant=essential",
        f"--architectures={MACHINES[request.arch].debian}",
        '--aptopt=APT::Install-Recommends "false"',
        *options,
        f"--extract-hook={_FILTER_HOOK}",
        *hooks,
        *apt,
        f"--customize-hook=rm -f {forgotten}",
        f'--customize-hook=chroot "$1" chown _apt {" ".join(_OF_APT)}',
        request.suite,
        str(rootfs),
        f"deb [trusted=yes] copy:{repository} ./",
    ]


def _mmdebstrap(package_set: PackageSet, epoch: int, repository: Path, rootfs: Path) -> None:
    request = _request_of(package_set)
    command = bootstrap_command(package_set, repository, rootfs)
    path = f"{repository}:{os.environ.get('PATH', os.defpath)}"  # with the programs for a helper
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PATH": path}
    try:
        run(command, environment=environment, failing=EngineError)
    except EngineError as error:
        is_without_root = any("unable to pick chroot mode" in line for line in error.details)
        handler = emulation_handler(MACHINES[request.arch].qemu)
        foreign = (
            f"programs of {request.arch} have to run here: for those of another architecture "
            f"`{handler}` must be registered, with flag F"
        )
        hint = _WITHOUT_ROOT if is_without_root else foreign
        raise EngineError(error.message, details=error.details, hint=hint) from error


@contextmanager
def _repository(store: Store, package_set: PackageSet) -> Iterator[Path]:
    """A flat apt repository of the set's packages, readable by mmdebstrap's own user."""
    with TemporaryDirectory(prefix="envmatrix-repository-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for artifact in package_set.artifacts:
            link_or_copy(store.path(artifact), directory / artifact.filename)
        packages = "\n".join(_stanza(directory, item) for item in package_set.artifacts)
        (directory / "Packages").write_text(packages)
        (directory / "Release").write_text(_release(_request_of(package_set).suite, packages))
        yield directory


def _stanza(directory: Path, artifact: Artifact) -> str:
    fields = run(["dpkg-deb", "--field", str(directory / artifact.filename)], failing=EngineError)
    return (
        f"{fields.rstrip()}\nFilename: ./{artifact.filename}\n"
        f"Size: {artifact.size}\nSHA256: {artifact.sha256}\n"
    )


def _release(suite: str, packages: str) -> str:
    content = packages.encode()
    digest = hashlib.sha256(content).hexdigest()
    return f"Suite: {suite}\nCodename: {suite}\nSHA256:\n {digest} {len(content)} Packages\n"


def _write_layout(layout: Path, rootfs: Path, arch: str, epoch: int) -> None:
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    layer = sha256_of(rootfs)
    size = rootfs.stat().st_size
    rootfs.rename(blobs / layer)
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    platform = {"architecture": arch, "os": "linux"}
    config = {
        **platform,
        "created": created,
        "config": {"Cmd": ["/bin/bash"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": created, "created_by": "mmdebstrap"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _blob(blobs, config) | {"mediaType": CONFIG},
        "layers": [{"mediaType": LAYER, "digest": f"sha256:{layer}", "size": size}],
    }
    entry = _blob(blobs, manifest) | {"mediaType": MANIFEST, "platform": platform}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {
        "schemaVersion": 2,
        "manifests": [entry],
        "annotations": {"envmatrix.diff-id": f"sha256:{layer}"},
    }
    (layout / "index.json").write_text(json.dumps(index, indent=2))


def _blob(blobs: Path, document: Mapping[str, object]) -> dict[str, object]:
    content = json.dumps(document, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def load_base(layout: BaseLayout, image: str, records: ImageRecords) -> None:
    """Load the base into the engine as `image`, and record its id in `records`."""
    before = image_store.local_images([image])
    _load(layout, image)
    records.note(image, image_store.local_images([image])[image].id, is_ours=not before)


def _load(layout: BaseLayout, image: str) -> None:
    with docker_client.program_required():
        process = subprocess.Popen(
            ["docker", "load", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    with process:
        assert process.stdin is not None  # noqa: S101 -- asked for above
        with suppress(BrokenPipeError):  # docker's output has the error
            with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                layout.add_to(archive, image)
            process.stdin.close()
        output = process.stdout.read().decode() if process.stdout else ""
    if process.returncode:
        message = f"the engine does not load the base `{image}`"
        hint = "see what is missing: `envmatrix doctor`"
        raise EngineError(message, details=output.splitlines(), hint=hint)
