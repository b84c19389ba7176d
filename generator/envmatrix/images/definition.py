"""The definition of an environment's images: its Dockerfile, of stages, and their scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from textwrap import wrap

from envmatrix.facts.systems import Compiler
from envmatrix.images.contents import BuildContents
from envmatrix.images.cross_images import Cross
from envmatrix.images.cuda_layers import Tree
from envmatrix.images.environments import (
    SHARED_STAGES,
    BaseStage,
    CompiledPython,
    Environment,
    FileStage,
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
    PYTHONS,
    compiler_variables,
    cross_variables,
    devel_variables,
    fortran_variables,
    python_variables,
    runtime_variables,
    target_runtime_variables,
)
from envmatrix.records import dataclass

_EPOCH = Argument("SOURCE_DATE_EPOCH")
_LABEL = "org.opencontainers.image"
# The most installations that are kept for other environments.
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
    """The stages of an environment, by name in the order of its Dockerfile, and the `titles` above
    some of them."""

    environment: Environment
    stages: Mapping[str, Stage]
    titles: Mapping[str, str]

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
            stages="".join(self._texts()),
        )

    @cached_property
    def images(self) -> Mapping[Image, BuildContents]:
        """The contents of all images."""
        images = self.environment.images
        return {image: self.contents(image.name, image.arch) for image in images}

    def contents(self, target: str, arch: str) -> BuildContents:
        """Return the contents of a stage for an architecture (Docker's name)."""
        closures = self._closures.setdefault(arch, {})
        stages = dependencies_of(self.stages, target, arch, closures)
        contents = {name: stage.contents for name, stage in stages.items()}
        return BuildContents(self.environment.epoch, contents)

    @cached_property
    def _closures(self) -> dict[str, dict[str, Mapping[str, Stage]]]:
        """The stages that those of images depend on, by architecture and name."""
        return {}

    def _texts(self) -> Iterator[str]:
        """Yield stages with empty lines between them, except between those without instructions."""
        follows_an_alias = True
        for name, stage in self.stages.items():
            is_alias, title = not stage.instructions, self.titles.get(name)
            space = "" if is_alias and follows_an_alias else "\n"
            yield f"{space}# {title}\n{stage.text}" if title else space + stage.text
            follows_an_alias = is_alias


def definition_of(environment: Environment) -> Definition:
    stages: dict[str, Stage] = {}
    titles: dict[str, str] = {}
    for title, of_section in _sections(environment):
        section = {stage.name: stage for stage in of_section}
        titles |= dict.fromkeys([*section][:1], title)
        stages |= section
    return Definition(environment, stages, titles)


def _sections(environment: Environment) -> Iterator[tuple[str, Iterable[Stage]]]:
    """Yield the stages of each section, with its title."""
    yield "Base images", map(_base, environment.bases)
    yield "Files of the lock", _downloads(environment)
    if environment.trees:
        yield "Unpackers of the build host", _unpackers(environment)
        yield "CUDA: one layer each", map(_tree, environment.trees)
    yield "Python: one layer each", _python_stages(environment)
    yield "Stages for the architecture of the image", _aliases(environment)
    yield "Packages of the operating system", _os_stages(environment)
    yield "Libraries of the driver to link with", _stub_stages(environment)
    if environment.arches:
        yield "Images", _native_images(environment)
    for cross in environment.crosses:
        yield f"Images for {cross.target.name}", _target_images(environment, cross)
    yield "Images with other compilers", _compiler_images(environment)
    yield "Images with other Pythons", _python_images(environment)
    yield "Images of libraries", _library_images(environment)


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
@lru_cache(SHARED_STAGES)
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


@lru_cache(SHARED_STAGES)
def _tree(tree: Tree) -> Stage:
    """Return the stage that assembles a tree, without emulation."""
    own = StepScript(tree.script, rendered("tree.j2", tree=tree), "cuda.sh")
    names = ["tree.sh", *(["nvcc.profile"] if tree.profile else [])]
    scripts = (own, *map(shared_script, names))
    run = RunStep("sh /scripts/cuda.sh", (BindMount(tree.files, "/files"),), scripts)
    return Stage(tree.stage, "unpack", (run,))


def _python_stages(environment: Environment) -> Iterator[Stage]:
    """Yield the stages that compile Python, on the build host alone."""
    installed: set[str] = set()
    for row in environment.compiled_pythons:
        if row.build not in installed:
            installed.add(row.build)
            step = _install_undivided(environment, row.files, row.foreign, row.links)
            epoch = () if row.is_crossed else (_EPOCH,)
            yield Stage(row.build, row.below, (*epoch, step))
        yield Stage(row.stage, row.build, (_compile_python(environment, row),))


def _compile_python(environment: Environment, python: CompiledPython) -> RunStep:
    """Return the step that compiles Python; for another machine, with the one for this machine."""
    mounts = [BindMount(python.source, "/files")]
    command = f"sh /scripts/python.sh {python.release}"
    if python.is_crossed:
        prefix = f"{PYTHONS}/{python.release}"
        source = f"{_directory(environment.epoch)}{prefix}"
        mounts.append(BindMount(python.native_stage, prefix, source))
        command += f" {python.target.triplet}"
    return RunStep(command, tuple(mounts), (shared_script("python.sh"),))


def _aliases(environment: Environment) -> Iterator[Stage]:
    """Yield the stages of the image's own architecture, without it in their names."""
    names = ["runtime-files", "devel-files"]
    names += [f"{name}-files" for name in environment.extensions]
    native = (row for row in environment.compilers if row.cross is None)
    names += dict.fromkeys(f"{row.packages}-files" for row in native)
    names += ["python-libraries"] if environment.pythons else []
    names += dict.fromkeys(f"python{row.release}" for row in environment.pythons)
    if environment.arches and environment.trees:
        names += ["cuda-runtime", "cuda-devel", "cuda-tools"]
        names += ["cuda-compat"] if environment.compat else []
        names += ["cudnn-runtime", "cudnn-devel"] if environment.cudnn else []
    yield from map(_alias, names)


@lru_cache(SHARED_STAGES)
def _alias(name: str) -> Stage:
    return Stage(name, f"{name}-${{TARGETARCH}}")


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


@lru_cache(SHARED_STAGES)
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
        yield from _extension(environment, name)


def _extension(
    environment: Environment, name: str, compilers: SecondCompilers | None = None
) -> Iterator[Stage]:
    """Yield the image of an optional flavour over `devel`, or over that with other compilers."""
    flavour, parent = name, "devel"
    if compilers:
        flavour, parent = compilers.extended(name), compilers.flavour
    installation = _installation(environment, f"{name}-files", parent)
    *below, image = _installed(flavour, installation)
    yield from below
    labels = _labels(environment, Image(environment.name, flavour, ""), compilers)
    yield replace(image, instructions=(*image.instructions, labels))


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
        values = compiler_variables(environment, row)
        configuration, variables = _configured(row, tuple(values.items()))
        labels = _labels(environment, Image(environment.name, row.flavour, ""), row)
        yield Stage(row.flavour, stage, (*configuration, labels, variables))
        for name in environment.extensions if cross is None else ():
            yield from _extension(environment, name, row)


# Environments share compilers with those before them.
@lru_cache(SHARED_STAGES)
def _configured(
    compilers: SecondCompilers, variables: tuple[tuple[str, str], ...]
) -> tuple[tuple[Instruction, ...], str]:
    """Return the instructions before and after the labels of an image with other compilers and
    their variables."""
    configuration = (_configure_clang(compilers),) if compilers.has_cuda_clang else ()
    return configuration, assignments("ENV", dict(variables))


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


def _python_images(environment: Environment) -> Iterator[Stage]:
    """Yield the images with a Python other than that of the operating system: the libraries that it
    is loaded with, and a layer of its own. Where it compiles for a target, it has the headers and
    the configuration of the target's."""
    source = _directory(environment.epoch)
    compilers = {row.flavour: row for row in environment.compilers}
    for row in environment.pythons:
        libraries = _install_undivided(environment, "python-libraries")
        copies = [Copy(f"python{row.release}", f"{source}/", is_linked=True)]
        if row.cross:
            own = f"python{row.release}-{row.cross.target.machine}"
            copies.append(Copy(own, f"{source}-development/", is_linked=True))
        image = Image(environment.name, row.flavour, "")
        labels = _labels(environment, image, compilers.get(row.base), row.release)
        variables = assignments("ENV", python_variables(row))
        yield Stage(row.flavour, row.base, (libraries, *copies, labels, variables))


def _library_images(environment: Environment) -> Iterator[Stage]:
    """Yield the images with the system packages of libraries, each of one layer more."""
    by_name = {row.image.name: row for row in environment.library_images}
    compilers = {
        flavour: row
        for row in environment.compilers
        for flavour in (row.flavour, *map(row.extended, environment.extensions))
    }
    pythons = {row.flavour: row for row in environment.pythons}
    crosses = {row.name: row for row in environment.crosses}
    crosses |= {row.flavour: row.cross for row in environment.compilers if row.cross}
    crosses |= {row.flavour: crosses[row.base] for row in environment.pythons if row.cross}
    for name, row in by_name.items():
        files = f"packages-{name}"
        yield Stage(files, f"files-{name}-${{TARGETARCH}}")
        step = _install_undivided(environment, files, row.foreign)
        fortran = fortran_variables(environment, row.files, crosses.get(row.image.flavour))
        variables = (assignments("ENV", fortran),) if fortran else ()
        python = pythons.get(row.image.flavour)
        of_base = compilers.get(python.base if python else row.image.flavour)
        labels = _labels(environment, row.image, of_base, python.release if python else None)
        yield Stage(name, row.image.flavour, (step, labels, *variables))


def _install_undivided(
    environment: Environment,
    files: str,
    foreign: Sequence[str] = (),
    links: Iterable[tuple[str, str]] = (),
) -> RunStep:
    """Return the step that installs packages in one layer, after adding the foreign architectures
    among them."""
    options = ["--over-image"] if environment.is_on_image else []
    words = (f"{name}={program}" for name, program in links)
    lines = [f"dpkg --add-architecture {arch}" for arch in foreign]
    lines.append(" ".join(("sh /scripts/install.sh", *options, *words)))
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


def _labels(
    environment: Environment,
    image: Image,
    compilers: SecondCompilers | None = None,
    python: str | None = None,
) -> str:
    """Return the labels of an image of any architecture, with `compilers` and a release of Python
    other than the default ones."""
    purpose = _PURPOSES[image.flavour.partition("-")[0]]
    others = f", {compilers.title}" if compilers else ""
    others += f", Python {python}" if python else ""
    library = f", for the library {image.library}" if image.library else ""
    values = {
        "title": f"{environment.name}:{image.name}",
        "description": f"{purpose} with {environment.summary}{others}{library}",
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
