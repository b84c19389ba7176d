"""Stand-ins for the world outside: a repository, archives behind `apt-get`, a package
index behind pip, and a backend that bootstraps nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, Self
from urllib.parse import quote

from packaging.requirements import Requirement

from envmatrix.confined import Area
from envmatrix.console import Advance
from envmatrix.documents import Node
from envmatrix.engine.tasks import OnOutput, Phase, Task, TaskResult
from envmatrix.errors import EngineError, LookupFailed
from envmatrix.facts.components import markers
from envmatrix.facts.model import load_facts
from envmatrix.facts.packages import PackageSpec
from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.systems import NvidiaRepository, SignedArchive
from envmatrix.facts.targets import MACHINES
from envmatrix.images.contents import BuildContents
from envmatrix.images.model import Image
from envmatrix.lock.cuda_in_image import ProbedImage
from envmatrix.lock.model import Artifact, ImageRequest, Lock, PackageSet, ReleaseRequest
from envmatrix.lock.requests import all_requests
from envmatrix.lock.resolution import Resolution, upgrade_rule
from envmatrix.lock.resolvers.apt import Apt
from envmatrix.lock.resolvers.dnf import PackageManager, Repositories
from envmatrix.lock.resolvers.nvidia import NvidiaApt, NvidiaDnf, NvidiaMirror
from envmatrix.lock.resolvers.pip import Pip
from envmatrix.lock.resolvers.protocol import BaseState
from envmatrix.lock.resolvers.redist import PLATFORMS, Redist
from envmatrix.lock.resolvers.registry import Services, resolvers_of
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.loading import load_matrix
from envmatrix.matrix.model import Matrix
from envmatrix.plan.actions import Inputs
from envmatrix.sessions.context import BUILD

MIRRORS = "http://mirror.example"
NVIDIA_MIRROR = f"{MIRRORS}/nvidia"

FLAVOURS = {
    "runtime": "flavour: runtime\ncomponents: [cudart]\npackages: [cmake]\n",
    "devel": """\
