"""Changed files for every reader: none ends in anything but an error of ours, none takes long."""

from __future__ import annotations

import random
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutations import mutated
from tests.readers import Reader

from envmatrix.errors import EnvmatrixError

# Of the processor, for one input; a machine that is busy gets more time for it on the clock.
MOST_SECONDS = 10
_MOST_WALL_SECONDS = 60
# Of the whole process, in kilobytes.
MOST_MEMORY = 500_000


@dataclass(frozen=True)
class Finding:
    """An input that a reader did not stand, kept as a file."""

    reader: str
    number: int
    file: Path
    what: str


class _Hangs(BaseException):
    pass


@contextmanager
def _limited() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise _Hangs(f"it waits for more than {_MOST_WALL_SECONDS} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(_MOST_WALL_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzzed(readers: Sequence[Reader], count: int, seed: int, scratch: Path) -> list[Finding]:
    """Give `count` inputs to the readers in turn; what none may do, each kept in `scratch`."""
    findings = []
    for number in range(count):
        reader = readers[number % len(readers)]
        source = random.Random(f"{seed} {reader.name} {number}")  # noqa: S311 -- has to be the same again
        content = mutated(source.choice(reader.examples), source)
        if what := _fault(reader, content, scratch / "directory"):
            file = scratch / f"{number}-{reader.name.replace('/', '-')}"
            file.write_bytes(content)
            findings.append(Finding(reader.name, number, file, what))
    return findings


def _fault(reader: Reader, content: bytes, directory: Path) -> str:
    """Return what is wrong with how a reader takes some content; empty where nothing is."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    start = time.process_time()
    try:
        with _limited():
            reader.read(directory, content)
    except EnvmatrixError as error:
        if not str(error) or not 1 <= error.exit_code < 126:
            return f"an error that says nothing, or exit code {error.exit_code}"
    except (Exception, _Hangs) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"{type(error).__name__} at {where}: {error}"[:300]
    if time.process_time() - start > MOST_SECONDS:
        return "it takes too long"
    return ""


def memory() -> int:
    """Return the most that this process had, in kilobytes, without what forked it."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0])
