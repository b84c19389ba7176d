"""What depends on what, and which modules may touch the world outside."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import envmatrix
from envmatrix.confined import Area
from envmatrix.engine.tasks import Mount

PACKAGE = Path(envmatrix.__file__).parent
UNIT = Path(__file__).parent
REPOSITORY = UNIT.parents[1]

# Each may import those before it, and itself.
LAYERS = (
    "help_page",
    "records",
    "text",
    "errors",
    "documentation",
    "parallel",
    "retries",
    "files",
    "confined",
    "live_table",
    "wrapping",
    "console",
    "documents",
    "deb822",
    "suggestions",
    "schema",
    "facts",
    "matrix",
    "machine",
    "lock",
    "adoption",
    "excerpts",
    "registry",
    "store",
    "shared_cache",
    "images",
    "plan",
    "comparison",
    "codegen",
    "jobs",
    "pipeline",
    "render",
    "vcs",
    "engine",
    "executors",
    "doctor",
    "publishing",
    "sessions",
    "results",
    "app",
    "commands",
    "cli",
    "__main__",
)

# Decide from values alone; what they need of the world is handed in.
PURE = {
    "adoption",
    "codegen",
    "comparison",
    "help_page",
    "records",
    "text",
    "wrapping",
    "engine.tasks",
    "executors.manifests",
    "executors.results",
    "deb822",
    "excerpts",
    "lock.changes",
    "lock.cuda_in_image",
    "lock.lock_file",
    "lock.model",
    "lock.requests",
    "lock.resolution",
    "lock.strict",
    "lock.version_1",
    "schema",
    "facts",
    "images",
    "plan",
    "jobs",
    "pipeline",
    "registry.manifests",
    "render",
    "results.charts",
    "results.encoding",
    "results.failure_groups",
    "results.formats",
    "results.heat_map",
    "results.page_paths",
    "results.performance",
    "results.records",
    "results.summary",
    "results.tables",
    "results.waives",
    "sessions.buildsystems",
    "sessions.context",
    "sessions.failure_causes",
    "sessions.failures",
    "sessions.analysis.findings",
    "sessions.frameworks",
    "sessions.sharding",
    "sessions.tasks",
    "shared_cache.protocol",
    "matrix",
    "machine.error_texts",
    "retries",
}

OUTSIDE = {
    "docker",
    "http",
    "httpx",
    "os",
    "platform",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(file.read_text("utf-8")) for name, file in FILES.items()}


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_for_types_only(child):
            yield from walk_at_run_time(child)


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_imports(module: str) -> set[str]:
    """Return the modules of the package that `module` names anywhere, also for types only."""
    modules = set()
    for name in imports(ast.walk(TREES[module])):
        if name.startswith("envmatrix."):
            inside = name.removeprefix("envmatrix.")
            modules.add(inside if inside in FILES else inside.rpartition(".")[0])
    return modules


def layer_of(module: str) -> int:
    return LAYERS.index(module.partition(".")[0])


def is_pure(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in PURE)


ALL = sorted(name for name in FILES if name)


@pytest.mark.parametrize("module", ALL)
def test_imports_point_one_way(module: str) -> None:
    upward = [name for name in own_imports(module) if name and layer_of(name) > layer_of(module)]
    assert upward == []


def test_the_first_module_imports_nothing_of_the_package() -> None:
    assert own_imports("") == set()


def test_nothing_imports_in_a_circle() -> None:
    TopologicalSorter({name: own_imports(name) - {name} for name in FILES}).prepare()


@pytest.mark.parametrize("module", [name for name in ALL if is_pure(name)])
def test_what_decides_touches_nothing_outside(module: str) -> None:
    names = set(imports(walk_at_run_time(TREES[module])))
    effects = {
        name for name in names for outside in OUTSIDE if f"{name}.".startswith(f"{outside}.")
    }
    assert effects == set()
    attributes = {
        (node.value.id, node.attr)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not attributes & CLOCKS


def calls(module: str, *names: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names
    ]


def is_into_a_file(call: ast.Call) -> bool:
    targets = [ast.unparse(word.value) for word in call.keywords if word.arg == "file"]
    return bool(targets) and not targets[0].startswith("sys.")


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("sessions.registration", {"docker", "jinja2", "yaml"}),
        ("commands.run.test", {"docker", "httpx", "jinja2", "sqlalchemy"}),
        (
            "commands.plan",
            {
                f"envmatrix.{name}"
                for name in (
                    "engine.buildx",
                    "images.stages",
                    "machine.origins",
                    "plan.matrix_diff",
                )
            },
        ),
        ("commands.plan", {"docker", "httpx", "jinja2", "sqlalchemy"}),
        (
            "commands.run.test",
            {f"envmatrix.{name}" for name in ("lock.requests", "images.environments")},
        ),
        ("cli", {"docker", "httpx", "jinja2", "sqlalchemy", "yaml"}),
        ("__main__", {"click", "dataclasses"}),
        (
            "commands.why",
            {"yaml", "concurrent.futures", "envmatrix.confined", "envmatrix.lock.model"},
        ),
        ("commands.build", {"yaml", "envmatrix.engine.buildx", "envmatrix.lock.lock_file"}),
        ("app.job_plan", {"yaml", "docker", "envmatrix.app.images", "envmatrix.sessions"}),
    ],
)
def test_what_has_to_start_soon_loads_nothing_that_it_may_not_need(
    module: str, others: set[str]
) -> None:
    program = f"import sys, envmatrix.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert others.isdisjoint(done.stdout.decode().split())


@pytest.mark.parametrize("module", ALL)
def test_only_the_console_prints(module: str) -> None:
    """The console prints only safe text; so is the help, which is a constant."""
    if module not in {"console", "__main__"}:
        printing = calls(module, "print", "click.echo", "sys.stdout.write", "sys.stderr.write")
        assert [call.lineno for call in printing if not is_into_a_file(call)] == []


# What makes text or a path of something.
TO_TEXT = ("str", "repr", "format", "Path", "PurePath", "PurePosixPath", "os.fspath", "vars")


def is_area(node: ast.AST) -> bool:
    """Return whether an expression is an area that containers write to, by its name."""
    if isinstance(node, ast.Attribute) and node.attr == "build":
        return not ast.unparse(node.value).endswith("library")
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Area")


def uses_of_areas(tree: ast.AST) -> list[str]:
    """Return expressions that could lead to opening something in an area by its path.

    The type of an area already excludes its use as a path."""
    return [ast.unparse(node) for node in ast.walk(tree) if is_use_of_area(node)]


def is_use_of_area(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=func, args=args):
            name = ast.unparse(func)
            return name.endswith("Area") or (name in TO_TEXT and any(map(is_area, args)))
        case ast.FormattedValue(value=value):
            return is_area(value)
        case ast.BinOp(op=ast.Mod(), right=right):
            return is_area(right)
        case ast.Attribute(attr=name):
            return name in ("_path", "surroundings", "__str__")
    return False


# Which modules say where areas are, and how.
PLACES = {
    "app.pipeline_files": ("Area(self.directory)",),
    "vcs.remote_git": ("Area(target)",),
    "machine.trust": ("Area(path)",),
    "sessions.build_marks": ("Area(parent / name)",),
    "sessions.context": ("Area(", "self.build.surroundings"),
}


@pytest.mark.parametrize("module", [name for name in ALL if name.split(".")[0] != "confined"])
def test_what_containers_wrote_is_opened_by_one_module(module: str) -> None:
    others = [
        use for use in uses_of_areas(TREES[module]) if not use.startswith(PLACES.get(module, ()))
    ]
    assert others == []


def test_a_mount_is_writable_only_where_it_is_an_area() -> None:
    assert Mount(Path("/a"), "/a").read_only
    assert not Mount(Area(Path("/a")), "/a").read_only
    with pytest.raises(TypeError):
        Mount(Path("/a"), "/a", read_only=False)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "text",
    [
        "Path(str(context.build)).read_text()",
        "Path(context.build)",
        "open(f'{context.build}/file')",
        "open('%s/file' % context.build)",
        "os.listdir(str(self.runner.context.build))",
        "shutil.rmtree(execution.context.build._path)",
        "(context.build.surroundings / context.build.name / 'file').unlink()",
        "Area(Path('/etc')).opened()",
        "context.build.__str__()",
        "str(Area(path))",
    ],
)
def test_who_would_open_what_a_container_wrote_is_found(text: str) -> None:
    assert uses_of_areas(ast.parse(text))


@pytest.mark.parametrize(
    "use",
    [Path, open, os.listdir, os.stat, os.unlink, shutil.rmtree, lambda area: area / "file"],
)
def test_an_area_is_no_path(use: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        use(Area(Path("/nowhere")))


def passes_proxies_on(node: ast.AST) -> bool:
    """Return whether a container or a build gets the proxies of Docker's client."""
    safe: tuple[str, ...]
    match node:
        case ast.Call(func=func):
            engine = (".containers.create", ".containers.run", ".create_container", ".images.build")
            safe = ("use_config_proxy=False",)
            is_started = ast.unparse(func).endswith(engine)
        case ast.List(elts=[ast.Constant("docker"), *words]):
            verbs = {word.value for word in words[:2] if isinstance(word, ast.Constant)}
            safe = ("docker_client.without_proxies(", "*unset")
            is_started = not verbs.isdisjoint({"run", "create", "build"})
        case _:
            return False
    return is_started and not any(option in ast.unparse(node) for option in safe)