flavour: devel
extends: runtime
components: [nvcc, cccl]
packages: ["g++-{gcc}", ninja-build]
""",
    "cross": 'flavour: cross\nextends: devel\npackages: ["g++-{gcc}-{triplet}"]\n',
}

DEPENDS = {"?essential": ("base-files", "dash"), "cmake": ("libuv1",), "ninja-build": ("libuv1",)}


def digest(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def artifact(name: str, version: str = "1.0", *, origin: str = "debian", size: int = 4) -> Artifact:
    path = f"pool/{name}_{version}_amd64.deb"
    return Artifact(origin, path, name, version, size, digest(name, version))


def write_repository(root: Path, axes: str, rest: str = "") -> Path:
    """Write a repository whose matrix has `axes`, each axis a line such as `cuda: ["13.0"]`."""
    lines = "".join(f"  {line}\n" for line in axes.splitlines())
    (root / "envs").mkdir(parents=True)
    (root / "matrix.yaml").write_text(f'version: "1"\nsm: ["90"]\naxes:\n{lines}{rest}')
    for name, text in FLAVOURS.items():
        (root / f"envs/{name}.yaml").write_text(text)
    return root


def matrix_of(root: Path, axes: str, rest: str = "") -> Matrix:
    return load_matrix(write_repository(root, axes, rest))


def cell_of(matrix: Matrix, cell: str) -> Cell:
    return matrix.by_id[cell]


@dataclass(kw_only=True)
class Client:
    """As docker-py has its client: what it asks by `images` and by `api` is asked of this."""

    hooks: dict[str, list[object]] = field(default_factory=lambda: {"response": []})

    @property
    def api(self) -> Self:
        return self

    @property
    def images(self) -> Self:
        return self


# What a container does: it may write to the outputs of its task.
Program = Callable[[Task, OnOutput], TaskResult]

# Of Linux, for one argument.
_LONGEST_ARGUMENT = 131_071


@dataclass
class FakeExecutor:
    """Runs `program` where an engine runs a container, and rejects what that rejects: inputs that
    do not exist, two mounts in one place, words that no program can get."""

    program: Program = lambda _task, _on_output: TaskResult(0)
    tasks: list[Task] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    _submitted: dict[str, Task] = field(default_factory=dict)
    _results: dict[str, TaskResult] = field(default_factory=dict)

    def submit(self, key: str, task: Task) -> None:
        if key in self._submitted:
            return
        self.tasks.append(task)
        if reason := _rejection(task):
            raise EngineError(f"no container of `{task.image}` can be made: {reason}")
        for area in task.outputs:
            with area.opened():
                pass
        self._submitted[key] = task

    def watch(self, key: str) -> Iterator[Phase]:
        yield "running"
        self.logs(key, lambda _stream, _printed: None)
        yield "ended"

    def logs(self, key: str, on_output: OnOutput) -> None:
        if key not in self._results:
            self._results[key] = self.program(self._submitted[key], on_output)

    def collect(self, key: str) -> TaskResult:
        self.logs(key, lambda _stream, _printed: None)
        result = self._results.pop(key)
        task = self._submitted.pop(key)
        return result if task.keeps_stdout else replace(result, stdout="")

    def cancel(self, key: str) -> None:
        self.cancelled.append(key)
        self._submitted.pop(key, None)
        self._results.pop(key, None)

    def stop(self) -> None:
        self._submitted.clear()
        self._results.clear()


def _rejection(task: Task) -> str | None:
    targets = [mount.target for mount in task.mounts]
    if len(set(targets)) < len(targets):
        return "duplicate mount point"
    if not all(map(PurePosixPath.is_absolute, map(PurePosixPath, (*targets, task.directory)))):
        return "a path is not absolute"
    inputs = (mount.source for mount in task.mounts if isinstance(mount.source, Path))
    if missing := [source for source in inputs if not source.exists()]:
        return f"bind source path does not exist: {missing[0]}"
    words = [*task.command, *(f"{name}={value}" for name, value in task.environment.items())]
    if any("\0" in word or len(word.encode()) > _LONGEST_ARGUMENT for word in words):
        return "argument list too long, or a null byte"
    return None if task.command else "no command specified"


def build_directory(task: Task) -> Area:
    (area,) = (mount.source for mount in task.mounts if mount.target == BUILD)
    assert isinstance(area, Area)
    return area


@dataclass
class Archive:
    """What `apt-get` would say; every package exists, in the version that is asked for, else 1.0-1
    unless told otherwise, and is another file for each architecture unless it is `independent`."""

    versions: dict[str, str] = field(default_factory=dict)
    depends: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: DEPENDS)
    released: str = "Thu, 01 Jan 2026 00:00:00 UTC"
    independent: frozenset[str] = frozenset()
    commands: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, command: Sequence[str]) -> str:
        options = dict(
            command[place + 1].split("=", 1)
            for place, word in enumerate(command)
            if word == "-o" and "=" in command[place + 1]
        )
        after = [word for before, word in pairwise(command) if before != "-o"]
        verb, *rest = [word for word in after if not word.startswith("-")]
        if verb == "update":
            lists = Path(options["Dir::State::lists"])
            (lists / "archive_InRelease").write_text(f"Origin: Debian\nDate: {self.released}\n")
            return ""
        home = Path(options["Dir::State"])
        self.commands.append((home.name, verb, *rest))
        if verb == "source":
            files = (f"{rest[0]}_1.0{suffix}" for suffix in (".orig.tar.xz", "-1.dsc"))
            mirror = f"{MIRRORS}/debian/pool/main"
            rows = (f"'{mirror}/{name}' {name} 4 SHA256:{digest(name)}\n" for name in files)
            return "".join(rows)
        pinned = dict(name.split("=") for name in rest if "=" in name and not name.endswith("*"))
        names = {name.split("=")[0] for name in rest}
        if verb == "install":
            status = Path(options["Dir::State::status"]).read_text()
            names = self._closure(names) - {line.split(": ")[1] for line in status.splitlines()}
        versions = {name: pinned.get(name) or self.versions.get(name, "1.0-1") for name in names}
        return "".join(self._line(*each, home, options) for each in sorted(versions.items()))

    def _closure(self, names: set[str]) -> set[str]:
        needed = {
            f"{dependency}{colon}{arch}"
            for plain, colon, arch in (name.partition(":") for name in names)
            for dependency in self.depends.get(plain, ())
        } - names
        closure = names | (self._closure(names | needed) if needed else set())
        return {name for name in closure if not name.startswith("?")}

    def _line(self, name: str, version: str, home: Path, options: Mapping[str, str]) -> str:
        name, _, foreign = name.partition(":")
        own = foreign or options["APT::Architecture"]
        arch = "all" if name in self.independent else own
        file = f"{name}_{quote(version, safe='+~')}_{arch}.deb"
        lines = (home / "sources.list").read_text().splitlines()
        line = next((text for text in lines if f"arch={own} " in text), lines[0])
        mirror = line.partition("] ")[2].split()[0]
        path = f"pool/main/{name[0]}/{quote(file, safe='')}"
        sha256 = digest(name, version, f"{home.name.partition('-')[0]}-{arch}")
        return f"'{mirror}/{path}' {file} {len(name)} SHA256:{sha256}\n"


TOOLKIT = {
    "nvidia-cuda-cccl": "13.0.85",
    "nvidia-cuda-crt": "13.0.88",
    "nvidia-cuda-nvcc": "13.0.88",
    "nvidia-cuda-runtime": "13.0.96",
    "nvidia-nvvm": "13.0.88",
}


@dataclass
class Index:
    """What `pip install --report` would say of an index with one release of `cuda-toolkit`."""

    toolkit: Mapping[str, str] = field(default_factory=lambda: TOOLKIT)
    requirements: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, command: Sequence[str]) -> str:
        machine = "x86_64" if "manylinux2014_x86_64" in command else "aarch64"
        texts = command[command.index("--report") + 2 :]
        self.requirements.append(tuple(texts))
        return json.dumps({"install": [self._row(Requirement(text), machine) for text in texts]})

    def _row(self, requirement: Requirement, machine: str) -> dict[str, object]:
        version = str(requirement.specifier).removeprefix("==").replace("*", "0")
        parts = [f"{name}=={pinned}; extra == 'all'" for name, pinned in self.toolkit.items()]
        metadata = {"name": requirement.name, "version": version, "requires_dist": parts}
        hashes = {"sha256": digest(requirement.name, version, machine)}
        return {"metadata": metadata, "download_info": {"archive_info": {"hashes": hashes}}}

    def look_up(self, wheel: Artifact) -> tuple[str, int]:
        name = f"{wheel.name.replace('-', '_')}-{wheel.version}-py3-none-any.whl"
        return f"https://files.mirror.example/packages/{wheel.sha256[:2]}/{name}", len(name)

    def resolve(self, arch: str, *packages: str, release: str = "") -> tuple[Artifact, ...]:
        specs = tuple(map(PackageSpec.parse, packages))
        request = ReleaseRequest("pip", arch, specs, release)
        return Pip(self.run, self.look_up).resolve(request, None).artifacts


def manifest(version: str, *names: str, variant: str | None = None) -> dict[str, object]:
    """Return a manifest whose archives are for both architectures."""

    def entry(name: str, platform: str) -> object:
        path = f"{name}/{platform}/{name}-{platform}-{version}-archive.tar.xz"
        row = {"relative_path": path, "sha256": digest(path), "size": str(len(path))}
        return {variant: row} if variant else row

    platforms = PLATFORMS.values()
    rows = {name: {platform: entry(name, platform) for platform in platforms} for name in names}
    return {
        "release_label": version,
        **{name: {"version": version, **row} for name, row in rows.items()},
    }


UTILITIES = ("cuda_cuobjdump", "cuda_cuxxfilt", "cuda_nvdisasm", "cuda_nvprune")

NVIDIA: Mapping[str, Mapping[str, object]] = {
    "cuda": {
        "12.6.0": manifest("12.6.20", "cuda_nvcc", *UTILITIES, "cuda_cudart", "cuda_cccl"),
        "12.6.3": manifest("12.6.77", "cuda_nvcc", *UTILITIES, "cuda_cudart", "cuda_cccl"),
        "13.0.2": manifest(
            "13.0.88", "cuda_nvcc", *UTILITIES, "cuda_crt", "libnvvm", "cuda_cudart", "cuda_cccl"
        ),
    },
    "cudnn": {"9.10.2": manifest("9.10.2.21", "cudnn", variant="cuda12")},
}


@dataclass
class Nvidia:
    """A server of redistributable archives: product -> release -> manifest."""

    products: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: NVIDIA)

    def read(self, path: str) -> bytes:
        product, _, file = path.partition("/redist/")
        if product not in self.products:
            raise LookupFailed(f"`{path}` is nowhere to be had")
        manifests = {
            f"redistrib_{name}.json": content for name, content in self.products[product].items()
        }
        return json.dumps(manifests[file] if file else [*manifests]).encode()

    @property
    def redist(self) -> Redist:
        return Redist(self.read)


def with_cuda(
    cuda: str = "12.4.1",
    components: Sequence[str] = ("nvcc", "cudart", "cccl"),
    cudnn: tuple[int, ...] = (9, 10, 2),
    suite: str = "jammy",
) -> ProbedImage:
    """Return what an image of NVIDIA's says of itself; its libraries are of version 1.2.3."""
    patterns = [
        text
        for name in (*components, *(["cudnn"] if cudnn else ()))
        for text in markers()[name].files
    ]
    tree = [text.replace(".so.*", ".so.1.2.3").replace("*", "") for text in patterns]
    names = ("CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")
    return ProbedImage(
        os={"VERSION_CODENAME": suite, "PRETTY_NAME": f"The {suite}"},
        numbers=dict(zip(names, cudnn, strict=False)),
        cuda=cuda,
        paths=frozenset(f"/usr/local/cuda/{text.replace('lib/', 'lib64/')}" for text in tree),
    )


