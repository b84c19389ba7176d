"""Libraries that attack the machine that builds them, as a table: what each does in its container,
and what it may come to.

In commands `{V}` is a directory on the machine that belongs to the case and that nothing may touch,
`{p}` the file below /build that the host reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SHARED = "echo 'int x;' | ${CC:-gcc} -shared -fPIC -xc - -o /build/libx.so"

GOOD: Mapping[str, Any] = {
    "path": "empty",
    "build": {"system": "script", "commands": [SHARED]},
    "test": {"framework": "commands", "run": ["test -e /build/libx.so"]},
    "artifacts": ["libx.so"],
}

ANY = frozenset({"passed", "failed", "errored", "skipped", "flaky"})
PASSED = frozenset({"passed"})
REFUSED = frozenset({"failed", "errored"})


@dataclass(frozen=True)
class Case:
    """`states` is what the last run may come to."""

    name: str
    library: Mapping[str, Any]
    states: frozenset[str] = ANY
    seconds: float = 10


@dataclass(frozen=True)
class Group:
    """Cases that are run together, by `verb`, `runs` times."""

    name: str
    verb: str
    cases: Sequence[Case]
    runs: int = 1
    arguments: Sequence[str] = field(default=())


SOCKET = (
    "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0);bind(S,sockaddr_un($ARGV[0]))or die' {p}"
)

# What can be where the host expects a file: how it is made.
KINDS: Mapping[str, str] = {
    "link-to-file": "ln -s {V}/file {p}",
    "link-to-directory": "ln -s {V}/directory {p}",
    "link-to-parent": "ln -s ../../../../../../../..{V}/file {p}",
    "link-to-nothing": "ln -s {V}/nothing {p}",
    "link-to-itself": "ln -s {p} {p}",
    "link-to-device": "ln -s /dev/zero {p}",
    "fifo": "mkfifo {p}",
    "socket": f"cd $(dirname {{p}}); {SOCKET.replace('{p}', '$(basename {p})')}",
    "directory": "mkdir -p {p}/a/b",
    "empty": ": >{p}",
    "sparse": "truncate -s 1T {p}",
    "garbage": "printf '\\377\\376\\000\\033[31m%s' '::error::owned' >{p}",
    "brackets": "perl -e 'print \"[\" x 200000' >{p}",
    "types": 'echo \'{"stats":{"cache_hits":[1],"cache_misses":{"counts":{"a":"b"}}}}\' >{p}',
    "unreadable": "echo x >{p}; chmod 000 {p}",
}

# What the host reads of every build, and what a build comes to whatever is there.
PLACES: Mapping[str, frozenset[str]] = {
    "/build/compilations.log": PASSED,
    "/build/site": ANY,
    "/build/wheels": ANY,
    "/build/wheels/a-1-py3-none-any.whl": ANY,
    "/build/libx.so": ANY,
}

# What the host reads before the next build.
SOURCES = ("/build/source", "/build/source/file.txt", "/build/source/.envmatrix-copied")

PUT = "rm -rf {p}; mkdir -p $(dirname {p}); "


def library(*commands: str, seconds: int = 60, **changes: Any) -> dict[str, Any]:
    build = {"system": "script", "commands": [SHARED, *commands], "timeout": seconds}
    return {**GOOD, "build": build, **changes}


def name_of(place: str, kind: str) -> str:
    plain = place.rpartition("/")[2].lower().strip(".").replace("_", "-")
    return f"{plain}.{kind}".replace("-1-py3-none-any", "")


def places() -> Iterator[Case]:
    for place, states in PLACES.items():
        for kind, command in KINDS.items():
            script = (PUT + command).replace("{p}", place)
            yield Case(name_of(place, kind), library(f"( {script} ) || true"), states)


def sources() -> Iterator[Case]:
    for place in SOURCES:
        for kind, command in KINDS.items():
            script = (PUT + command).replace("{p}", place)
            yield Case(name_of(place, kind), library(f"( {script} ) || true"))
    yield Case(
        "copied.absolute",
        library("""printf '["%s"]' {V}/file >/build/source/.envmatrix-copied"""),
        PASSED,
    )
    yield Case(
        "copied.parent",
        library(
            """printf '["../../../../../../../..%s"]' {V}/file >/build/source/.envmatrix-copied"""
        ),
        PASSED,
    )
    yield Case(
        "source.deep",
        library("cd /build/source; for i in $(seq 300); do mkdir -p d; cd d; done; touch x"),
        PASSED,
    )
    yield Case(
        "source.names",
        library("cd /build/source; touch $'new\\nline' $'\\033[31mred' $'\\377' -- -rf"),
        PASSED,
    )


# Acts as a program of GoogleTest does: writes the report that an option names.
PROGRAM = """\
for argument; do case $argument in --gtest_output=xml:*) report=${argument#*xml:};; esac; done
"""


def googletest(lines: str) -> dict[str, Any]:
    """Return a library whose only test program runs `lines`, which know `$report`."""
    write = (
        f"cat >/build/a_test <<'END'\n#!/bin/bash\n{PROGRAM}{lines}\nEND\nchmod +x /build/a_test"
    )
    test = {"framework": "googletest", "run": ["*_test"], "timeout": 30}
    return {**library(write), "test": test}


def text(content: str) -> str:
    """Write a report with this content."""
    return f"cat >$report <<'XML'\n{content}\nXML"


def suite(*cases: str) -> str:
    return text(f"<testsuite>{''.join(cases)}</testsuite>")


def repeated(line: str, program: str) -> str:
    """Write a report that has a line many times."""
    return f"(echo '<testsuite>'; yes '{line}' | {program}; echo '</testsuite>') >$report"


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 9))
BOMB = f'<!DOCTYPE a [<!ENTITY e0 "bomb">{ENTITIES}]><testsuite><testcase name="&e8;"/></testsuite>'
EXTERNAL = (
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file://{V}/file">]>'
    '<testsuite><testcase name="a"><failure>&b;</failure></testcase></testsuite>'
)
ATTRIBUTES = " ".join(f'a{number}=""' for number in range(3_000))
NAMES = ("&#10;::error::owned", "&#x9b;31m&#x202e;", "##vso[task.complete result=Failed;]")
BIND = SOCKET.replace("{p}", "a_test.xml")

REPORTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "nan": (suite('<testcase name="a" time="nan"/>'), ANY),
    "infinity": (suite('<testcase name="a" time="1e999"/>'), ANY),
    "negative": (suite('<testcase name="a" time="-5"/>'), ANY),
    "comma": (suite('<testcase name="a" time="1,5e3x"/>'), ANY),
    "encoding": (text('<?xml version="1.0" encoding="bogus"?><testsuite/>'), REFUSED),
    "utf7": (text('<?xml version="1.0" encoding="utf-7"?><testsuite/>'), ANY),
    "utf16": (text('<?xml version="1.0" encoding="utf-16"?><testsuite/>'), REFUSED),
    "binary": ("head -c 100000 /dev/urandom >$report", REFUSED),
    "deep": ("perl -e 'print q(<a>) x 200000' >$report", REFUSED),
    "large": (repeated("<!-- padding padding padding -->", "head -c 200000000"), ANY),
    "cases": (repeated('<testcase name="a"/>', "head -n 3000000"), ANY),
    "attributes": (suite(f'<testcase name="a" {ATTRIBUTES}/>'), ANY),
    "bomb": (text(BOMB), REFUSED),
    "external": (text(EXTERNAL), ANY),
    "names": (suite(*(f'<testcase name="{name}"/>' for name in NAMES)), ANY),
    "long-name": (suite(f'<testcase name="{"a" * 50_000}"/>'), ANY),
    "no-name": (suite("<testcase/>"), ANY),
    "other-root": (text("<html/>"), ANY),
    "empty": (": >$report", REFUSED),
    "none": (":", REFUSED),
    "directory": ("mkdir $report", REFUSED),
    "fifo": ("mkfifo $report", REFUSED),
    "link-to-file": ("ln -s {V}/report.xml $report", REFUSED),
    "link-to-nothing": ("ln -s {V}/nothing $report", REFUSED),
    "link-to-device": ("ln -s /dev/zero $report", REFUSED),
    "sparse": ("truncate -s 1T $report", REFUSED),
    "unreadable": ("echo x >$report; chmod 000 $report", REFUSED),
    "socket": (f"cd /build/reports; {BIND}", REFUSED),
    "reports-link": ("rm -rf /build/reports; ln -s {V}/directory /build/reports", REFUSED),
    "reports-file": ("rm -rf /build/reports; echo >/build/reports", REFUSED),
    "setuid": (suite('<testcase name="a"/>') + "\nchmod u+s /build/a_test", ANY),
}


def reports() -> Iterator[Case]:
    for name, (lines, states) in REPORTS.items():
        yield Case(f"report.{name}", googletest(lines), states, seconds=30)


ESCAPES = "printf '\\033]0;owned\\007\\233 \\342\\200\\256 ::error::owned\\n::add-mask::x\\n' >&2"

PRINTED: Mapping[str, tuple[str, frozenset[str]]] = {
    "mark": ("printf '\\036envmatrix %s\\n' {V}/file; echo text", PASSED),
    "mark-parent": ("printf '\\036envmatrix ../../../../../../../..%s\\n' {V}/file; echo", PASSED),
    "mark-null": ("printf '\\036envmatrix a\\000b\\n'; echo text", PASSED),
    "mark-long": ("printf '\\036envmatrix %s\\n' $(head -c 300 /dev/zero | tr '\\0' a)", PASSED),
    "mark-many": ("for i in $(seq 5000); do printf '\\036envmatrix step%s\\n' $i; done", PASSED),
    "escapes": (f"{ESCAPES}; false", REFUSED),
    "one-line": ("head -c 400000000 /dev/zero | tr '\\0' a", ANY),
    "long-lines": (
        "for i in $(seq 2000); do head -c 65600 /dev/zero | tr '\\0' a; echo; done",
        ANY,
    ),
    "empty-lines": ("yes '' | head -c 60000000", ANY),
    "binary": ("head -c 3000000 /dev/urandom", PASSED),
    "nothing": (":", PASSED),
    "other-exit": ("exit 255", REFUSED),
    "signal": ("kill -SEGV $$", REFUSED),
}

FILES: Mapping[str, tuple[str, frozenset[str], Sequence[str]]] = {
    "glob-through-link": ("ln -s {V}/directory /build/lib", ANY, ["libx.so", "lib/*"]),
    "glob-through-etc": ("ln -s /etc /build/lib", ANY, ["libx.so", "lib/*"]),
    "deep": (
        "cd /build; for i in $(seq 300); do mkdir -p d; cd d; done; touch x.so",
        ANY,
        ["libx.so", "**/*.so"],
    ),
    "many": ("mkdir /build/m; cd /build/m; seq 20000 | xargs touch", ANY, ["libx.so", "m/*"]),
    "names": (
        "cd /build; cp libx.so $'a\\nb.so'; cp libx.so $'\\033[31m.so'; cp libx.so $'\\377.so'",
        ANY,
        ["libx.so", "*.so"],
    ),
    "elf-header": ("head -c 20 /build/libx.so >/build/liby.so", ANY, ["libx.so", "liby.so"]),
    "pe-header": (
        "(printf MZ; head -c 58 /dev/zero; printf '\\377\\377\\377\\377') >/build/liby.so",
        ANY,
        ["libx.so", "liby.so"],
    ),
    "sparse": ("truncate -s 1T /build/liby.so", ANY, ["libx.so", "liby.so"]),
    "setuid": ("cp /bin/sh /build/sh; chmod 6755 /build/sh", ANY, ["libx.so", "sh"]),
    "device": ("mknod /build/null c 1 3 || true", ANY, ["libx.so", "null*"]),
    "no-permissions": ("mkdir /build/d; chmod 000 /build/d", ANY, ["libx.so", "d/*"]),
    "build-permissions": ("chmod 000 /build", ANY, ["libx.so"]),
}

# What is done to the compiler cache of the trust group.
CACHE: Mapping[str, str] = {
    "prefix": "echo 'prefix_command = touch /build/owned' >/ccache/ccache.conf || true",
    "garbage": "printf '\\377garbage' >/ccache/ccache.conf || true",
    "link": "rm -rf /ccache/ccache.conf; ln -s {V}/file /ccache/ccache.conf || true",
    "removed": "rm -rf /ccache/* || true",
    "directories": "cd /ccache; for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f tmp; do rm -rf $i; "
    "ln -s {V}/nothing $i; done || true",
    "permissions": "chmod -R 0555 /ccache || true",
    "setuid": "cp /bin/sh /ccache/sh; chmod 6777 /ccache/sh || true",
}

# Compiles as CMake does, with the cache that the library before left; nothing of that runs.
VICTIM = (
    "echo 'int y;' >/build/y.c; cd /build; "
    "/opt/envmatrix/compile-cached ${CC:-gcc} -c y.c -o y.o; test ! -e /build/owned"
)


def outputs() -> Iterator[Case]:
    for name, (command, states) in PRINTED.items():
        yield Case(f"printed.{name}", library(command, seconds=12), states, seconds=22)
    for name, (command, states, patterns) in FILES.items():
        yield Case(f"made.{name}", library(command, artifacts=patterns), states)
    for name, command in CACHE.items():
        yield Case(f"cache.{name}", library(command))
        yield Case(f"cache.{name}.victim", library(VICTIM), PASSED)


def groups() -> Sequence[Group]:
    return (
        Group("places", "compile", tuple(places())),
        Group("sources", "compile", tuple(sources()), runs=2),
        Group("reports", "test", tuple(reports())),
        Group("outputs", "compile", tuple(outputs())),
    )
