"""The launcher of compilers, run by the shell of this machine with stand-ins for gcc and ccache."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import envmatrix

LAUNCHER = Path(envmatrix.__file__).parent / "sessions/launcher/compile-cached"

# Stands in for gcc: the object is a line about its source, and the assembler's list of what it
# read is as long as the source asks for. It preprocesses without comments.
GCC = """\
#!/bin/sh
for word; do
    case $word in
        -Wa,--MD,*) listing=${word#-Wa,--MD,} ;;
        -Wa\\\\,--MD\\\\,*) listing=${word##*,} ;;
        *.c) source=$word ;;
        *.o) output=$word ;;
    esac
done
case " $* " in *" -E "*) echo "# 1 \\"$source\\""; grep -v '^//' "$source"; exit ;; esac
echo "object of $source" >"$output"
grep -q silent "$source" || [ -z "${listing-}" ] \\
    || sed -n "s|^asm |$output: |p" "$source" >"$listing"
! grep -q broken "$source"
"""

# Stands in for ccache: it compiles always, and writes down its variables and arguments.
CCACHE = """\
#!/bin/sh
if [ "$1" = --version ]; then cat "$LAST/features" 2>/dev/null; exit; fi
env | grep -E '^S?CCACHE_' | LC_ALL=C sort >>"$LAST/calls"
echo "args $*" >>"$LAST/calls"
[ ! -e "$LAST/is-broken" ] || exit 3
if [ -e "$LAST/hits" ]; then cat "$LAST/hits" >>"${CCACHE_STATSLOG:-/dev/null}"; exit 0; fi
exec "$CCACHE_PREFIX" "$@"
"""


@dataclass
class Container:
    """Directories as a container has them, below one of this machine."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("image/bin", "src", "build", "cache", "tmp"):
            (self.root / name).mkdir(parents=True)
        for name, text in (("gcc-12", GCC), ("ccache", CCACHE)):
            program = self.root / "image/bin" / name
            program.write_text(text)
            program.chmod(0o755)
        (self.root / "src/a.c").write_text("int a;\n")

    def run(
        self, *argv: str, directory: str = "build", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        root = self.root
        environment = {
            "PATH": f"{root}/image/bin:/usr/bin:/bin",
            "ENVMATRIX_COMPILER_CACHE": "ccache",
            "ENVMATRIX_TOOLCHAIN": "toolchain",
            "ENVMATRIX_IMAGE": "image",
            "ENVMATRIX_IMAGE_ROOT": f"{root}/image",
            "ENVMATRIX_CACHE_DIRECTORY": f"{root}/cache",
            "ENVMATRIX_BUILD": f"{root}/build",
            "ENVMATRIX_SOURCES": f"{root}/src",
            "ENVMATRIX_SCRATCH": f"{root}/tmp",
            "LAST": str(root / "tmp"),
            **variables,
        }
        (root / "tmp/calls").unlink(missing_ok=True)
        (root / "build/compilations.log").unlink(missing_ok=True)
        return subprocess.run(
            [LAUNCHER, *argv],
            env=environment,
            cwd=root / directory,
            capture_output=True,
            text=True,
            check=False,
        )

    def compile(self, *options: str, **variables: str) -> str:
        """Return what became of a compilation, as the log has it."""
        source, output = str(self.root / "src/a.c"), "a.o"
        done = self.run("gcc-12", *options, "-c", source, "-o", output, **variables)
        assert done.returncode == 0, done.stderr
        assert (self.root / "build/a.o").read_text() == f"object of {source}\n"
        return self.log

    def compile_cuda(self, *options: str) -> None:
        """Compile with a stand-in for nvcc."""
        nvcc, source = self.root / "image/bin/nvcc", self.root / "src/a.cu"
        nvcc.write_text(GCC.replace("*.c)", "*.cu)"))
        nvcc.chmod(0o755)
        source.touch()
        self.run("nvcc", "-ccbin", "gcc-12", *options, "-c", str(source), "-o", "a.o")

    @property
    def log(self) -> str:
        file = self.root / "build/compilations.log"
        return file.read_text().replace(f"{self.root}/", "") if file.exists() else ""

    @property
    def ccache_calls(self) -> str:
        file = self.root / "tmp/calls"
        return file.read_text() if file.exists() else ""

    def key(self, *options: str, **variables: str) -> str:
        self.compile(*options, **variables)
        (line,) = (
            line
            for line in self.ccache_calls.splitlines()
            if line.startswith("CCACHE_COMPILERCHECK=")
        )
        return line


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_it_can_be_run_as_a_program() -> None:
    assert os.access(LAUNCHER, os.X_OK)
    subprocess.run(["sh", "-n", LAUNCHER], check=True)


def test_a_compilation_goes_through_the_cache(container: Container) -> None:
    assert container.compile("-O2") == "miss build/a.o\n"
    assert "CCACHE_NODIRECT=1" in container.ccache_calls


def test_a_hit_is_told_from_a_miss(container: Container) -> None:
    container.compile()
    (container.root / "tmp/hits").touch()
    assert container.compile() == "hit build/a.o\n"
    assert "CCACHE_REMOTE_STORAGE" not in container.ccache_calls


@pytest.fixture
def gateway(container: Container) -> Iterator[Container]:
    """A container with the socket of a gateway to the shared cache."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(container.root / "gateway"))
        yield container


def test_a_hit_of_the_shared_cache_is_told_from_one_of_this_machine(gateway: Container) -> None:
    variables = {"ENVMATRIX_CACHE_GATEWAY": str(gateway.root / "gateway")}
    (gateway.root / "tmp/features").write_text("Features: redis+unix-storage redis-storage\n")
    assert gateway.compile(**variables) == "miss build/a.o\n"
    for counter, result in (
        ("local_storage_hit", "hit"),
        ("remote_storage_read_hit", "hit"),
        ("remote_storage_hit", "shared"),
    ):
        (gateway.root / "tmp/hits").write_text(f"# a.c\n{counter}\n")
        assert gateway.compile(**variables) == f"{result} build/a.o\n"
    assert f"CCACHE_REMOTE_STORAGE=redis+unix:{gateway.root}/gateway|" in gateway.ccache_calls


def test_without_headers_of_the_system_a_shared_cache_needs_no_manifest(gateway: Container) -> None:
    """ccache would give the manifest and the result one key."""
    (gateway.root / "tmp/features").write_text("Features: redis+unix-storage\n")
    for file, mode in (("gateway", "CCACHE_NODIRECT=1"), ("none", "CCACHE_DEPEND=1")):
        (gateway.root / "tmp/.envmatrix-can-share").unlink(missing_ok=True)
        variables = {"ENVMATRIX_CACHE_GATEWAY": str(gateway.root / file)}
        gateway.compile("-MMD", "-MF", "a.d", **variables)
        assert mode in gateway.ccache_calls.splitlines()


def test_a_ccache_without_redis_is_used_without_the_shared_cache(gateway: Container) -> None:
    result = gateway.compile(ENVMATRIX_CACHE_GATEWAY=str(gateway.root / "gateway"))
    assert result == "miss build/a.o\n"
    assert "CCACHE_REMOTE_STORAGE" not in gateway.ccache_calls


# Stands in for sccache, which says what it was built with.
SCCACHE = """\
#!/bin/sh
if [ "$1" = --help ]; then echo "    Redis:     {redis}"; exit; fi
env | grep -E '^SCCACHE_(MULTI|REDIS)' | LC_ALL=C sort >>"$LAST/calls"  # {chain}
exec "$@"
"""


@pytest.mark.parametrize(
    ("redis", "chain", "uses_gateway"),
    [
        ("true", "SCCACHE_MULTILEVEL_CHAIN", True),
        ("true", "", False),
        ("false", "SCCACHE_MULTILEVEL_CHAIN", False),
    ],
)
def test_sccache_uses_the_shared_cache_behind_its_directory_or_not_at_all(
    gateway: Container, *, redis: str, chain: str, uses_gateway: bool
) -> None:
    program = gateway.root / "image/bin/sccache"
    program.write_text(SCCACHE.format(redis=redis, chain=chain))
    program.chmod(0o755)
    file = gateway.root / "gateway"
    gateway.compile(ENVMATRIX_COMPILER_CACHE="sccache", ENVMATRIX_CACHE_GATEWAY=str(file))
    chained = (
        f"SCCACHE_MULTILEVEL_CHAIN=disk,redis\nSCCACHE_REDIS_ENDPOINT=unix://localhost{file}\n"
    )
    assert gateway.ccache_calls == (chained if uses_gateway else "")


@pytest.mark.parametrize(
    "options",
    [
        ("-B/src/bin",),
        ("-wrapper", "/src/wrapper"),
        ("-fplugin=/src/plugin.so",),
        ("-specs=/src/specs",),
        ("-fprofile-use=/src/profile",),
        ("-march=native",),
        ("-mtune=native",),
        ("-Wa,--defsym,a=1",),
        ("-Wp,-MD,a.d",),
        ("-flto",),
        ("-save-temps",),
        ("--coverage",),
        ("-fmodules-ts",),
        ("-fsome-file=/src/x",),
        ("-x", "assembler"),
        ("--unheard-of",),
    ],
)
def test_what_is_not_known_to_be_cacheable_is_compiled_without_the_cache(
    container: Container, options: tuple[str, ...]
) -> None:
    log = container.compile(*options)
    assert log.startswith("uncached build/a.o (")
    assert container.ccache_calls == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "/src/spy.so"),
        ("COMPILER_PATH", "/src/bin"),
        ("GCC_EXEC_PREFIX", "/src/bin/"),
        ("LD_LIBRARY_PATH", "/build/lib"),
        ("DEPENDENCIES_OUTPUT", "deps"),
        ("CCACHE_DISABLE", "1"),
    ],
)
def test_variables_that_name_other_programs_turn_the_cache_off(
    container: Container, name: str, value: str
) -> None:
    assert container.compile(**{name: value}).startswith(f"uncached build/a.o ({name} ")
    assert container.ccache_calls == ""


@pytest.mark.parametrize("entry", ["{root}/build/bin", "bin", "", "/usr/../src/bin"])
def test_a_directory_of_programs_that_is_not_of_the_image_turns_the_cache_off(
    container: Container, entry: str
) -> None:
    entry = entry.format(root=container.root)
    path = f"{container.root}/image/bin:/usr/bin:/bin"
    assert container.compile(PATH=f"{path}:{entry}").startswith("uncached build/a.o (PATH has ")


def test_a_compiler_of_the_library_is_called_without_the_cache(container: Container) -> None:
    wrapper = container.root / "src/gcc-12"
    wrapper.write_text(GCC)
    wrapper.chmod(0o755)
    done = container.run(str(wrapper), "-c", f"{container.root}/src/a.c", "-o", "a.o")
    assert done.returncode == 0
    assert "is no gcc, clang or nvcc of the image" in container.log
    assert container.ccache_calls == ""


def test_a_link_of_the_library_to_a_compiler_of_the_image_is_that_compiler(
    container: Container,
) -> None:
    link = container.root / "src/compiler"
    link.symlink_to(container.root / "image/bin/gcc-12")
    container.run(str(link), "-c", f"{container.root}/src/a.c", "-o", "a.o")
    assert container.log == "miss build/a.o\n"


def test_all_variables_but_a_few_are_part_of_the_key(container: Container) -> None:
    key = container.key()
    assert container.key(MAKEFLAGS="-j8", JOBS="8", NINJA_STATUS="x", CCACHE_BASEDIR="/") == key
    for name in ("CPATH", "SOURCE_DATE_EPOCH", "LANG", "MY_COMPILER_WRAPPER"):
        assert container.key(**{name: "1"}) != key
    assert container.key(A="1\nB=2") != container.key(A="1", B="2")
    assert container.key(ENVMATRIX_TOOLCHAIN="another") != key


def test_people_in_a_container_share_keys_with_builds(container: Container) -> None:
    key = container.key(HOME="/tmp")
    editor = {"VSCODE_IPC_HOOK_CLI": "x", "REMOTE_CONTAINERS": "true", "TERM_PROGRAM": "x"}
    assert container.key(HOME="/home/dev", SHELL="/bin/bash", GIT_EDITOR="x", **editor) == key


def test_a_compiler_has_the_same_environment_without_the_cache(container: Container) -> None:
    """The launcher adds variables of its own, and the directory."""
    gcc = container.root / "image/bin/gcc-12"
    gcc.write_text(f'#!/bin/sh\nenv >"{container.root}/seen"\n{GCC}')
    for options in ((), ("-fplugin=x",)):
        container.compile(*options, HOME="/home/dev", SHELL="/bin/bash", EDITOR="x")
        lines = (container.root / "seen").read_text().splitlines()
        assert {"HOME=/home/dev", "SHELL=/bin/bash", "EDITOR=x"} <= {*lines}


def test_what_a_library_says_of_ccache_is_not_passed_on(container: Container) -> None:
    container.compile(
        CCACHE_DIR="/elsewhere",
        CCACHE_PREFIX_CPP="/src/evil",
        CCACHE_SLOPPINESS="include_file_mtime",
        CCACHE_CONFIGPATH="/src/ccache.conf",
    )
    assert "elsewhere" not in container.ccache_calls
    assert "evil" not in container.ccache_calls
    assert "SLOPPINESS" not in container.ccache_calls
    assert "CCACHE_CONFIGPATH=/dev/null" in container.ccache_calls
    assert "CCACHE_RECACHE" not in container.ccache_calls
    container.compile(CCACHE_RECACHE="1")
    assert "CCACHE_RECACHE=1" in container.ccache_calls


def test_what_an_assembler_reads_by_itself_is_not_stored(container: Container) -> None:
    """The other files that it lists do not exist: they are names in the compiler's text."""
    source = container.root / "src/a.c"
    source.write_text("asm /tmp/ccAbCdEf.s a.c blob.bin\n")
    assert container.compile() == "miss build/a.o\n"
    (container.root / "build/blob.bin").touch()
    assert container.compile() == "uncached build/a.o (its assembler reads blob.bin)\n"
    (container.root / "build/ccAbCdEf.s").touch()
    source.write_text("asm a.c ccAbCdEf.s\n")
    assert container.compile() == "uncached build/a.o (its assembler reads ccAbCdEf.s)\n"
    source.write_text("asm a.c a\\ b\n")
    assert "uncached" in container.compile()
    source.write_text("int silent;\n")
    assert container.compile() == "uncached build/a.o (its assembler does not say what it reads)\n"


def test_what_the_preprocessor_leaves_out_is_part_of_the_key(container: Container) -> None:
    key = container.key()
    with (container.root / "src/a.c").open("a") as source:
        source.write("// fall through\n")
    assert container.key() != key


def test_a_compilation_that_fails_is_tried_once_only(container: Container) -> None:
    (container.root / "src/a.c").write_text("broken\n")
    done = container.run("gcc-12", "-c", f"{container.root}/src/a.c", "-o", "a.o")
    assert done.returncode == 1
    assert container.log == "miss build/a.o\n"
    assert container.ccache_calls.count("args") == 1


def test_a_cache_that_fails_does_not_fail_the_build(container: Container) -> None:
    (container.root / "tmp/is-broken").touch()
    assert container.compile() == "uncached build/a.o (ccache ended with 3)\n"


def test_what_is_no_cache_is_removed_from_its_directory(container: Container) -> None:
    cache = container.root / "cache"
    (cache / "0/1").mkdir(parents=True)
    (cache / "0/1/0123456789abcdefR").write_text("object")
    (cache / "a").symlink_to("/nowhere")
    (cache / "b").write_text("no directory")
    os.mkfifo(cache / "0/1/fedcba9876543210R")
    (cache / "0/2").mkdir(mode=0o555)
    (cache / "0").chmod(0o555)
    container.compile()
    remaining = sorted(str(path.relative_to(cache)) for path in cache.rglob("*"))
    assert remaining == ["0", "0/1", "0/1/0123456789abcdefR", "0/2"]
    assert os.access(cache / "0/2", os.W_OK)


def test_response_files_are_read(container: Container) -> None:
    response = container.root / "build/a.rsp"
    response.write_text("-DA=1\n-O2")
    assert container.compile("@a.rsp") == "miss build/a.o\n"
    response.write_text("-DA=1 -fplugin=/src/plugin.so")
    assert "-fplugin=/src/plugin.so" in container.compile("@a.rsp")
    response.write_text("-DA='1 2'")
    assert "quotes" in container.compile("@a.rsp")


def test_linking_and_preprocessing_are_no_compilations(container: Container) -> None:
    container.run("gcc-12", f"{container.root}/src/a.c", "-o", "a.o")
    assert (container.log, container.ccache_calls) == ("", "")
    container.run("gcc-12", "-E", "-c", f"{container.root}/src/a.c", "-o", "a.o")
    assert (container.log, container.ccache_calls) == ("", "")


def test_a_precompiled_header_in_reach_turns_the_cache_off(container: Container) -> None:
    (container.root / "src/common.h.gch").touch()
    assert "a precompiled header is among the sources" in container.compile()


def is_found_by_files(container: Container, *options: str, **variables: str) -> bool:
    container.compile("-MD", "-MF", "/dev/null", *options, **variables)
    return "string:files" in container.ccache_calls


def test_links_out_of_the_source_leave_the_exact_lookup_only(container: Container) -> None:
    assert is_found_by_files(container)
    inside = container.root / "src/inside"
    inside.symlink_to("a.c")
    assert is_found_by_files(container)
    (container.root / "src/link").symlink_to(container.root / "elsewhere")
    assert not is_found_by_files(container)
    assert "string:text" in container.ccache_calls


@pytest.mark.parametrize(
    "option",
    [
        "-I/opt/elsewhere",
        "-I{root}/src/../elsewhere",
        "-I{root}/src/.git/headers",
        "-I{root}/src/build",
        "-DSTAMP=__TIME__",
        "-DASK=__has_include(<a.h>)",
        "-DJOIN(a,b)=a##b",
    ],
)
def test_what_names_do_not_settle_is_looked_up_by_its_text(
    container: Container, option: str
) -> None:
    assert not is_found_by_files(container, option.format(root=container.root))
    assert "string:text" in container.ccache_calls


def test_directories_of_variables_are_those_of_options(container: Container) -> None:
    assert is_found_by_files(container, CPATH=f"{container.root}/src:/usr/include")
    assert not is_found_by_files(container, CPATH=f"{container.root}/src:/opt/elsewhere")


def test_options_of_the_host_compiler_are_looked_into(container: Container) -> None:
    def log(*options: str) -> str:
        container.compile_cuda(*options)
        return container.log

    assert "uncached" not in log("-Xcompiler=-O2,-fPIC", "-gencode", "arch=compute_80,code=sm_80")
    for option in (
        "-Xcompiler=-O2 -fplugin=/src/p.so",
        "-Xcompiler=-march=native",
        "-Xcompiler=-include,/src/x.h",
        "-Xptxas=--options-file,/src/x",
        "-Xptxas=-optf=x",
        "-Xptxas=-v,--unheard-of",
        "-arch=native",
        "--keep",
        "-dlto",
        "-ccbin=/src/gcc-12",
        "--heard-of-never",
    ):
        assert log(option).startswith("uncached build/a.o ("), option


def test_an_option_that_ccache_takes_for_another_is_written_in_full(container: Container) -> None:
    container.compile_cuda("-G", "-MD", "-MF", "/dev/null")
    assert " --device-debug -MD -MF " in container.ccache_calls


# Stands in for Clang, which has no list of what its assembler read.
CLANG = """\
#!/bin/sh
for word; do
    case $word in
        -Wa,*) exit 1 ;;
        *.c | *.cu) source=$word ;;
        *.o) output=$word ;;
    esac
done
echo "$@" >>"$LAST/clang"
case " $* " in *" -E "*) echo "# 1 \\"$source\\""; cat "$source"; exit ;; esac
echo "object of $source" >"$output"
"""


@pytest.fixture
def clang(container: Container) -> Container:
    """A container with Clang as Debian has it: its names are links."""
    program = container.root / "image/lib/clang"
    program.parent.mkdir()
    program.write_text(CLANG)
    program.chmod(0o755)
    for name in ("clang-16", "aarch64-linux-gnu-clang-16"):
        (container.root / "image/bin" / name).symlink_to(program)
    (container.root / "src/a.cu").write_text("int a;\n")
    return container


def log_of_clang(
    container: Container,
    *options: str,
    program: str = "clang-16",
    source: str = "a.c",
    **variables: str,
) -> str:
    file = str(container.root / "src" / source)
    argv = [program, *options, "-c", file, "-o", "a.o"]
    done = container.run(*argv, **variables)
    assert done.returncode == 0, done.stderr
    assert (container.root / "build/a.o").read_text() == f"object of {file}\n"
    return container.log


def test_clang_goes_through_ccache_alone(clang: Container) -> None:
    assert log_of_clang(clang, "-O2", "--target=x86_64-linux-gnu") == "miss build/a.o\n"
    assert "CCACHE_COMPILERTYPE=clang" in clang.ccache_calls
    log = log_of_clang(clang, ENVMATRIX_COMPILER_CACHE="sccache")
    assert log == "uncached build/a.o (sccache is used for gcc only)\n"


def test_the_name_that_clang_is_called_by_is_part_of_the_key(clang: Container) -> None:
    """It is the target's."""
    keys = []
    for program in ("clang-16", "aarch64-linux-gnu-clang-16"):
        log_of_clang(clang, program=program)
        keys += [line for line in clang.ccache_calls.splitlines() if "COMPILERCHECK" in line]
    assert keys[0] != keys[1]


def test_clang_by_a_link_of_the_library_is_called_without_the_cache(clang: Container) -> None:
    """It would read a configuration beside the link."""
    link = clang.root / "src/clang"
    link.symlink_to(clang.root / "image/bin/clang-16")
    assert "is a link of the library" in log_of_clang(clang, program=str(link))


def test_cuda_of_clang_is_preprocessed_for_host_and_devices(clang: Container) -> None:
    arches = ("--cuda-gpu-arch=sm_80", "--offload-arch=sm_90")
    options = ("-x", "cuda", "--cuda-path=/usr/local/cuda", *arches, "-Xcuda-ptxas", "-v")
    assert log_of_clang(clang, *options, source="a.cu") == "miss build/a.o\n"
    called = (clang.root / "tmp/clang").read_text()
    assert " --cuda-compile-host-device -E" in called
    log_of_clang(clang, source="a.c")
    assert "-E" in (log := (clang.root / "tmp/clang").read_text().removeprefix(called))
    assert "--cuda-compile-host-device" not in log


@pytest.mark.parametrize(
    "option",
    [
        "-Xclang=-load",
        "-mllvm",
        "-fpass-plugin=p.so",
        "-fmodules",
        "-fimplicit-module-maps",
        "-fsanitize-ignorelist=list",
        "-fxray-attr-list=list",
        "-foptimization-record-file=x",
        "-fthinlto-index=x",
        "-ftime-trace",
        "-gsplit-dwarf=split",
        "-gmodules",
        "-save-temps=obj",
        "-ivfsoverlay",
        "--config=x",
        "--cuda-path=/src/cuda",
        "--cuda-gpu-arch=native",
        "--cuda-host-only",
        "-Xarch_device",
        "--gcc-toolchain=/src/gcc",
        "-resource-dir=/src",
        "-MJ",
        "-march=native",
    ],
)
def test_options_of_clang_that_read_or_write_more_are_not_cached(
    clang: Container, option: str
) -> None:
    assert log_of_clang(clang, option).startswith("uncached build/a.o (")
    assert clang.ccache_calls == ""


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ('asm("nop\\n\\t" "{ nop; }");', False),
        ('int f(void) __asm__("" "g");', False),
        ('asm volatile("mov %0, %1" : "=r"(a) : "r"(b));', False),
        ('asm(".incbin \\"blob\\"");', True),
        ('asm(".inc" "bin \\"blob\\"");', True),
        ('asm(".inc"\n"bin \\"blob\\"");', True),
        ('__asm__ __volatile__ (".INCLUDE \\"a.s\\"");', True),
        ('asm("\\x2eincbin \\"blob\\"");', True),
        ('asm(".macro m x\\n.inc\\\\x \\"blob\\"\\n.endm\\nm bin");', True),
        ('asm(R"(nop)");', True),
        ("__asm { nop }", True),
        ('char *text = ".incbin";', False),
    ],
)
def test_what_clang_is_given_to_assemble_is_searched_for_files(
    clang: Container, source: str, *, reads: bool
) -> None:
    (clang.root / "src/a.c").write_text(f"{source}\n")
    expected = "uncached build/a.o (its assembler may read files)" if reads else "miss build/a.o"
    assert log_of_clang(clang) == f"{expected}\n"


