"""What is done with a wheel that a build made, so that it can be published, and what must not be
wrong with it, before that and after. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envmatrix.errors import EnvmatrixError
from envmatrix.facts.targets import MACHINES, Target
from envmatrix.matrix.cells import Cell
from envmatrix.matrix.library import PLATFORMS, PublishableWheels, platform_minor
from envmatrix.records import dataclass
from envmatrix.sessions.wheels.contents import MachineCode, WheelContents, glibc_minor
from envmatrix.sessions.wheels.providers import TOOLKIT, Provider, is_of_cuda, provider_of
from envmatrix.text import one_line

# The older names of platforms, which auditwheel adds. https://peps.python.org/pep-0600/
_OLDER_NAMES = {
    "manylinux1": "manylinux_2_5",
    "manylinux2010": "manylinux_2_12",
    "manylinux2014": "manylinux_2_17",
}
# The end of the name of an extension: `.cpython-313t-x86_64-linux-gnu.so`, for one Python and
# machine. https://peps.python.org/pep-3149/
_EXTENSION = re.compile(r"\.cpython-(?P<python>\d+t?)d?(?:-(?P<machine>\w+?)-linux-gnu)?\.so$")


@dataclass(frozen=True, slots=True)
class Repair:
    """The repair of a wheel: the `platform` of its tags; the libraries that are `excluded`, as
    projects in `directories` beside its packages have them, and the `requirements` to add. The
    libraries of `machine`, its name for uname, are in `search`."""

    platform: str
    machine: str
    search: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    directories: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WheelSettings:
    """How the wheels of a cell with a minor version of `glibc` 2 are made fit to publish."""

    cell: Cell
    target: Target
    glibc: int
    wheels: PublishableWheels

    @property
    def platform(self) -> str:
        """The platform without the machine: as asked for, or the newest of the cell's glibc."""
        if self.wheels.platform != "manylinux":
            return self.wheels.platform
        suitable = [name for name in PLATFORMS if platform_minor(name) <= self.glibc]
        return suitable[-1] if suitable else PLATFORMS[0]

    @property
    def machine(self) -> str:
        return MACHINES[str(self.target.machine)].wheel

    def providers(self, libraries: Iterable[str]) -> Mapping[str, Provider]:
        """Return what provides libraries at run time, where something does."""
        rows = ((name, provider_of(name, self.cell, self.wheels)) for name in libraries)
        return {name: provider for name, provider in rows if provider}


def plan_repair(wheel: WheelContents, settings: WheelSettings) -> Repair:
    """Return the repair of a wheel with machine code; raise all that is wrong with the wheel and
    cannot be repaired."""
    providers = settings.providers(wheel.external)
    missing = _missing(wheel, settings, providers)
    if settings.wheels.requirements == "added":
        added = _joined(provider.requirement for provider in missing.values())
        missing = {}
    else:
        added = ()
    _raise(
        wheel,
        (
            *_foreign(wheel, settings),
            *_unprovided(wheel, providers),
            *_too_new(wheel, settings),
            *_lacking(missing),
        ),
    )
    return Repair(
        f"{settings.platform}_{settings.machine}",
        settings.machine,
        _search_path(settings.target),
        tuple(sorted(providers)),
        {name: row.directory for name, row in sorted(providers.items()) if row.directory},
        added,
    )


def check_published(wheel: WheelContents, settings: WheelSettings) -> None:
    """Raise what is wrong with a wheel after its repair: it is not what was asked for, or the
    library's own build changed it meanwhile."""
    providers = settings.providers(wheel.external)
    missing = _missing(wheel, settings, providers)
    _raise(
        wheel,
        (
            *_foreign(wheel, settings),
            *_wrong_tags(wheel, settings),
            *_too_new(wheel, settings),
            *_lacking(missing),
        ),
    )


def _raise(wheel: WheelContents, errors: Sequence[EnvmatrixError]) -> None:
    """Raise one error with all of some, if there are any."""
    if errors:
        prefix = f"`{one_line(wheel.name)}` cannot be published: "
        raised = EnvmatrixError("; ".join(f"{prefix}{error.message}" for error in errors))
        problems = (problem for error in errors for problem in error.problems)
        raised.problems = tuple(
            replace(problem, message=f"{prefix}{problem.message}") for problem in problems
        )
        raise raised


def _foreign(wheel: WheelContents, settings: WheelSettings) -> Iterator[EnvmatrixError]:
    """Yield machine code that is not what the tags of a wheel say."""
    for code in wheel.code:
        path = one_line(code.path)
        if code.machine not in (None, settings.target.binary):
            yield EnvmatrixError(
                f"`{path}` is for {code.machine}, the cell for {settings.target.binary}",
                hint="a build for another machine left it, or the source has it",
            )
        elif complaint := _extension_complaint(code, wheel, settings):
            yield EnvmatrixError(
                f"`{path}` {complaint}", hint="the tags must be those of what it has"
            )


def _extension_complaint(
    code: MachineCode, wheel: WheelContents, settings: WheelSettings
) -> str | None:
    """Return why an extension cannot be imported where the tags of its wheel say."""
    abis = {tag.abi for tag in wheel.named}
    if code.name.endswith(".abi3.so"):
        is_stable = "abi3" in abis or all(abi.startswith("cp") for abi in abis)
        return None if is_stable else f"needs CPython, the wheel is tagged {_join(abis)}"
    match = _EXTENSION.search(code.name)
    if match is None:
        return None
    if match["machine"] not in (None, settings.machine):
        return f"is named for {match['machine']}, the wheel is for {settings.machine}"
    abi = f"cp{match['python']}"
    return None if abis == {abi} else f"is for `{abi}`, the wheel is tagged {_join(abis)}"


