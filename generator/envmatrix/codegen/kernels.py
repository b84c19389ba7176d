"""Kernels of a file: their instructions, resources and launch bounds, by GPU architecture. Pure.

Source: https://docs.nvidia.com/cuda/cuda-binary-utilities. The output is that of programs in a
container about a file that another one made, so whatever is no known line is passed over, and each
kind of line has a limit.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import islice

from envmatrix.records import dataclass

_ARCHITECTURE = re.compile(r"^\s*(?:code for|arch =) sm_(\d{2,3}[af]?)\s*$")
_FUNCTION = re.compile(r"^\s*Function\s*:?\s*([\w.$]{1,4096}?)\s*:?\s*$")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,8}\*/\s+(.{1,400}?)\s*;?\s*/\* (0x[0-9a-f]{16}) \*/")
_ENCODING = re.compile(r"^\s*/\* (0x[0-9a-f]{16}) \*/\s*$")
_OPCODE = re.compile(r"^(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)")
_RESOURCE = re.compile(r"\b(REG|STACK|SHARED|LOCAL):(\d{1,9})\b")
_INFO = re.compile(r"^\.nv\.info\.([\w.$]{1,4096})$")
_BOUND = re.compile(r"^\s*Attribute:\s*EIATTR_(MAX_THREADS|REQNTID)\s*$")
_VALUE = re.compile(r"^\s*Value:\s*((?:0x[0-9a-f]{1,8}\s*){1,3})$")
# Names of what is local to a file have the length of a part that contains hashes of its path.
_LOCAL = re.compile(r"(\d{1,4})(?=_INTERNAL_|_GLOBAL__N_)")
_LAMBDA = re.compile(r"(U[lt][A-Za-z0-9_]{0,200}?E)\d{0,4}_")
_MOST_LINES = 50_000_000
# Instructions that move registers to memory and back.
_SPILLS = ("STL", "LDL")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function for a GPU architecture: the hash of its instructions with their encodings, which
    have the schedule as well; how often it has each opcode; and what it needs: registers, and bytes
    of the stack, of shared and of local memory. `bounds` are those of its launch."""

    code: str
    opcodes: Mapping[str, int] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    bounds: str = ""

    @property
    def instructions(self) -> int:
        return sum(self.opcodes.values())

    @property
    def spills(self) -> int:
        return sum(self.opcodes.get(name, 0) for name in _SPILLS)


# An architecture, such as 90, and the name of a function without what depends on the place of its
# source. Several functions may be left with one name.
Key = tuple[str, str]
Kernels = Mapping[Key, tuple[Kernel, ...]]


def stable_name(text: str) -> str:
    """Return a text with names that do not depend on the path of a file, nor on the number of other
    lambdas in it."""
    while match := _LOCAL.search(text):
        end = match.end() + int(match[1])
        text = f"{text[: match.start()]}<local>{text[end:]}"
    return _LAMBDA.sub(r"\1_", text)


def kernels(sass: Iterable[str], resources: Iterable[str], info: Iterable[str]) -> Kernels:
    """Return the kernels of a file, from lines of `cuobjdump --dump-sass`, `--dump-resource-usage`
    and `--dump-elf`."""
    numbers, bounds = dict(_resources(resources)), dict(_bounds(info))
    rows: dict[Key, list[Kernel]] = defaultdict(list)
    for key, lines, opcodes in _functions(sass):
        code = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        alone = "", key[1]  # a file of one architecture does not name it there
        needs = numbers.get(key) or numbers.get(alone, {})
        rows[key].append(Kernel(code, opcodes, needs, bounds.get(key) or bounds.get(alone, "")))
    return {key: tuple(sorted(group, key=lambda row: row.code)) for key, group in rows.items()}


def _functions(
    text: Iterable[str],
) -> Iterator[tuple[Key, Sequence[str], Mapping[str, int]]]:
    """Yield the functions with instructions, these with their encodings, and the numbers of
    opcodes."""
    architecture = ""
    key: Key = "", ""
    lines: list[str] = []
    opcodes: Counter[str] = Counter()
    for line in islice(text, _MOST_LINES):
        if match := _ENCODING.match(line):
            lines.append(match[1])
        elif match := _INSTRUCTION.match(line):
            lines.append(f"{stable_name(match[1])} {match[2]}")
            if opcode := _OPCODE.match(match[1]):
                opcodes[opcode[1]] += 1
        elif match := _ARCHITECTURE.match(line):
            architecture = match[1]
        elif match := _FUNCTION.match(line):
            if lines:
                yield key, lines, dict(opcodes)
            key, lines, opcodes = (architecture, stable_name(match[1])), [], Counter()
    if lines:
        yield key, lines, dict(opcodes)


def _resources(text: Iterable[str]) -> Iterator[tuple[Key, Mapping[str, int]]]:
    """Yield what functions need."""
    architecture = name = ""
    for line in islice(text, _MOST_LINES):
        if match := _ARCHITECTURE.match(line):
            architecture = match[1]
        elif match := _FUNCTION.match(line):
            name = stable_name(match[1])
        elif name and (numbers := _RESOURCE.findall(line)):
            yield (architecture, name), {word: int(number) for word, number in numbers}
            name = ""


def _bounds(text: Iterable[str]) -> Iterator[tuple[Key, str]]:
    """Yield the bounds of launches, as attributes have them: the most threads of a block."""
    architecture = name = attribute = ""
    for line in islice(text, _MOST_LINES):
        if match := _ARCHITECTURE.match(line):
            architecture = match[1]
        elif match := _INFO.match(line):
            name = stable_name(match[1])
        elif match := _BOUND.match(line):
            attribute = match[1]
        elif attribute and name and (match := _VALUE.match(line)):
            sizes = "x".join(str(int(word, 16)) for word in match[1].split())
            yield (architecture, name), f"{attribute} {sizes}"
            attribute = ""
