"""Random changes of a small project, each compiled with the compiler cache and without it, in a
container as a cell has it. What comes out has to be equal byte by byte."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from hypothesis import strategies as st

import envmatrix

PROGRAMS = Path(envmatrix.__file__).parent / "sessions/launcher"

# Files that a change writes, or removes, and what may be in them: few versions of each, so that
# states come back and are found in the cache.
_VALUES = ("1", "2", "3")
_MACROS = ["A", "B", "C", "D", "E", "F", "G", "H", "I"]


def _header(name: str) -> Sequence[str | None]:
    return [None, *(f"#define {name} {value}\n" for value in _VALUES)]


FILES: Mapping[str, Sequence[str | None]] = {
    # Found by all compilations; what shadows them is in a directory that is looked into first.
    "src/second/common.h": _header("A")[1:],
    "src/first/common.h": _header("A"),
    "src/second/deep/er.h": _header("B")[1:],
    "src/first/deep/er.h": _header("B"),
    # Looked for, and there or not.
    "src/first/optional.h": _header("C"),
    "build/generated/made.h": _header("D"),
    # Where links lead, where no sources are otherwise, and of a name like a program's.
    "src/second/config.h": _header("H")[1:],
    "src/va/config.h": _header("H"),
    "src/vb/config.h": _header("H"),
    "src/current": ["-> va", "-> vb", None],
    "build/current": ["-> /src/va", "-> /src/vb", None],
    "build/CMakeFiles/gen/common.h": _header("A"),
    "src/second/Config": _header("I")[1:],
    "build/generated/Config": _header("I"),
    "build/asked.h": _header("C"),
    # What no code uses.
    "src/second/stamp.h": [
        '#define STAMPED "1"\n',
        '#define STAMPED "2"\n',
        "#define STAMPED 3 /* fall through */\n",
    ],
    # For the host's compilation and the device's alone.
    "src/second/host.h": _header("E")[1:],
    "src/second/device.h": _header("F")[1:],
    "src/forced.h": _header("G")[1:],
    # Read by the assembler, by a compiler of the library, by gcc itself.
    "src/blob.bin": ["one", "two"],
    "src/flags": ["-DWRAPPED=1", "-DWRAPPED=2"],
    "src/a.rsp": ["-DRESPONSE=1", "-DRESPONSE=2", "-DRESPONSE='3'"],
    "src/ptx": ["-O0", "-O3"],
    "src/specs": ["*cpp:\n+ -DSPECS=1\n", "*cpp:\n+ -DSPECS=2\n"],
}

_WRAPPER = """\
#!/bin/sh
compiler=$1; shift
exec "$compiler" $(cat /src/flags) "$@"
"""
_INNER = '#!/bin/sh\nexec {compiler} $(cat /src/flags) "$@"\n'
_AS = '#!/bin/sh\nexec {assembler} --defsym assembled=$(wc -c </src/flags) "$@"\n'

_BODY = """\
#include "common.h"
#include <deep/er.h>
#include "config.h"
#include "Config"
#include "stamp.h"
#define _TEXT(x) #x
#define TEXT(x) _TEXT(x)
#if defined(__CUDA_ARCH__)
#include "device.h"
#else
#include "host.h"
#endif
"""
_ANSWER = f"""\
const char* answer() {{
  return TEXT(VERSION) __FILE__ {" ".join(f'"{name}=" TEXT({name})' for name in _MACROS)}
    TEXT(FLAG) TEXT(WRAPPED) TEXT(RESPONSE) TEXT(SPECS) TEXT(APPENDED) TEXT(PREPENDED);
}}
"""
_ASKED = """\
#if __has_include("optional.h")
#include "optional.h"
#endif
#if __has_include(<made.h>)
#include <made.h>
#endif
#ifdef ASKED
#if __has_include(ASKED)
#define FLAG asked
#endif
#endif
"""
# What a preprocessor leaves out: columns, and comments that warnings heed.
_SPACED = "int spaced(int a) { (void)0; return a * 2; }\n"
_WIDE = "int spaced(int a) { (void)0;     return a * 2; }\n"
_FALLING = "int falling(int a) { switch (a) { case 1: a = 2; case 3: a = 4; } return a; }\n"
_EXCUSED = """\
int falling(int a) {
  switch (a) {
    case 1: a = 2; /* fall through */
    case 3: a = 4;
  }
  return a;
}
"""
# The same object at all times.
_TIMED = '#define C(a, b) a##b\nstatic_assert(sizeof(STAMP) == 9, "");\n'
_SPLICED = 'static_assert(sizeof(__TI\\\nME__) == 9, "");\n'
_ASSEMBLED = 'asm(".section .blob,\\"a\\"\\n.incbin \\"/src/blob.bin\\"\\n.text");\n'
_INCLUDED = 'asm(".ifdef assembled\\n.globl seen\\nseen = assembled\\n.endif");\n'
_KERNEL = """\
__global__ void kernel(int* out) {
#ifdef __CUDA_ARCH__
  out[0] = F + A + VERSION;
#endif
}
"""

# The words of a dependency file: ccache writes its first line anew.
_NAMES = r"""names() { tr -s ' :\\\n' '\n' <"$1"; }"""


@dataclass(frozen=True, slots=True)
class State:
    """A source with all that decides its object."""

    language: str = "cpp"
    version: str = "1"
    extras: tuple[str, ...] = ()
    files: Mapping[str, str | None] = field(
        default_factory=lambda: {name: texts[0] for name, texts in FILES.items()}
    )
    options: tuple[str, ...] = ("-O1",)
    variables: tuple[tuple[str, str], ...] = ()
    compiler: str = "plain"
    directory: str = "/build"
    image: str = "one"


Change = tuple[str, object]

_OPTIONS = (
    ("-O0",),
    ("-O1",),
    ("-O2", "-g"),
    ("-O2", "-g3"),
    ("-O1", "-g", "-Werror=implicit-fallthrough"),
    ("-O1", "-DFLAG=1"),
    ("-O1", "-DFLAG=2"),
    ("-O1", "-include", "/src/forced.h"),
    ("-O1", "RESPONSE"),
    ("-O1", "-Isub/../../src/first"),
    ("-O1", "-I/src/current"),
    ("-O1", "-I/build/current"),
    ("-O1", "-I/src/../build/CMakeFiles/gen"),
    ("-O1", "-I/build/CMakeFiles/gen", "-I/src/current"),
    ("-O1", "-DASKED='\"/build/asked.h\"'"),
    ("-O1", "-DASKED='\"/build/asked.h\"'", "APART"),
    ("-O1", "JOINED"),
    ("-O1", "PTX"),
    ("-O1", "COMPRESSED"),
    ("-O1", "SEVERAL"),
    ("-O1", "-fno-inline", "-fPIC"),
)
_VARIABLES = (
    (),
    (("CPATH", "/src/first"),),
    (("CPLUS_INCLUDE_PATH", "/build/generated"),),
    (("NVCC_APPEND_FLAGS", "--objdir-as-tempdir -DAPPENDED=1"),),
    (("NVCC_APPEND_FLAGS", "--objdir-as-tempdir -DAPPENDED=2"),),
    (("NVCC_PREPEND_FLAGS", "-DPREPENDED=1"),),
    (("NVCC_PREPEND_FLAGS", "-DPREPENDED=2 -I/src/first"),),
    (("NVCC_APPEND_FLAGS", "--objdir-as-tempdir -optf /src/a.rsp"),),
    (("NVCC_PREPEND_FLAGS", "--options-file /src/a.rsp"),),
    (("CPATH", "/build/CMakeFiles/gen"),),
    (("PATH", "/src/bin:$PATH"),),
    (("COMPILER_PATH", "/src/bin"),),
    (("GCC_EXEC_PREFIX", "/src/bin/"),),
)


_EXTRAS = (
    (),
    ("spaced",),
    ("wide",),
    ("asked",),
    ("asked", "falling"),
    ("asked", "excused"),
    ("incbin",),
    ("assembled",),
)


def changes(languages: Sequence[str]) -> st.SearchStrategy[list[Change]]:
    """Return sequences of changes of a state."""
    file = st.sampled_from([(name, text) for name, texts in FILES.items() for text in texts])
    extras = st.sampled_from(_EXTRAS)
    compilers = ("plain", "plain", "plain", "wrapper", "inner", "link", "B", "specs")
    change = st.one_of(
        st.tuples(st.just("file"), file),
        st.tuples(st.just("file"), file),
        st.tuples(st.just("version"), st.sampled_from(_VALUES)),
        st.tuples(st.just("language"), st.sampled_from(languages)),
        st.tuples(st.just("options"), st.sampled_from(_OPTIONS)),
        st.tuples(st.just("variables"), st.sampled_from(_VARIABLES)),
        st.tuples(st.just("extras"), extras),
        st.tuples(st.just("compiler"), st.sampled_from(compilers)),
        st.tuples(st.just("directory"), st.sampled_from(("/build", "/build/sub"))),
        st.tuples(st.just("image"), st.sampled_from(("one", "other"))),
    )
    return st.lists(change, min_size=20, max_size=20)


def changed(state: State, change: Change) -> State:
    what, value = change
    if what == "file":
        return replace(state, files={**state.files, **dict([value])})  # type: ignore[list-item]
    return replace(state, **{what: value})  # type: ignore[arg-type]


class Differs(AssertionError):
    """An object of the cache is not the one that the compiler makes."""


@dataclass
class Laboratory:
    """A container that compiles: `c` and `cxx` are its host compilers, `cuda` that of CUDA, nvcc or
    Clang, `cache` is `ccache` or `sccache`. `results` counts what came out of the cache."""

    root: Path
    cache: str
    c: str
    cxx: str
    process: subprocess.Popen[str]
    cuda: str = "nvcc"
    results: Counter[str] = field(default_factory=Counter)
    compared: int = 0

    def check(self, state: State) -> str:
        """Compile a state twice and compare; return what the cache did."""
        self._write(state)
        compile_ = _command(state, self.c, self.cxx, self.cuda)
        variables = "".join(
            f"export {name}={value if '$' in value else shlex.quote(value)}\n"
            for name, value in state.variables
        )
        launched = state.language != "cu" or self.cache == "ccache"
        script = f"""
{_NAMES}
cd {state.directory}
rm -rf /tmp/.envmatrix-* /build/compilations.log out.o out.d
{variables}
export ENVMATRIX_IMAGE={state.image}
{"/opt/envmatrix/compile-cached" if launched else ""} {compile_} >/tmp/cached 2>&1; cached=$?
mv out.o /tmp/cached.o 2>/dev/null || : >/tmp/cached.o
mv out.d /tmp/cached.d 2>/dev/null || : >/tmp/cached.d
{compile_} >/tmp/plain 2>&1; plain=$?
[ -e out.o ] || : >out.o
[ -e out.d ] || : >out.d
result=$(head -n 1 /build/compilations.log 2>/dev/null)
if [ $cached != $plain ]; then echo "differ: status $cached and $plain $result"
elif ! cmp -s out.o /tmp/cached.o; then echo "differ: objects $result"
elif [ "$(names out.d)" != "$(names /tmp/cached.d)" ]; then echo "differ: dependencies $result"
elif [ $plain != 0 ]; then echo "failed $(tail -n 1 /tmp/plain)"
else echo "${{result:-uncached}}"; fi
"""
        (self.root / "driver/step.sh").write_text(script)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().strip()
        self.compared += 1
        result = line.partition(" ")[0]
        self.results[result] += 1
        if result not in ("hit", "shared", "miss", "uncached", "failed"):
            raise Differs(f"{line or 'nothing was said'}\n{state}\n{compile_}")
        return result

    def _write(self, state: State) -> None:
        for name, text in state.files.items():
            _put(self.root / name, text)
        for extension in ("c", "cpp", "cu"):
            text = _source(state) if extension == state.language else None
            _put(self.root / f"src/unit.{extension}", text)
        inner = _INNER.format(compiler=self.cxx if state.language == "cpp" else self.c)
        assembler = re.sub(r"(clang|g)\+\+.*", "as", self.cxx)
        for name, text in (
            ("wrapper", _WRAPPER),
            ("bin/inner-g++", inner),
            ("bin/as", _AS.format(assembler=f"/usr/bin/{assembler}")),
        ):
            file = self.root / "src" / name
            _put(file, text)
            file.chmod(0o755)
        link = self.root / "src/bin/link"
        if not link.is_symlink():
            link.symlink_to(f"/usr/bin/{self.cxx}")


def _put(file: Path, text: str | None) -> None:
    """Write a file or a link if it differs: compilers are told by times, and so are caches."""
    target = text.removeprefix("-> ") if text and text.startswith("-> ") else None
    if target and file.is_symlink() and file.readlink() == Path(target):
        return
    if text is None or file.is_symlink():
        file.unlink(missing_ok=True)
    if text is None:
        return
    if target:
        file.symlink_to(target)
    elif not file.exists() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if not file.suffix:
            file.chmod(0o755)


def _source(state: State) -> str:
    extras = {
        "asked": _ASKED,
        "timed": _TIMED,
        "spliced": _SPLICED,
        "incbin": _ASSEMBLED,
        "included": _ASSEMBLED.replace(".incbin", ".include").replace("blob.bin", "ccblob12.s"),
        "assembled": _INCLUDED,
        "spaced": _SPACED,
        "wide": _WIDE,
        "falling": _FALLING,
        "excused": _EXCUSED,
    }
    parts = [f"#define VERSION {state.version}\n", _BODY, *(extras[name] for name in state.extras)]
    if state.language == "cu":
        parts += ["#ifndef __CUDA_ARCH__\n", _ANSWER, "#endif\n", _KERNEL]
    else:
        parts.append(_ANSWER)
    return "".join(parts)


def _command(state: State, c: str, cxx: str, cuda_compiler: str) -> str:
    host = c if state.language == "c" else cxx
    own = {"inner": "/src/bin/inner-g++", "link": "/src/bin/link"}.get(state.compiler, host)
    cuda = state.language == "cu" and cuda_compiler == "nvcc"
    if state.language == "cu" and not cuda:
        words = [cuda_compiler, "-x", "cuda", "--cuda-path=/usr/local/cuda"]
        words += ["-Wno-unknown-cuda-version", "--cuda-gpu-arch=sm_75", "--cuda-gpu-arch=sm_80"]
    elif cuda:
        own = "/src/bin/inner-g++" if state.compiler == "inner" else cxx
        words = ["nvcc", "-ccbin", own, "-gencode", "arch=compute_80,code=sm_80"]
        words += ["-forward-unknown-to-host-compiler", "-x", "cu"]
    else:
        words = [own]
    if state.compiler == "wrapper":
        words.insert(0, "/src/wrapper")
    if state.compiler == "B" and state.language != "cu":
        words.append("-B/src/bin")
    if state.compiler == "specs" and state.language != "cu":
        words.append("-specs=/src/specs")
    written = {
        "RESPONSE": "--options-file /src/a.rsp" if cuda else "@/src/a.rsp",
        "JOINED": "--options-file=/src/a.rsp" if cuda else "",
        "PTX": "-Xptxas -optf=/src/ptx" if cuda else "",
        "COMPRESSED": "-Xfatbin -compress-all -extra-device-vectorization" if cuda else "",
        "SEVERAL": "-I/src/first,/build/CMakeFiles/gen" if cuda else "",
        "APART": "",
    }
    options = [written.get(word, word) for word in state.options]
    generated = [] if "APART" in state.options else ["-I/build/generated"]
    includes = ["-I/src/first", *generated, "-I/src/second"]
    outputs = ["-MD", "-MT", "out.o", "-MF", "out.d"]
    return " ".join(
        [*words, *options, *includes, *outputs, "-c", f"/src/unit.{state.language}", "-o", "out.o"]
    )


def container(
    root: Path,
    cache: str,
    mounts: Sequence[str] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Return the command that starts a container as a cell has it, but for its image and command;
    `root` has the directories `src`, `build` and `cache`."""
    volumes = [
        f"{root}/src:/src:ro",
        f"{root}/build:/build",
        f"{root}/cache:/ccache",
        f"{PROGRAMS}:/opt/envmatrix:ro",
        *mounts,
    ]
    environment = {
        "ENVMATRIX_COMPILER_CACHE": cache,
        "ENVMATRIX_TOOLCHAIN": "toolchain",
        "NVCC_APPEND_FLAGS": "--objdir-as-tempdir",
        **variables,
    }
    return [
        *("docker", "run", "--rm", "--interactive", "--init", "--network=none", "--read-only"),
        *("--cap-drop=ALL", "--tmpfs=/tmp:exec,mode=1777", f"--user={os.getuid()}:{os.getgid()}"),
        *(f"--volume={volume}" for volume in volumes),
        *(f"--env={name}={value}" for name, value in environment.items()),
    ]


@contextmanager
def laboratory(
    root: Path, image: str, cache: str, compilers: tuple[str, ...], mounts: Sequence[str] = ()
) -> Iterator[Laboratory]:
    """Have a container of `image` for as long as the block runs. `compilers` are those of C, C++
    and, if it is not nvcc, of CUDA."""
    for name in ("src/bin", "build/sub", "build/generated", "cache", "driver"):
        (root / name).mkdir(parents=True, exist_ok=True)
    argv = [
        *container(root, cache, [f"{root}/driver:/driver:ro", *mounts]),
        *(image, "sh", "-c", "echo begun; while read -r _; do sh /driver/step.sh </dev/null; done"),
    ]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        if process.stdout and not process.stdout.readline():
            raise RuntimeError(f"`{image}` does not start: build it with `envmatrix build`")
        c, cxx, *others = compilers
        cuda = others[0] if others else "nvcc"
        yield Laboratory(root, cache, c, cxx, process, cuda=cuda)
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait()
        if process.stdout:
            process.stdout.close()