def _wrong_tags(wheel: WheelContents, settings: WheelSettings) -> Iterator[EnvmatrixError]:
    hint = "the log of its repair tells what auditwheel did"
    if wheel.named != wheel.tags:
        yield EnvmatrixError("the tags in its name are not those in its `WHEEL`", hint=hint)
    if not wheel.is_of_platform:
        return
    requested = platform_minor(settings.platform)
    for platform in sorted({tag.platform for tag in wheel.named}):
        name, _, _ = platform.rpartition(f"_{settings.machine}")
        minor, tag = platform_minor(_OLDER_NAMES.get(name, name)), one_line(platform)
        if not 0 < minor <= requested:
            asked_for = f"{settings.platform}_{settings.machine}"
            yield EnvmatrixError(f"it is tagged `{tag}`, not `{asked_for}`", hint=hint)
        elif wheel.glibc > minor:
            needs = f"needs glibc 2.{wheel.glibc}"
            yield EnvmatrixError(f"it is tagged `{tag}`, and {needs}", hint=hint)


def _too_new(wheel: WheelContents, settings: WheelSettings) -> Iterator[EnvmatrixError]:
    """Yield the newest glibc that a wheel needs, if the platform has none that new."""
    if wheel.glibc <= platform_minor(settings.platform):
        return
    needing = next(
        code.path for code in wheel.code if wheel.glibc in map(glibc_minor, code.linking.versions)
    )
    suitable = [name for name in PLATFORMS if platform_minor(name) >= wheel.glibc]
    other = f", or ask for `platform: {suitable[0]}`" if suitable else ""
    yield EnvmatrixError(
        f"`{one_line(needing)}` needs glibc 2.{wheel.glibc}, newer than `{settings.platform}` has",
        hint=f"compile it in a cell with an older operating system{other}",
    )


def _unprovided(
    wheel: WheelContents, providers: Mapping[str, Provider]
) -> Iterator[EnvmatrixError]:
    """Yield libraries of CUDA that no project of the index is known to have."""
    for name in wheel.external:
        if name not in providers and is_of_cuda(name):
            text = one_line(name)
            yield EnvmatrixError(
                f"it is loaded with `{text}`, and it is not known which project has that",
                hint=f"name the project: `wheels: {{provided: {{project: ['{text}']}}}}`",
            )


def _missing(
    wheel: WheelContents, settings: WheelSettings, providers: Mapping[str, Provider]
) -> Mapping[str, Provider]:
    """Return the libraries of other projects that a wheel does not require."""
    environment = _environment(wheel, settings)
    required = [each for each in wheel.requirements if _applies(each, environment)]
    projects = {canonicalize_name(requirement.name) for requirement in required}
    extras = _toolkit_extras(required)
    return {
        library: provider
        for library, provider in providers.items()
        if provider.project
        and provider.project not in projects
        and not (provider.extra and {provider.extra, "all"} & extras)
    }


def _environment(wheel: WheelContents, settings: WheelSettings) -> Mapping[str, str]:
    """Return the values of markers where a wheel is installed without extras."""
    versions = [re.fullmatch(r"cp(\d)(\d+)", tag.interpreter) for tag in wheel.named]
    pythons = [f"{version[1]}.{version[2]}" for version in versions if version]
    return {
        "extra": "",
        "os_name": "posix",
        "platform_machine": settings.machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        **({"python_version": pythons[0]} if pythons else {}),
    }


def _applies(requirement: Requirement, environment: Mapping[str, str]) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate(environment)
    except (UndefinedComparison, UndefinedEnvironmentName):
        return False


def _toolkit_extras(requirements: Iterable[Requirement]) -> set[str]:
    return {
        extra
        for requirement in requirements
        if canonicalize_name(requirement.name) == TOOLKIT
        for extra in requirement.extras
    }


def _lacking(missing: Mapping[str, Provider]) -> Iterator[EnvmatrixError]:
    """Yield what a wheel is loaded with and does not require."""
    by_project: dict[str, list[str]] = {}
    for library, provider in sorted(missing.items()):
        by_project.setdefault(provider.project, []).append(library)
    for project, libraries in by_project.items():
        names = ", ".join(f"`{one_line(name)}`" for name in libraries)
        requirement = missing[libraries[0]].requirement
        other = f" or `{project}`" if requirement != project else ""
        yield EnvmatrixError(
            f"it is loaded with {names}, and does not require `{project}`, which has that",
            hint=f"add `{requirement}`{other} to the `dependencies` of the project, or have it "
            "added: `wheels: {requirements: added}`",
        )


def _joined(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return requirements, those of one project with all their extras."""
    extras: dict[tuple[str, str], set[str]] = {}
    for requirement in map(Requirement, requirements):
        key = (requirement.name, str(requirement.specifier))
        extras.setdefault(key, set()).update(requirement.extras)
    return tuple(
        f"{name}{f'[{_comma(names)}]' if names else ''}{specifier}"
        for (name, specifier), names in sorted(extras.items())
    )


def _comma(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _join(names: Iterable[str]) -> str:
    return ", ".join(f"`{one_line(name)}`" for name in sorted(names))


def _search_path(target: Target) -> tuple[str, ...]:
    """Return where images have the libraries of a target."""
    triplet = target.triplet
    return (
        *(f"{directory}/{triplet}" for directory in ("/usr/lib", "/lib")),
        f"/usr/{triplet}/lib",
        f"/usr/local/cuda/targets/{target.cuda}/lib",
    )
