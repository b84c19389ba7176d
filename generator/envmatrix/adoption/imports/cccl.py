"""The matrix of NVIDIA/cccl, as the planner of its workflows expands it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from envmatrix.adoption.imports import words
from envmatrix.adoption.imports.jobs import (
    Item,
    Job,
    Machine,
    Remainder,
    Request,
    Settings,
    Source,
    alternatives_of,
    brief,
    combinations,
    rows_of,
    text_of,
    texts_of,
)
from envmatrix.adoption.imports.keys import (
    NO_COMPILER,
    NO_CUDA_COMPILER,
    NO_PLACE,
    NO_PYTHON,
    Word,
    read_options,
)
from envmatrix.documents import Node
from envmatrix.facts.versions import version_key

# The workflow of jobs that are removed, and one of images that no job uses.
_EXCLUDE, _IMAGES = "exclude", "devcontainers"
# Tags whose lists are no alternatives.
_WHOLE = ("jobs", "environment")
# What `build` and `test` stand for, by project.
_PARTS = re.compile(r"(?:build|test)(?:_.*)?", re.ASCII)
_VERSIONED = re.compile(r"(?P<id>[^\d-]+)(?:-?(?P<version>\d[\d.]*)|-(?P<alias>.+))?", re.ASCII)
_COMPILERS = {"gcc": "gcc", "llvm": "clang"}

_Tags = Mapping[str, Node]


def read(sources: Sequence[Source], request: Request) -> Iterator[Item]:
    for source in sources:
        yield from _Planner(source.root).items(request)


def suits(source: Source) -> bool:
    keys = source.root.children_by_key
    return "workflows" in keys and "ctk_versions" in keys


class _Planner:
    """Expands workflows, by the tables of the same file."""

    def __init__(self, root: Node) -> None:
        self._tables = root.children_by_key
        self._workflows = self._table("workflows")
        self._ctks = self._table("ctk_versions")
        self._hosts = self._table("host_compilers")
        self._projects = self._table("projects")
        self._jobs = self._table("jobs")
        self._gpus = self._table("gpus")
        self._defaults = {
            tag: default
            for tag, entry in self._table("tags").items()
            if (default := entry.child("default")) is not None and default.content
        }
        excluded = self._workflows.get(_EXCLUDE)
        self._excluded = [
            {tag: frozenset(map(self._canonical(tag), texts_of(node))) for tag, node in row.items()}
            for row in (entry.children_by_key for entry in rows_of(excluded))
        ]

    def _table(self, name: str) -> Mapping[str, Node]:
        node = self._tables.get(name)
        return node.children_by_key if node else {}

    def items(self, request: Request) -> Iterator[Item]:
        for name, workflow in self._workflows.items():
            if name == _EXCLUDE or (name == _IMAGES and not request.workflows):
                continue
            if request.wants(name):
                for entry in rows_of(workflow):
                    yield from self._entry(name, entry)

    def _entry(self, workflow: str, entry: Node) -> Iterator[Item]:
        if not entry.children_by_key:
            what = ("entry of", (brief(workflow),))
            yield Remainder(*what, "is no mapping", entry.position, jobs=1)
            return
        tags = {**self._defaults, **entry.children_by_key}
        lists = {
            tag: (node,) if tag in _WHOLE else alternatives_of(node) for tag, node in tags.items()
        }
        for row in combinations(lists, entry.position):
            yield from self._row(workflow, row, entry)

    def _row(self, workflow: str, tags: _Tags, entry: Node) -> Iterator[Item]:
        cxx, ctk = tags.get("cxx", entry), tags.get("ctk", entry)
        compiler, obstacle = self._compiler(cxx)
        release = self._release(text_of(ctk))
        obstacle = obstacle or self._obstacle(tags, release, ctk)
        if obstacle:
            yield obstacle
            return
        cell = {"cuda": str(words.cuda_release(release)), "compiler": compiler}
        if text_of(tags.get("cudacxx")) == "clang":
            cell["cuda_compiler"] = "clang"
        if arch := words.architecture(text_of(tags.get("cpu"))):
            cell["arch"] = arch
        standards = self._standards(tags, release, text_of(cxx))
        std = tags.get("std")
        for value in standards if std else ("",):
            names = self._left(tags, value)
            if not names:
                continue
            yield from self._details(tags, value, names)
            yield self._job(workflow, tags, entry, cell, value, names)
        if std and not standards:
            reason = "the compilers, CUDA and the project have no C++ standard in common"
            yield Word("std", text_of(std), std.position).obstacle(reason)

    def _obstacle(self, tags: _Tags, release: str, ctk: Node) -> Remainder | None:
        """Return the tag that is no value of an axis, if there is one."""
        if words.cuda_release(release) is None:
            return Word("ctk", text_of(ctk), ctk.position).obstacle("is no CUDA release")
        device, cpu = tags.get("cudacxx"), tags.get("cpu")
        if device and text_of(device) not in ("nvcc", "clang"):
            return Word("cudacxx", text_of(device), device.position).obstacle(NO_CUDA_COMPILER)
        if cpu and not words.architecture(text_of(cpu)):
            reason = "is no architecture that cells have"
            return Word("cpu", text_of(cpu), cpu.position).obstacle(reason)
        return None

    def _job(
        self,
        workflow: str,
        tags: _Tags,
        entry: Node,
        cell: Mapping[str, str],
        std: str,
        names: Sequence[str],
    ) -> Job:
        gpu = text_of(tags.get("gpu"))
        needs_gpu = any(self._value(self._jobs, name, "gpu") == "true" for name in names)
        sm = words.gpu_architectures(self._value(self._gpus, gpu, "sm")) or ()
        settings, _ = self._settings(tags, std)
        return Job(
            position=entry.position,
            name=f"{workflow}: {', '.join(names)}",
            cell=cell,
            library=text_of(tags.get("project")),
            settings=settings,
            machine=self._machine(gpu) if needs_gpu and gpu else None,
            sm=sm if needs_gpu else (),
        )

    def _settings(self, tags: _Tags, std: str) -> tuple[Settings, list[Remainder]]:
        sm = text_of(tags.get("sm"))
        node = tags.get("cmake_options")
        options, details = (
            read_options(Word("cmake_options", text_of(node), node.position)) if node else ({}, [])
        )
        # `gpu` is the architecture of the one that runs it.
        architectures = () if sm in ("", "gpu") else words.gpu_architectures(sm)
        if architectures is None:
            word = Word("sm", sm, tags["sm"].position)
            details.append(word.detail("is no list of GPU architectures"))
        if std and not words.standard(std):
            word = Word("std", std, tags["std"].position)
            details.append(word.detail("is no C++ standard of `variants`"))
        return Settings(
            std=next(iter(options.get("std", ())), words.standard(std) or ""),
            build_type=next(iter(options.get("build_type", ())), ""),
            sm=architectures or (),
            options=tuple(options.get("options", ())),
        ), details

    def _details(self, tags: _Tags, std: str, names: Sequence[str]) -> Iterator[Remainder]:
        """Yield what a job has beside what is converted."""
        for key, reason in (
            ("py_version", NO_PYTHON),
            ("py_ctk_mode", NO_PLACE),
            ("args", NO_PLACE),
            ("environment", NO_PLACE),
        ):
            for node in texts_of(tags.get(key)):
                if text_of(node):
                    yield Word(key, text_of(node), node.position).detail(reason)
        for name in names:
            if not _PARTS.fullmatch(name) and "jobs" in tags:
                reason = "is a job beside the build and the tests of a library"
                yield Word("jobs", name, tags["jobs"].position).detail(reason)
        yield from self._settings(tags, std)[1]

    def _machine(self, gpu: str) -> Machine:
        """Return the machine of a name: `h100-latest-2` is the runner of `h100_2gpu`."""
        runner = self._value(self._gpus, gpu, "runner")
        match = re.fullmatch(r"(?P<gpu>[a-z0-9]+)-.*?-(?P<gpus>\d{1,2})", runner, re.ASCII)
        if match is None:
            return Machine(gpu)
        return Machine(match["gpu"], "" if match["gpus"] == "1" else match["gpus"])

    def _left(self, tags: _Tags, std: str) -> tuple[str, ...]:
        """Return the jobs of a row that no entry excludes."""
        names = [text_of(node) for node in texts_of(tags.get("jobs"))]
        for row in self._excluded:
            values = {tag: self._canonical(tag)(tags[tag]) for tag in row if tag in tags}
            values |= {"std": std} if std else {}
            others = (tag for tag in row if tag != "jobs")
            if all(tag in values and values[tag] in row[tag] for tag in others):
                names = [name for name in names if name not in row.get("jobs", {name})]
        return tuple(names)

    def _canonical(self, tag: str) -> Callable[[Node], str]:
        def name(node: Node) -> str:
            text = text_of(node)
            if tag == "ctk":
                return self._release(text)
            return "".join(self._host(text)) if tag == "cxx" else text

        return name

    def _release(self, text: str) -> str:
        return text if text in self._ctks else _of_alias(self._ctks, text) or text

    def _host(self, text: str) -> tuple[str, str]:
        """Return a host compiler of the table and its version, the newest if there is none."""
        match = _VERSIONED.fullmatch(text)
        if match is None:
            return text, ""
        table = _child(self._hosts.get(match["id"]), "versions")
        versions_by_name = table.children_by_key if table else {}
        version = match["version"] or match["alias"]
        if not version:
            version = max(filter(_is_version, versions_by_name), key=version_key, default="")
        if version not in versions_by_name:
            version = _of_alias(versions_by_name, version) or version
        return match["id"], version

    def _compiler(self, cxx: Node) -> tuple[str, Remainder | None]:
        name, version = self._host(text_of(cxx))
        word = Word("cxx", text_of(cxx), cxx.position)
        family = _COMPILERS.get(self._value(self._hosts, name, "container_tag"), "")
        if compiler := words.compiler(f"{family}-{version}") if family else None:
            return compiler, None
        if self._value(self._hosts, name, "container_tag") == "cl":
            return "", word.obstacle(words.WINDOWS_OR_MACOS)
        return "", word.obstacle(NO_COMPILER)

    def _standards(self, tags: _Tags, release: str, cxx: str) -> tuple[str, ...]:
        std = text_of(tags.get("std"))
        if std not in ("all", "min", "max", "minmax"):
            return (std,) if std else ()
        name, version = self._host(cxx)
        versions = _child(self._hosts.get(name), "versions")
        rows = [
            self._tables.get("all_stds"),
            _child(self._projects.get(text_of(tags.get("project"))), "stds"),
            _child(_child(versions, version), "stds"),
        ]
        if text_of(tags.get("cudacxx")) in ("", "nvcc"):
            rows.append(_child(self._ctks.get(release), "stds"))
        lists = [{text_of(node) for node in texts_of(row)} for row in rows if row is not None]
        common = sorted(set.intersection(*lists)) if lists else []
        ends = {"all": common, "min": common[:1], "max": common[-1:]}
        return tuple(dict.fromkeys(ends.get(std, [*common[:1], *common[-1:]])))

    def _value(self, table: Mapping[str, Node], name: str, key: str) -> str:
        return text_of(_child(table.get(name), key))


def _child(node: Node | None, key: str) -> Node | None:
    return node.child(key) if node is not None else None


def _of_alias(table: Mapping[str, Node], alias: str) -> str | None:
    for name, entry in table.items():
        if alias in (text_of(node) for node in texts_of(entry.child("alias"))):
            return name
    return None


def _is_version(text: str) -> bool:
    return re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,3}", text, re.ASCII) is not None