@dataclass
class FakeBackend:
    """A base is what its packages are: its layer is a hash of them, its status lists them.
    An official image holds libuv1 and nothing else, or `contents`."""

    directory: Path
    archive: Archive
    host_arch: str = "amd64"
    contents: ProbedImage = field(default_factory=with_cuda)
    bases: list[tuple[str, int]] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)

    def apt_of_host(self, suite: str, arch: str, *foreign: str) -> Apt:
        own, *others = (load_facts().archive(suite, name) for name in (arch, *foreign))
        mirror = f"{MIRRORS}/{own.origin}"
        beside = tuple((other, f"{MIRRORS}/{other.origin}") for other in others)
        directory = self.directory / "-".join((suite, arch, *foreign))
        apt = Apt(directory, own, mirror, self.archive.run, beside)
        if not apt.directory.exists():
            apt.update()
        return apt

    def manager_in_base(
        self,
        base: str,
        suite: str,
        arch: str,
        foreign: tuple[str, ...] = (),
        archives: tuple[SignedArchive, ...] = (),
    ) -> PackageManager:
        del archives
        self.homes.append(base)
        os = load_facts().of_suite(suite)
        if os.family.name == "deb":
            return self.apt_of_host(suite, arch, *foreign)
        origin = load_facts().archive(suite, arch).origin
        paths = (f"{suite}/{MACHINES[arch].rpm}",)
        return Rpms(Repositories(suite, origin, MIRRORS, paths, arch, str(os.releasever)))

    def rpm_manager_in_base(self, base: str, repositories: Repositories) -> PackageManager:
        self.homes.append(base)
        return Rpms(repositories)

    def release_time(self, suite: str, arch: str) -> int:
        if load_facts().of_suite(suite).family.name == "deb":
            return self.apt_of_host(suite, arch).release_time
        return 1767225600

    def base(self, key: str, package_set: PackageSet, epoch: int, helper: str | None) -> BaseState:
        assert helper in {None, *(name for name, _ in self.bases)}
        self.bases.append((key, epoch))
        if isinstance(package_set.request, ImageRequest):
            return BaseState(None, "Package: libuv1\n")
        names = [item.name for item in package_set.artifacts]
        layer = digest(str(epoch), *(item.sha256 for item in package_set.artifacts))
        return BaseState(f"sha256:{layer}", "".join(f"Package: {name}\n" for name in names))

    def contents_of(self, image: str, arch: str) -> ProbedImage:
        return self.contents