@pytest.mark.parametrize("module", ALL)
def test_no_container_or_build_gets_the_proxies_of_dockers_client(module: str) -> None:
    nodes = [node for node in ast.walk(TREES[module]) if passes_proxies_on(node)]
    assert [ast.unparse(node) for node in nodes] == []


@pytest.mark.parametrize(
    "text",
    [
        "['docker', 'run', '--rm', image]",
        "['docker', 'buildx', 'build', '.']",
        "client.containers.create(image, command=['true'])",
        "self.client.api.create_container(image)",
    ],
)
def test_who_would_pass_proxies_on_is_found(text: str) -> None:
    assert any(map(passes_proxies_on, ast.walk(ast.parse(text))))


@pytest.mark.parametrize("module", ALL)
def test_only_the_command_line_ends_the_program(module: str) -> None:
    # The last one is a program for containers.
    programs = {"cli", "__main__", "sessions.wheels.repair"}
    if module not in programs and not module.startswith("commands."):
        assert calls(module, "sys.exit") == []


APP = [name for name in ALL if name.partition(".")[0] == "app"]
COMMANDS = [name for name in ALL if name.startswith("commands.")]
# Of `commands`, what verbs share.
SHARED = {
    "commands.by_hand",
    "commands.ci.directory",
    "commands.completion_scripts",
    "commands.completions",
    "commands.display",
    "commands.job_verbs",
    "commands.list_output",
    "commands.options",
    "commands.outcomes",
    "commands.state",
    "commands.verbs",
}
# What use cases talk to, and commands do not.
SERVICES = {"docker", "httpx", "sqlalchemy"}


