"""What the matrix of another project has: jobs, in the words of matrix.yaml, and what is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from typing import TypeAlias

from envmatrix.documents import Document, Node
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.records import dataclass
from envmatrix.text import leading_names, one_line

# More jobs than any matrix has that people write.
MOST_JOBS = 20_000
# The same of values that jobs have in all.
MOST_VALUES = 2_000_000
# The most values of a key in a message.
_MOST_VALUES_SHOWN = 8
# The most characters of a text of another file in a message.
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a library's build; empty where they are the library's own."""

    std: str = ""
    build_type: str = ""
    sanitizer: str = ""
    sm: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def unlisted(self, own_options: tuple[str, ...]) -> Settings:
        """Return the settings that variants have no list of, without options of the library."""
        options = tuple(option for option in self.options if option not in own_options)
        return Settings(sm=self.sm, options=options)


@dataclass(frozen=True, slots=True)
class Machine:
    """What executes the tests: a model of GPU, how many of them, and a branch of drivers."""

    gpu: str
    gpus: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One job: the values of axes that are known of it, and the rest. `library` is the project's
    name for what is built, empty where it has one library; `sm` are GPU architectures that all of
    its builds are for."""

    position: Position
    name: str
    cell: Mapping[str, str]
    library: str = ""
    settings: Settings = Settings()
    machine: Machine | None = None
    sm: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remainder:
    """Something that is not converted, and the reason: the `values` of a key, or what `key` names
    alone. `rule` is a compatibility rule; `jobs` is the number of jobs that are left out because of
    it, 0 where they only lose a detail."""

    key: str
    values: tuple[str, ...]
    reason: str
    position: Position
    rule: str | None = None
    jobs: int = 0

    @property
    def what(self) -> str:
        """The values for people."""
        texts = leading_names(self.values, _MOST_VALUES_SHOWN)
        return f"{self.key}: {texts}" if self.key and texts else self.key or texts


Item: TypeAlias = Job | Remainder


@dataclass(frozen=True, slots=True)
class Request:
    """What to convert of files: workflows or jobs by globs, all without any."""

    workflows: tuple[str, ...] = ()
    matched: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def wants(self, *names: str) -> bool:
        """Return whether the user asked for something that has one of these names."""
        self.names.update(names)
        globs = [glob for glob in self.workflows if any(fnmatchcase(name, glob) for name in names)]
        self.matched.update(globs)
        return bool(globs) or not self.workflows


@dataclass(frozen=True, slots=True)
class Source:
    """A file of another project, parsed and as text."""

    document: Document
    text: str

    @property
    def root(self) -> Node:
        return self.document.root


Reader: TypeAlias = Callable[[Sequence[Source], Request], Iterator[Item]]


def brief(text: str) -> str:
    """Return a text of another file for a message."""
    line = " ".join(one_line(text[: 2 * _LONGEST]).replace("`", "'").split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def texts_of(node: Node | None) -> tuple[Node, ...]:
    """Return the texts of a value that is one text or a list of texts."""
    if node is None:
        return ()
    nodes = node.content if isinstance(node.content, tuple) else (node,)
    return tuple(each for each in nodes if isinstance(each.content, str))


def rows_of(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list; none of another value."""
    return node.content if node is not None and isinstance(node.content, tuple) else ()


def alternatives_of(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list, or another value as the only one."""
    return rows_of(node) or ((node,) if node is not None and node.content != () else ())


def text_of(node: Node | None) -> str:
    """Return a text; empty where it is none."""
    return node.content if node is not None and isinstance(node.content, str) else ""


def bounded(count: int, position: Position, most: int = MOST_JOBS) -> None:
    """Raise ConfigurationError for a number of jobs, or of their parts, that no matrix has."""
    if count > most:
        message = f"the matrix has more than {most} jobs or values"
        raise ConfigurationError(Problem(message, position, "convert a part: `--workflow NAME`"))


def combinations(
    lists: Mapping[str, Sequence[Node]], position: Position
) -> Iterator[Mapping[str, Node]]:
    """Yield the product of lists of values, by name."""
    rows: list[dict[str, Node]] = [{}]
    for name, values in lists.items():
        bounded(len(rows) * len(values), position)
        rows = [{**row, name: value} for row in rows for value in values]
    yield from rows


def merged(items: Iterable[Remainder]) -> tuple[Remainder, ...]:
    """Return remainders in the order of their places; those of a key with the same reason are
    one, with all values and jobs."""
    groups: dict[tuple[str, str, str | None, bool], list[Remainder]] = {}
    for item in items:
        key = (item.key, item.reason, item.rule, item.jobs > 0)
        groups.setdefault(key, []).append(item)
    rows = (
        Remainder(
            key=key,
            values=tuple(dict.fromkeys(value for row in group for value in row.values)),
            reason=reason,
            position=min(row.position for row in group),
            rule=rule,
            jobs=sum(row.jobs for row in group),
        )
        for (key, reason, rule, _), group in groups.items()
    )
    return tuple(sorted(rows, key=lambda row: (row.position, row.key, row.values)))
