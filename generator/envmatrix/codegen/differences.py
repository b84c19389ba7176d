"""Differences of the kernels of two builds. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from envmatrix.codegen.kernels import Kernel, Kernels
from envmatrix.records import dataclass

# The most opcodes of a difference that are listed.
_MOST_OPCODES = 4

_RESOURCES = {
    "REG": "registers",
    "STACK": "bytes of stack",
    "SHARED": "bytes of shared memory",
    "LOCAL": "bytes of local memory",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of a kernel for GPU architectures: it was added, removed, or changed."""

    kernel: str
    architectures: Sequence[str]
    what: str

    def __str__(self) -> str:
        names = ", ".join(f"sm_{name}" for name in self.architectures)
        return f"{self.kernel} for {names}: {self.what}"


def differences(before: Kernels, after: Kernels) -> Sequence[Difference]:
    """Return what differs between the kernels of two builds, in the order of their names; those
    that are told alike of several architectures are one."""
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for architecture, name in sorted({*before, *after}):
        key = architecture, name
        for what in _of_kernel(before.get(key, ()), after.get(key, ())):
            grouped[name, what].append(architecture)
    return [Difference(name, names, what) for (name, what), names in sorted(grouped.items())]


def _of_kernel(before: Sequence[Kernel], after: Sequence[Kernel]) -> Iterator[str]:
    """Yield what differs between kernels of one name, usually one on each side."""
    common = [*before]
    left: list[Kernel] = []
    for kernel in after:
        if kernel in common:
            common.remove(kernel)
        else:
            left.append(kernel)
    pairs = min(len(common), len(left))
    for first, second in zip(common, left, strict=False):
        yield _change(first, second)
    yield from ("removed" for _ in common[pairs:])
    yield from ("added" for _ in left[pairs:])


def _change(before: Kernel, after: Kernel) -> str:
    numbers = [
        ("instructions", before.instructions, after.instructions),
        ("spills", before.spills, after.spills),
        *(
            (text, before.resources.get(word, 0), after.resources.get(word, 0))
            for word, text in _RESOURCES.items()
        ),
    ]
    words = [f"{first} to {second} {name}" for name, first, second in numbers if first != second]
    if opcodes := _opcodes(before.opcodes, after.opcodes):
        words.append(f"({opcodes})")
    if before.bounds != after.bounds:
        words.append(f"launch bounds {before.bounds or 'none'} to {after.bounds or 'none'}")
    if not words:
        words.append("the same instructions with other operands, or in another order")
    return ", ".join(words).replace(", (", " (")


def _opcodes(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return the opcodes whose number changed most."""
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    rows = sorted(changes.items(), key=lambda row: (-abs(row[1]), row[0]))
    return ", ".join(f"{name} {change:+}" for name, change in rows[:_MOST_OPCODES] if change)