@dataclass(frozen=True)
class Rpms:
    """What a package manager of another family than deb would say: every package exists once, and
    bases hold `tar` and `xz`."""

    repositories: Repositories

    def closure(self, packages: Sequence[str], status: str) -> tuple[Artifact, ...]:
        needed = {dependency for name in packages for dependency in DEPENDS.get(name, ())}
        return tuple(sorted(map(self._rpm, {*packages, *needed} - {"tar", "xz"})))

    def exactly(self, packages: Sequence[str]) -> tuple[Artifact, ...]:
        return tuple(sorted(self._rpm(text.removesuffix(".*")) for text in packages))

    def _rpm(self, text: str) -> Artifact:
        repositories = self.repositories
        pinned = re.fullmatch(r"(.+?)-(\d+\.[\w.]+-1)", text)
        name, version = pinned.groups() if pinned else (text, "1.0-1")
        path = f"{repositories.paths[0]}/{name}-{version}.{MACHINES[repositories.arch].rpm}.rpm"
        return Artifact(repositories.origin, path, name, version, len(name), digest(path))


KEY = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"


class DnfWithAnyKey(NvidiaDnf):
    """NVIDIA's repositories, whose key is not looked at."""

    def _key(self, repository: NvidiaRepository, path: str) -> bytes:
        return self.mirror.read(path)


