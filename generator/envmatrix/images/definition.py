"""The definition of an environment's images: its Dockerfile, of stages, and their scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from textwrap import wrap

from envmatrix.facts.systems import Compiler
from envmatrix.images.contents import BuildContents
from envmatrix.images.cross_images import Cross
from envmatrix.images.cuda_layers import Tree
from envmatrix.images.environments import (
    BaseStage,
    Environment,
    FileStage,
    LibraryImage,
    SecondCompilers,
)
from envmatrix.images.model import SCRIPTS, Image
from envmatrix.images.scripts import (
    omitted_files,
    rendered,
    shared_script,
    toolchain_files,
)
from envmatrix.images.stages import (
    Add,
    Argument,
    BindMount,
    Copy,
    Instruction,
    RunStep,
    Stage,
    StepScript,
    assignments,
    dependencies_of,
    mirror_argument,
)
from envmatrix.images.variables import (
    compiler_variables,
    cross_variables,
    devel_variables,
    runtime_variables,
    target_runtime_variables,
)
from envmatrix.records import dataclass

_EPOCH = Argument("SOURCE_DATE_EPOCH")
_LABEL = "org.opencontainers.image"
# The most stages that are kept for other environments; one has about ten of each kind.
_SHARED = 128
_SHARED_INSTALLATIONS = 512

# The most characters of names of packages in a line.
_NAMES_LINE = 100

# What images are for, by the first word of their flavours.
_PURPOSES = {
    "runtime": "Runs programs compiled",
    "devel": "Compiles programs",
    "cross": "Cross-compiles programs",
    "analysis": "Analyses programs compiled",
    "dev": "Develops and debugs programs",
}


@dataclass(frozen=True)
class Definition:
    """The stages of an environment, by name in the order of its Dockerfile."""

    environment: Environment
    stages: Mapping[str, Stage]

    @property
    def scripts(self) -> Mapping[str, str]:
        """The texts of the scripts by name."""
        scripts = (script for stage in self.stages.values() for script in stage.scripts)
        return {script.name: script.text for script in scripts}

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The Dockerfile and the scripts by their paths in the build context."""
        scripts = {f"{SCRIPTS}/{name}": text for name, text in self.scripts.items()}
        return {f"{self.environment.name}/Dockerfile": self.dockerfile, **scripts}

    @property
    def dockerfile(self) -> str:
        platforms: dict[str, list[str]] = {}
        for image in self.environment.images:
            platforms.setdefault(image.name, []).append(image.platform)
        return rendered(
            "Dockerfile.j2",
            environment=self.environment,
            mirrors=_mirror_arguments(self.environment),
            targets=platforms,
            stages="".join(_texts(self.stages.values())),
        )

    @cached_property
    def images(self) -> Mapping[Image, BuildContents]:
        """The contents of all images."""
        images = self.environment.images
        return {image: self.contents(image.name, image.arch) for image in images}

    def contents(self, target: str, arch: str) -> BuildContents:
        """Return the contents of a stage for an architecture (Docker's name)."""
        stages = dependencies_of(self.stages, target, arch)
        contents = {name: stage.contents for name, stage in stages.items()}
        return BuildContents(self.environment.epoch, contents)


def _texts(stages: Iterable[Stage]) -> Iterator[str]:
    """Yield stages with empty lines between them, except between those without instructions."""
    follows_an_alias = True
    for stage in stages:
        is_alias = not stage.instructions
        yield "" if is_alias and follows_an_alias else "\n"
        yield f"# {stage.comment}\n" if stage.comment else ""
        yield stage.text
        follows_an_alias = is_alias


def definition_of(environment: Environment) -> Definition:
    return Definition(environment, {stage.name: stage for stage in _stages(environment)})


def _stages(environment: Environment) -> Iterator[Stage]:
    yield from _section("Base images", map(_base, environment.bases))
    yield from _section("Files of the lock", _downloads(environment))
    if environment.trees:
        yield from _section("Unpackers of the build host", _unpackers(environment))
        yield from _section("CUDA: one layer each", map(_tree, environment.trees))
    yield from _section("Stages for the architecture of the image", _aliases(environment))
    yield from _section("Packages of the operating system", _os_stages(environment))
    yield from _section("Libraries of the driver to link with", _stub_stages(environment))
    if environment.arches:
        yield from _section("Images", _native_images(environment))
    for cross in environment.crosses:
        title = f"Images for {cross.target.name}"
        yield from _section(title, _target_images(environment, cross))
    yield from _section("Images with other compilers", _compiler_images(environment))
    yield from _section("Images of libraries", _library_images(environment))