def test_assembly_of_the_image_is_that_of_its_packages(clang: Container) -> None:
    image, source = clang.root / "image", clang.root / "src/a.c"
    lines = [f'# 1 "{image}/a.h" 1', 'asm(".incbin");', f'# 2 "{source}" 2', "int a;"]
    source.write_text("\n".join(lines))
    assert log_of_clang(clang) == "miss build/a.o\n"
    # A name that the source gives to itself.
    source.write_text("\n".join([lines[0].removesuffix(" 1"), lines[1]]))
    assert "its assembler may read files" in log_of_clang(clang)


def test_clang_writes_checksums_of_files_into_debug_information(clang: Container) -> None:
    source = clang.root / "src/a.c"
    (clang.root / "src/a.h").write_text("#define A 1\n")
    source.write_text(f'# 1 "{clang.root}/src/a.h" 1\n# 2 "{source}" 2\nint a;\n')

    def key(*options: str) -> str:
        log_of_clang(clang, *options)
        return next(line for line in clang.ccache_calls.splitlines() if "COMPILERCHECK" in line)

    before = key(), key("-g")
    (clang.root / "src/a.h").write_text("#define A 2\n")
    after = key(), key("-g")
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


def test_a_check_of_cmake_is_compiled_under_names_that_are_always_the_same(
    container: Container,
) -> None:
    def check(name: str, target: str, text: str) -> tuple[str, str]:
        directory = f"build/CMakeFiles/CMakeScratch/TryCompile-{name}"
        output = f"CMakeFiles/{target}.dir/src.c.o"
        root = container.root / directory
        (root / output).parent.mkdir(parents=True)
        (root / f"{target}_loc").touch()
        (root / "src.c").write_text(text)
        argv = ["gcc-12", "-o", output, "-c", f"{root}/src.c"]
        done = container.run(*argv, directory=directory)
        assert done.returncode == 0, done.stderr
        assert (root / output).read_text() == f"object of {root.parent}/TryCompile/src.c\n"
        shutil.rmtree(root)
        return container.ccache_calls, container.log

    first, log = check("a1B2c3", "cmTC_0a1b2", "int a;\n")
    assert log == "miss build/CMakeFiles/CMakeScratch/TryCompile/CMakeFiles/cmTC.dir/src.c.o\n"
    assert check("d4E5f6", "cmTC_c3d4e", "int a;\n")[0] == first
    assert check("g7H8i9", "cmTC_f5a6b", "int b;\n")[0] != first


