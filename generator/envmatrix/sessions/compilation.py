"""Compiles a library in its cell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from envmatrix.confined import Directory, Refused
from envmatrix.console import Console
from envmatrix.errors import EnvmatrixError
from envmatrix.files import readable_text, write_whole
from envmatrix.sessions import compile_commands, installation, tasks
from envmatrix.sessions.build_marks import forget, is_marked, mark
from envmatrix.sessions.buildsystems.cmake import DEPS, GRAPH, is_probe
from envmatrix.sessions.buildsystems.python import WHEELS, unpack_wheels
from envmatrix.sessions.context import BuildContext, installation_record
from envmatrix.sessions.failures import OutOfMemory, StepFailed
from envmatrix.sessions.outcomes import Measurement
from envmatrix.sessions.products import Product, find_products, kinds_of_entries, no_product
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.source_sync import update

# Hits and misses of the compiler cache by compilation, written by the launcher.
COMPILATIONS = "compilations.log"
# The suffix of the file with the names of what a compilation did not find.
MISSING = ".missing"
# Files that build systems write when they configure, and nothing else writes.
_CONFIGURED = ("CMakeCache.txt", "CTestTestfile.cmake", "Makefile", "build.ninja")
_LARGEST_CONFIGURED = 256 << 20


def compile_library(runner: Runner, source: str = "") -> tuple[Product, ...]:
    """Configure and compile the library; return its products, which are for the cell's
    architecture. It is not configured again if the last compilation succeeded with this state of
    the `source`, the empty one being none."""
    context = runner.context
    directory, name = context.directory, context.build.name
    inputs = made_of(context)
    is_configured = bool(source) and is_marked(
        directory, name, _configuration(context, source), "configured"
    )
    clear_outdated(context, runner.console)
    with context.build.opened() as build:
        is_configured = is_configured and not build.is_empty
        build.remove(COMPILATIONS)
        if context.copies_source:
            update(context.source, build, context.directory / f"{context.build.name}.copied")
    missing_file(context).unlink(missing_ok=True)
    try:
        _compile(runner, is_configured=is_configured)
    except StepFailed as error:
        if error.names:
            write_whole(
                missing_file(context), "".join(f"{name}\n" for name in error.names).encode()
            )
        raise
    contents: Mapping[str, str] = {}
    if context.wheels:
        from envmatrix.sessions.wheels.publication import repair_wheels

        contents = repair_wheels(runner, context.wheels)
    try:
        compile_commands.write_for_host(context)
    except EnvmatrixError as error:  # the library is compiled nevertheless
        runner.console.warn(error.message)
    _warn_of_archives(context, runner.console)
    if source:
        mark(directory, name, _configuration(context, source), "configured")
    if context.borrowed:
        from envmatrix.sessions import cuda_usage

        cuda_usage.check_components(context)
    products = _products(context, contents)
    if context.prefix:
        installation.install(runner, _installed_inputs(inputs, source))
    return products


def is_installed(context: BuildContext, source: str) -> bool:
    """Return whether a library is installed as it is with this state of its source."""
    return installation.is_installed_from(context, _installed_inputs(made_of(context), source))


def _installed_inputs(inputs: str, source: str) -> str:
    return f"{inputs}{source}"


def missing_file(context: BuildContext) -> Path:
    """Return the file with the names of what the last compilation did not find, if it failed."""
    return context.directory / f"{context.build.name}{MISSING}"


def _warn_of_archives(context: BuildContext, console: Console) -> None:
    """Warn of each archive that the build did not look for: it may have another name there."""
    if not context.library.archives:
        return
    log = readable_text(context.log("configure"))
    for name in context.system.unused_archives(context.library, log):
        console.warn(
            f"nothing in `{context.library.name}` asks for its archive `{name}`: has it another "
            "name in `FetchContent_Declare` or `CPMAddPackage`?"
        )


def _configuration(context: BuildContext, source: str) -> str:
    """Return a state of the source, and a hash of the files that configuring it wrote, so that one
    that was damaged or removed is written again."""
    hashes = []
    with context.build.opened() as build:
        for file in _CONFIGURED:
            try:
                hashes.append(build.sha256(file, _LARGEST_CONFIGURED))
            except Refused:
                hashes.append("")
    return f"{source}-{hashlib.sha256(' '.join(hashes).encode()).hexdigest()}"


def ninja_files(context: BuildContext) -> tuple[str, str] | None:
    """Return ninja's dependency graph and depfile contents; None where ninja built nothing."""
    with context.build.opened() as build:
        try:
            return build.text(GRAPH), build.text(DEPS)
        except Refused:
            return None