def _section(comment: str, stages: Iterable[Stage]) -> Iterator[Stage]:
    """Yield the stages, with a comment above the first."""
    for number, stage in enumerate(stages):
        yield stage if number else replace(stage, comment=comment)


def _base(base: BaseStage) -> Stage:
    name, _, digest = base.image.partition("@")
    values = {"name": name, **({"digest": digest} if digest else {})}
    labels = assignments("LABEL", {f"{_LABEL}.base.{key}": value for key, value in values.items()})
    return Stage(base.stage, base.image, (labels,), platform=f"linux/{base.arch}")


def _downloads(environment: Environment) -> Iterator[Stage]:
    """Yield the stages of files; stages have the arguments of the stage that they begin with."""
    yield Stage("files", "scratch", tuple(map(Argument, _mirror_arguments(environment))))
    for stage in environment.files:
        yield from _file_stages(stage)


def _mirror_arguments(environment: Environment) -> list[str]:
    """Return the build arguments for mirrors of the environment's files, sorted."""
    origins = {item.origin for stage in environment.files for item in stage.artifacts}
    return sorted(map(mirror_argument, origins))


# Environments share most file stages and trees with those before them.
@lru_cache(_SHARED)
def _file_stages(stage: FileStage) -> tuple[Stage, ...]:
    parts = [tuple(map(Add, group)) for group in stage.groups]
    names = stage.parts
    if not names:
        return (Stage(stage.stage, "files", parts[0] if parts else ()),)
    stages = (Stage(name, "files", part) for name, part in zip(names, parts, strict=True))
    return (*stages, Stage(stage.stage, "scratch", tuple(map(Copy, names))))


def _unpackers(environment: Environment) -> Iterator[Stage]:
    yield Stage("unpacker-files", "unpacker-files-${BUILDARCH}")
    unpack = shared_script(f"unpack.{environment.installer}.sh", "unpack.sh")
    run = RunStep("sh /scripts/unpack.sh", (BindMount("unpacker-files", "/files"),), (unpack,))
    root = f"ARG CUDA_ROOT={environment.trees[0].root}"
    yield Stage("unpack", "base-${BUILDARCH}", (_EPOCH, root, run))


@lru_cache(_SHARED)
def _tree(tree: Tree) -> Stage:
    """Return the stage that assembles a tree, without emulation."""
    own = StepScript(tree.script, rendered("tree.j2", tree=tree), "cuda.sh")
    names = ["tree.sh", *(["nvcc.profile"] if tree.profile else [])]
    scripts = (own, *map(shared_script, names))
    run = RunStep("sh /scripts/cuda.sh", (BindMount(tree.files, "/files"),), scripts)
    return Stage(tree.stage, "unpack", (run,))


def _aliases(environment: Environment) -> Iterator[Stage]:
    """Yield the stages of the image's own architecture, without it in their names."""
    names = ["runtime-files", "devel-files"]
    names += [f"{name}-files" for name in environment.extensions]
    native = (row for row in environment.compilers if row.cross is None)
    names += dict.fromkeys(f"{row.packages}-files" for row in native)
    if environment.arches and environment.trees:
        names += ["cuda-runtime", "cuda-devel", "cuda-tools"]
        names += ["cuda-compat"] if environment.compat else []
        names += ["cudnn-runtime", "cudnn-devel"] if environment.cudnn else []
    yield from (Stage(name, f"{name}-${{TARGETARCH}}") for name in names)