def test_a_check_whose_fixed_name_is_a_directory_is_compiled_under_its_own_name(
    container: Container,
) -> None:
    scratch = container.root / "build/CMakeFiles/CMakeScratch"
    check = scratch / "TryCompile-a1B2c3"
    (scratch / "TryCompile").mkdir(parents=True)
    output = check / "CMakeFiles/cmTC_0a1b2.dir/src.c.o"
    output.parent.mkdir(parents=True)
    (check / "src.c").write_text("int a;\n")
    argv = ["gcc-12", "-o", str(output.relative_to(check)), "-c", f"{check}/src.c"]
    done = container.run(*argv, directory=str(check.relative_to(container.root)))
    assert done.returncode == 0, done.stderr
    assert output.read_text() == f"object of {check}/src.c\n"
    assert sorted(file.name for file in scratch.iterdir()) == ["TryCompile", "TryCompile-a1B2c3"]


def test_names_of_all_files_are_part_of_the_key_that_dependencies_are_found_by(
    container: Container,
) -> None:
    def key() -> str:
        for name in ("tmp/.envmatrix-names",):  # as in a new container
            (container.root / name).unlink(missing_ok=True)
        container.compile("-MD", "-MF", "/dev/null", "-I", f"{container.root}/build")
        (line, *_) = (
            line for line in container.ccache_calls.splitlines() if "string:files" in line
        )
        assert "CCACHE_DEPEND=1" in container.ccache_calls
        return line

    def differs() -> bool:
        keys.append(key())
        return keys[-1] != keys[-2]

    keys = [key()]
    assert not differs()
    (container.root / "src/new.h").touch()
    assert differs()
    for name, changes in (
        ("new.h", True),
        ("CMakeFiles/late.h", True),
        ("Header", True),
        ("b.o", False),
        ("CMakeFiles/a.make", False),
        ("CMakeFiles/a.cudafe1.cpp", False),
    ):
        file = container.root / "build" / name
        file.parent.mkdir(exist_ok=True)
        file.touch(mode=0o755)
        assert differs() is changes, name
    program = container.root / "build/program"
    program.write_bytes(b"\x7fELF\2\1")
    program.chmod(0o755)
    assert not differs()
    link = container.root / "src/link"
    link.symlink_to("a.c")
    assert differs()
    link.unlink()
    link.symlink_to("new.h")
    assert differs()


def test_a_name_that_comes_while_the_container_runs_is_seen(container: Container) -> None:
    def key() -> str:
        container.compile("-MD", "-MF", "/dev/null")
        return next(line for line in container.ccache_calls.splitlines() if "string:files" in line)

    before = key()
    time.sleep(0.02)  # the kernel's clock of files is coarse
    (container.root / "src/new.h").touch()
    assert key() != before
