"""The formats of matrices that can be converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from envmatrix.adoption.imports import cccl, conda, github, gitlab, lists, rapids
from envmatrix.adoption.imports.jobs import (
    MOST_JOBS,
    Item,
    Reader,
    Remainder,
    Request,
    Source,
    bounded,
)
from envmatrix.documents import Dialect, parse_document
from envmatrix.errors import ConfigurationError, Position, Problem
from envmatrix.records import dataclass
from envmatrix.suggestions import known_names
from envmatrix.text import one_line

# YAML as CI systems take it.
DIALECT = Dialect(merge_keys=True, tags=(gitlab.REFERENCE,))
# Twice as much as the largest that was seen.
LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Format:
    """A format: whether a file is of it, and its reader."""

    suits: Callable[[Source], bool]
    read: Reader


# A file is of the first one that it suits.
FORMATS: Mapping[str, Format] = {
    "cccl": Format(cccl.suits, cccl.read),
    "rapids": Format(rapids.suits, rapids.read),
    "github": Format(github.suits, github.read),
    "conda": Format(conda.suits, conda.read),
    "gitlab": Format(gitlab.suits, gitlab.read),
    "lists": Format(lists.suits, lists.read),
}


def parse_source(content: bytes, name: str) -> Source:
    """Return a file of another project. Raise ConfigurationError if it is none."""
    if len(content) > LARGEST:
        raise ConfigurationError(f"`{name}` has more than {LARGEST} bytes")
    document = parse_document(content, name, DIALECT)
    return Source(document, content.decode("utf-8-sig"))


def detect(sources: Sequence[Source]) -> str:
    """Return the format of files. Raise ConfigurationError if they have none, or several."""
    names = {_require_format(source): source for source in sources}
    if "rapids" in names:  # callers may have jobs of their own
        names.pop("github", None)
    if len(names) > 1:
        kinds = ", ".join(f"`{source.document.file}` is `{name}`" for name, source in names.items())
        raise ConfigurationError(f"the files are of different formats: {kinds}", hint=_HINT)
    return next(iter(names))


_HINT = "convert one after the other, or name the format: `--from`"


def format_of(source: Source) -> str | None:
    """Return the format of a file, None if it has none that is known."""
    return next((name for name, row in FORMATS.items() if row.suits(source)), None)


def _require_format(source: Source) -> str:
    name = format_of(source)
    if name is not None:
        return name
    hint = f"name the format with `--from`: {', '.join(FORMATS)}"
    raise ConfigurationError(f"`{source.document.file}` is no CI matrix that is known", hint=hint)


def items_of(sources: Sequence[Source], name: str, request: Request) -> Iterator[Item]:
    """Yield the jobs of files, and what is none. Raise ConfigurationError if a requested workflow
    is in none of them."""
    if name != "conda":  # which has lines for one platform, and the same keys for another
        for source in sources:
            for problem in source.document.problems:
                position = problem.position or Position(source.document.file, 1, 1)
                yield Remainder("part of the file", (), problem.message, position)
    for count, item in enumerate(FORMATS[name].read(sources, request)):
        bounded(count, item.position, 10 * MOST_JOBS)
        yield item
    missing = [glob for glob in request.workflows if glob not in request.matched]
    if missing:
        raise ConfigurationError(
            *(
                Problem(
                    f"there is no workflow or job `{one_line(name)}`",
                    hint=known_names(name, sorted(request.names)),
                )
                for name in missing
            )
        )