def _os_stages(environment: Environment) -> Iterator[Stage]:
    """Yield the stages that install packages: each flavour over the one that it extends."""
    version = assignments("LABEL", {f"{_LABEL}.version": environment.cuda})
    start = ("ENTRYPOINT []", 'CMD ["/bin/bash"]') if environment.is_on_image else ()
    runtime = _installation(environment, "runtime-files", "base-${TARGETARCH}")
    yield from _installed("runtime-os", runtime, (version, *start))
    links = _links(environment.compiler)
    devel = _installation(environment, "devel-files", "runtime-os", links)
    yield from _installed("devel-os", devel)
    for cross in environment.crosses:
        files = f"{cross.name}-files-{cross.host}" if cross.has_packages else ""
        installation = _installation(environment, files, "devel-os", cross.links, cross)
        yield from _installed(f"{cross.name}-os", installation)


def _links(compiler: Compiler) -> Mapping[str, str]:
    """Return the usual names of compilers with their programs, without those that have the usual
    name."""
    names = {"cc": compiler.cc, "gcc": compiler.cc, "c++": compiler.cxx, "g++": compiler.cxx}
    return {name: program for name, program in names.items() if name != program}


@dataclass(frozen=True, slots=True)
class Installer:
    """What installs packages, the same for all environments of an operating system."""

    kind: str
    is_on_image: bool
    has_layers: bool
    omitted_paths: tuple[str, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class Installation:
    """The installation of the packages in the stage `files`, if any, over the stage `parent`, with
    links to programs by their names, and the configuration of build systems for a target.
    `large_packages` have layers of their own."""

    installer: Installer
    files: str
    parent: str
    links: tuple[tuple[str, str], ...] = ()
    cross: Cross | None = None
    large_packages: tuple[str, ...] = ()

    @property
    def is_divided(self) -> bool:
        """Return whether installed packages are divided into layers."""
        return bool(self.files) and self.installer.has_layers


def _installer_of(environment: Environment) -> Installer:
    return Installer(
        environment.installer,
        environment.is_on_image,
        environment.has_package_layers,
        environment.omitted_paths,
        environment.epoch,
    )


def _installation(
    environment: Environment,
    files: str,
    parent: str,
    links: Mapping[str, str] | None = None,
    cross: Cross | None = None,
) -> Installation:
    installer = _installer_of(environment)
    is_divided = bool(files) and installer.has_layers
    large = environment.large_packages(files) if is_divided else ()
    return Installation(installer, files, parent, tuple((links or {}).items()), cross, large)


# Environments share most installations, and contents of stages, with those before them.
@lru_cache(_SHARED_INSTALLATIONS)
def _installed(
    name: str, installation: Installation, instructions: tuple[Instruction, ...] = ()
) -> tuple[Stage, ...]:
    """Return a stage with packages installed, and instructions after that.

    Packages of the family deb are installed in a stage before it, which divides them into layers:
    one for each large package, one for the others, and one for what is of no package.
    """
    step, epoch = _install(installation), (_EPOCH,) if name == "runtime-os" else ()
    if not installation.is_divided:
        return (Stage(name, installation.parent, (*epoch, step, *instructions)),)
    packages, installer = f"{name.removesuffix('-os')}-packages", installation.installer
    source = "/layers"
    layers = (*installation.large_packages, "others")
    copies = (
        Copy(packages, f"{source}/{layer}-{installer.epoch}/", is_linked=True) for layer in layers
    )
    mount = BindMount(packages, "/layers", source)
    script = shared_script(f"complete.{installer.kind}.sh", "complete.sh")
    complete = RunStep("sh /scripts/complete.sh", (mount,), (script,))
    return (
        Stage(packages, installation.parent, (*epoch, step)),
        Stage(name, installation.parent, (*epoch, *copies, complete, *instructions)),
    )


def _install(installation: Installation) -> RunStep:
    """Return the step that installs packages."""
    files, cross, is_divided = installation.files, installation.cross, installation.is_divided
    options = ["--over-image"] if installation.installer.is_on_image else []
    links = (f"{name}={program}" for name, program in installation.links)
    command = " \\\n      ".join(["sh /scripts/install.sh", *options, *links]) if files else ""
    scripts = [*_installers(installation.installer, is_divided=is_divided)] if files else []
    scripts += [*toolchain_files(cross)] if cross else []
    scripts += [shared_script("emulated.ini")] if cross and cross.target.triplet else []
    mounts = (BindMount(files, "/files"),) if files else ()
    names = " ".join(installation.large_packages)
    lines = wrap(names, _NAMES_LINE, break_on_hyphens=False) if is_divided else None
    is_single = lines is None and cross is None
    program = rendered("packages.j2", cross=cross, install=command, lines=lines)
    return RunStep(command if is_single else program, mounts, tuple(scripts))


def _installers(installer: Installer, *, is_divided: bool) -> Iterator[StepScript]:
    """Yield the scripts that install packages, and divide them into layers."""
    yield shared_script(f"install.{installer.kind}.sh", "install.sh")
    if is_divided:
        yield shared_script(f"layers.{installer.kind}.sh", "layers.sh")
    if installer.has_layers:
        yield omitted_files(installer.omitted_paths)


def _stub_stages(environment: Environment) -> Iterator[Stage]:
    """Yield the stages that make libraries of the driver to link with: where programs run, they
    come with the driver."""
    rows = [(arch, arch, "devel-os", environment.compiler.cc) for arch in environment.arches]
    rows += [
        (cross.name, cross.target.key, f"{cross.name}-os", cross.c) for cross in environment.crosses
    ]
    for name, key, parent, compiler in rows:
        if tree := environment.stub_trees.get(key):
            run = _make_stubs(tree, environment.epoch, compiler)
            root = f"ARG CUDA_ROOT={tree.root}"
            yield Stage(f"cuda-stubs-{name}", parent, (root, run))
    if environment.has_native_stubs:
        yield Stage("cuda-stubs", "cuda-stubs-${TARGETARCH}")


def _make_stubs(tree: Tree, epoch: int, compiler: str) -> RunStep:
    text = rendered("stubs.j2", tree=tree)
    own = StepScript(tree.script.replace("-devel-", "-stubs-"), text, "cuda.sh")
    headers = BindMount(tree.stage, "/cuda", f"{_directory(epoch)}{tree.root}")
    scripts = (own, shared_script("stubs.sh"), shared_script("tree.sh"))
    return RunStep(f"sh /scripts/cuda.sh {compiler}", (headers,), scripts)


def _directory(epoch: int) -> str:
    """Return the directory of a tree in its stage, as tree.sh names it."""
    return f"/tree-{epoch}"


def _native_images(environment: Environment) -> Iterator[Stage]:
    stubs = ["cuda-stubs"] if environment.has_native_stubs else []
    devel = (*_devel_trees(environment), *stubs)
    runtime = _runtime_trees(environment)
    steps = _image(environment, "runtime", runtime, runtime_variables(environment))
    yield Stage("runtime", "runtime-os", steps)
    steps = _image(environment, "devel", devel, devel_variables(environment))
    yield Stage("devel", "devel-os", steps)
    for name in environment.extensions:
        installation = _installation(environment, f"{name}-files", "devel")
        labels = _labels(environment, Image(environment.name, name, ""))
        yield from _installed(name, installation, (labels,))


def _target_images(environment: Environment, cross: Cross) -> Iterator[Stage]:
    """Yield the images that compile for a target, and run its programs."""
    target, key, runtime = cross.target, cross.target.key, cross.runtime
    devel = _devel_trees(environment) if target.cuda else ()
    trees = [f"{tree}-{key}" for tree in devel[:-1]]
    trees += [cross.tools] if devel else []
    trees += [f"cuda-stubs-{cross.name}"] if key in environment.stub_trees else []
    steps = _image(environment, cross.name, trees, cross_variables(environment, cross))
    yield Stage(cross.name, f"{cross.name}-os", steps)
    if runtime:
        trees = [f"{tree}-{key}" for tree in _runtime_trees(environment) if target.cuda]
        steps = _image(environment, runtime, trees, target_runtime_variables(environment, cross))
        if target.packages.get("runtime"):
            files = f"{runtime}-files-{target.machine}"
            emulator = _installation(environment, files, "runtime-os")
            yield from _installed(runtime, emulator, steps)
        else:
            yield Stage(runtime, "runtime-os", steps)


def _compiler_images(environment: Environment) -> Iterator[Stage]:
    """Yield the images with compilers other than the default ones: their packages over another
    image, once for each host compiler."""
    installed: set[str] = set()
    for row in environment.compilers:
        stage, cross = f"{row.packages}-os", row.cross
        if stage not in installed:
            installed.add(stage)
            files = f"{row.packages}-files" + (f"-{cross.host}" if cross else "")
            # The architectures of its packages were added below it.
            own = replace(cross, foreign=(), cuda_clang=False) if cross else None
            links = cross.links if cross else _compiler_links(row)
            yield from _installed(stage, _installation(environment, files, row.base, links, own))
        steps: list[Instruction] = [_configure_clang(row)] if row.has_cuda_clang else []
        variables = assignments("ENV", compiler_variables(row))
        yield Stage(
            row.flavour,
            stage,
            (*steps, _labels(environment, Image(environment.name, row.flavour, "")), variables),
        )


def _compiler_links(compilers: SecondCompilers) -> Mapping[str, str]:
    """Return the usual names of compilers that mean another one: those of GCC remain with GCC."""
    links = _links(compilers.compiler)
    if compilers.host.kind == "gcc":
        return links
    of_clang = {"cc": "clang", "c++": "clang++", "clang": "clang", "clang++": "clang++"}
    return {name: f"{program}-{compilers.host.major}" for name, program in of_clang.items()}


def _configure_clang(compilers: SecondCompilers) -> RunStep:
    """Return the step that has Clang compile CUDA: a header that it includes also where the
    component is not installed, and the configuration of build systems for a target."""
    cross = compilers.cross
    scripts = [shared_script("curand_mtgp32_kernel.h"), *(toolchain_files(cross) if cross else ())]
    return RunStep(rendered("clang.j2", cross=cross), (), tuple(scripts))


def _library_images(environment: Environment) -> Iterator[Stage]:
    """Yield the images with the system packages of libraries, each of one layer more."""
    by_name = {row.image.name: row for row in environment.library_images}
    for name, row in by_name.items():
        files = f"packages-{name}"
        yield Stage(files, f"files-{name}-${{TARGETARCH}}")
        step = _install_for_library(environment, row, files)
        yield Stage(name, row.image.flavour, (step, _labels(environment, row.image)))


def _install_for_library(environment: Environment, row: LibraryImage, files: str) -> RunStep:
    options = ["--over-image"] if environment.is_on_image else []
    lines = [f"dpkg --add-architecture {arch}" for arch in row.foreign]
    lines.append(" ".join(("sh /scripts/install.sh", *options)))
    program = lines[0] if len(lines) == 1 else "".join(f"{line}\n" for line in ("set -eu", *lines))
    scripts = tuple(_installers(_installer_of(environment), is_divided=False))
    return RunStep(program, (BindMount(files, "/files"),), scripts)


def _image(
    environment: Environment, flavour: str, trees: Iterable[str], variables: Mapping[str, str]
) -> tuple[Instruction, ...]:
    """Return the instructions that add trees, labels and variables."""
    source = f"{_directory(environment.epoch)}/"
    copies = (Copy(tree, source, is_linked=True) for tree in trees)
    image = Image(environment.name, flavour, "")
    return (*copies, _labels(environment, image), assignments("ENV", variables))


def _labels(environment: Environment, image: Image) -> str:
    """Return the labels of an image of any architecture."""
    purpose = _PURPOSES[image.flavour.partition("-")[0]]
    rows = (row for row in environment.compilers if row.flavour == image.flavour)
    compilers = "".join(f", {row.title}" for row in rows)
    library = f", for the library {image.library}" if image.library else ""
    values = {
        "title": f"{environment.name}:{image.name}",
        "description": f"{purpose} with {environment.summary}{compilers}{library}",
    }
    return assignments("LABEL", {f"{_LABEL}.{name}": text for name, text in values.items()})


def _runtime_trees(environment: Environment) -> tuple[str, ...]:
    """Return the trees of runtime images, those that change least first; none if their base has
    CUDA."""
    if not environment.trees:
        return ()
    cudnn = ("cudnn-runtime",) if environment.cudnn else ()
    compat = ("cuda-compat",) if environment.compat else ()
    return ("cuda-runtime", *cudnn, *compat)


def _devel_trees(environment: Environment) -> tuple[str, ...]:
    """Return the trees of devel images, like those of runtime images; the last one are tools."""
    if not environment.trees:
        return ()
    cudnn = ("cudnn-runtime", "cudnn-devel") if environment.cudnn else ()
    return ("cuda-runtime", *cudnn, "cuda-devel", "cuda-tools")