@pytest.mark.parametrize("module", APP)
def test_use_cases_know_nothing_of_the_command_line(module: str) -> None:
    packages = {name.partition(".")[0] for name in imports(ast.walk(TREES[module]))}
    assert "click" not in packages


def verbs_of(module: str) -> list[str]:
    """Return the functions of a module that are click's commands."""
    return [
        node.name
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef)
        and any(
            ast.unparse(decorator).partition("(")[0].endswith((".command", ".group"))
            for decorator in node.decorator_list
        )
    ]


@pytest.mark.parametrize("module", COMMANDS)
def test_each_file_of_commands_defines_one_verb(module: str) -> None:
    assert verbs_of(module) == ([] if module in SHARED else ["command"])


@pytest.mark.parametrize("module", COMMANDS)
def test_commands_talk_to_no_service_themselves(module: str) -> None:
    packages = {name.partition(".")[0] for name in imports(ast.walk(TREES[module]))}
    assert packages.isdisjoint(SERVICES)


@pytest.mark.parametrize("module", ALL)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(TREES[module])


# Names and first words that do not say what something is, or what a function does.
VAGUE_NAMES = {
    *("asked", "begun", "everything", "found", "given", "it", "its", "kept", "known", "made"),
    *("said", "seen", "shown", "taken", "them", "there", "told", "wanted"),
}
VAGUE_BEGINNINGS = {
    *("All", "Another", "As", "Every", "How", "In", "Its"),
    *("Of", "That", "Those", "What", "Whether", "When", "Where"),
}


def names_bound_in(tree: ast.AST) -> Iterator[str]:
    """Yield the names of variables, parameters and functions."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def docstrings_of_functions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text


WRITTEN = [
    *FILES.values(),
    *(REPOSITORY / "tests").rglob("*.py"),
    *(REPOSITORY / "benchmarks").glob("*.py"),
]


@pytest.mark.parametrize(
    "file", sorted(WRITTEN), ids=lambda file: str(file.relative_to(REPOSITORY))
)
def test_names_and_docstrings_say_what_things_are(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    assert not VAGUE_NAMES.intersection(names_bound_in(tree))
    beginnings = {text.split()[0] for text in docstrings_of_functions(tree)}
    assert not beginnings & VAGUE_BEGINNINGS