def nvidia_apt(directory: Path, archive: Archive, keyring: Path | None = None) -> NvidiaApt:
    """NVIDIA's repositories at the mirror of `archive`, each with a key."""
    return NvidiaApt(
        load_facts().nvidia_repositories,
        NvidiaMirror(NVIDIA_MIRROR, keyring, lambda _path: KEY),
        Nvidia().redist.versions,
        directory,
        archive.run,
    )


def services_of(backend: FakeBackend, index: Index | None = None) -> Services:
    """Return look-ups that know NVIDIA's archives and `index`, and of sources commits only."""
    index = index or Index()
    return Services(
        load_facts(),
        backend.directory,
        apt=backend.archive.run,
        pip=index.run,
        wheel=index.look_up,
        index=_nothing,
        archives=Nvidia().read,
        nvidia=NvidiaMirror(NVIDIA_MIRROR, None, lambda _path: KEY),
        commits=_commits,
        depot=_nothing,
        require=lambda _: None,
        measure=_nothing,
        unpack=_nothing,
    )


def resolution_of(backend: FakeBackend, services: Services | None = None) -> Resolution:
    facts = load_facts()
    dnf = DnfWithAnyKey(
        facts.nvidia_repositories,
        NvidiaMirror(NVIDIA_MIRROR, None, lambda _path: KEY),
        Nvidia().redist.versions,
        backend.directory,
    )
    resolvers = resolvers_of(services or services_of(backend))
    return Resolution({**resolvers, "nvidia-dnf": dnf.resolve}, backend, facts, Silent())


def _nothing(*_: object) -> NoReturn:
    raise LookupFailed("nothing is there")


def _commits(*revision: str) -> dict[str, str]:
    return {"commit": hashlib.sha1(repr(revision).encode(), usedforsecurity=False).hexdigest()}


@dataclass
class MemoryStorage:
    """Compiled objects in memory; `error` is raised instead of an answer."""

    contents: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    error: Exception | None = None

    def get(self, name: str) -> bytes | None:
        self._note(name)
        return self.contents.get(name)

    def put(self, name: str, content: bytes) -> None:
        self._note(name)
        self.contents[name] = content

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if self.error:
            raise self.error


class Silent:
    """A meter that shows nothing."""

    @contextmanager
    def task(self, name: str, *, total: int, unit: str) -> Iterator[Advance]:
        yield lambda _amount, _item="": None


def with_set(lock: Lock, key: str, package_set: PackageSet) -> Lock:
    return replace(lock, sets={**lock.sets, key: package_set})


def lock_of(
    matrix: Matrix,
    scratch: Path,
    *,
    archive: Archive | None = None,
    index: Index | None = None,
    previous: Lock | None = None,
    upgrade: Sequence[str] | None = None,
) -> Lock:
    """Return what `envmatrix lock` makes of `matrix` in the world of the fakes."""
    backend = FakeBackend(scratch, archive or Archive())
    requests = all_requests(matrix, shipped_recipes())
    resolution = resolution_of(backend, services_of(backend, index))
    return resolution.resolve(requests, previous, upgrade_rule(upgrade, previous))


def plain(node: Node) -> Any:
    """Return the value of a node without positions."""
    if isinstance(node.content, Mapping):
        return {key: plain(child) for key, child in node.content.items()}
    return [*map(plain, node.content)] if isinstance(node.content, tuple) else node.content


def inputs_of(
    image: Image, contents: BuildContents, files: Mapping[str, str] | None = None
) -> Inputs:
    """Return the inputs of an image, with generated files if there are any."""
    return Inputs(image, contents.fingerprint(image.arch), contents, files or {})