def clear_outdated(context: BuildContext, console: Console) -> None:
    """Clear the build directory where it was made of another image, source or options, but not of
    other files of the repository itself. Build systems compare times, which do not show that a
    compiler or source was exchanged."""
    record_file = context.directory / f"{context.build.name}.made-of"
    forget(context.directory, context.build.name)
    text = made_of(context)
    with context.build.opened() as build:
        if readable_text(record_file) != text and not build.is_empty:
            console.say(f"clear    {context.build.name}: made of another image, source or options")
            record_file.unlink(missing_ok=True)
            build.clear()
    write_whole(record_file, text.encode())


def made_of(context: BuildContext) -> str:
    """Return what a build directory is made of, but for files of the repository itself."""
    library = context.library
    source = context.source.name if library.source else ""
    requires = [f"{arch} {path.name}" for arch, path in sorted(context.requires.items())]
    needs = [f"{name} {_identity(path)}" for name, path in sorted(context.prefixes.items())]
    archives = [f"{name} {path.name}" for name, path in sorted(context.archives.items())]
    launcher = context.cache and tasks.LAUNCHER  # CMake keeps it
    sm, instrumentation = library.sm_in(context.cell), context.instrumentation
    inputs = (source, *requires, *archives, library.build, sm, instrumentation, launcher)
    others = (*needs, *([context.prefix] if context.prefix else []))
    lines = (context.names[context.compiler], *inputs, *others)
    return "".join(f"{line}\n" for line in lines)


def _identity(prefix: Path) -> str:
    """Return the hash of what is installed in a prefix."""
    return readable_text(installation_record(prefix.parent, prefix.stem)).partition(" ")[2].strip()


def _compile(runner: Runner, *, is_configured: bool) -> None:
    """Compile, with fewer jobs where memory does not suffice."""
    context = runner.context
    while True:
        commands = [*context.system.commands(context)]
        if not context.wheels:
            commands.append(unpack_wheels("compile", WHEELS))
        if is_configured:
            commands = [command for command in commands if command.step != "configure"]
        steps = dict.fromkeys(command.step for command in commands)
        # In one container, as starting one takes longer than some commands.
        argv = tasks.shell_arguments(tasks.join_commands(commands))
        try:
            completed = runner.run(tasks.in_compiler(context, argv), *steps)
            if not (is_configured and completed.failed):
                runner.check(completed)
                return
            is_configured = False  # a test may have removed what was configured
        except OutOfMemory as error:
            if context.jobs == 1:
                raise
            context = replace(context, jobs=context.jobs // 2)
            runner.console.warn(f"{error.message}; going on with {context.jobs} at once")


def _products(context: BuildContext, contents: Mapping[str, str]) -> tuple[Product, ...]:
    """Return the files that match the library's `artifacts`, or those that its build system makes,
    with the `contents` of wheels; a library without either has no products."""
    patterns = context.library.artifacts
    with context.build.opened() as build:
        products = find_products(build, context.products)
        if patterns and not products:
            raise no_product(patterns, kinds_of_entries(build))
    if context.system.products and not products:
        raise EnvmatrixError(f"the build made no {context.system.product}")
    machine = context.target.binary
    for item in products:
        if item.machine not in (None, machine):
            message = f"`{item.path}` is for {item.machine}, the cell for {machine}"
            raise EnvmatrixError(message)
    return tuple(replace(item, contents=contents.get(item.path, "")) for item in products)


def cache_hits(build: Directory, *, counts_shared: bool = False) -> tuple[Measurement, ...]:
    """Return the hit rate of the compiler cache, in percent, and the number of compilations;
    nothing where nothing was compiled. With `counts_shared`, also the rate of those hits that came
    from the cache that machines share."""
    try:
        text = build.text(COMPILATIONS)
    except Refused:
        return ()
    rows = [line.split(" ", 1) for line in text.splitlines() if " " in line]
    results = [result for result, output in rows if not is_probe(output)]
    if not results:
        return ()
    local, shared = (100 * results.count(name) / len(results) for name in ("hit", "shared"))
    shared_hits = Measurement("shared compiler cache hits", shared, "%", "higher")
    return (
        Measurement("compiler cache hits", local + shared, "%", "higher"),
        Measurement("compilations", len(results), "files", "lower"),
        *([shared_hits] if counts_shared else []),
    )
