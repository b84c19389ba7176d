"""What an image lets a build find, by plain `docker run`: no variable, no mount and no user of
`envmatrix run`."""

from __future__ import annotations

import docker
import pytest
from tests.integration.conftest import CELL, CROSSED, ENVIRONMENT, ROOT, Envmatrix

from envmatrix.render.devcontainer import ADD_USER

LIBRARIES = ROOT / "tests/libraries"
DEVEL, CROSS = (f"envmatrix/{ENVIRONMENT}:{flavour}-amd64" for flavour in ("devel", "cross"))

# Without a path or an option that says where CUDA is; `ld` is called by build systems, too.
_LINK = """
$CC -fPIC -c -o driver.o /src/toolchain/driver.c
$CC -shared -o libdriver.so driver.o -lcuda -lcudart
$CC -o program /src/toolchain/program.c -L. -ldriver
${LD:-ld} -shared -o linked.so driver.o -lcuda
readelf --dynamic libdriver.so program linked.so
"""
_BUILD = """
cmake -S /src/$1 -B $1 -G Ninja >log && cmake --build $1 >>log || { cat log; exit 1; }
readelf --dynamic $1/*.so
"""
_READ = """
nvcc -cubin -arch=sm_80 -o code /src/toolchain/device.cu --relocatable-device-code=true
cuobjdump --dump-sass code | grep -q IADD && nvdisasm code | grep -q IADD
"""
_OMITTED = """
ls -d /usr/bin/cpack /usr/bin/*gold /usr/bin/*lto-dump* /usr/share/cmake-*/Help/* /usr/share/perl \\
  2>/dev/null || true
"""
_OPTIMISE = """
echo 'int main(void) { return 0; }' >main.c
$CC -flto -o optimised main.c && $CC -fsanitize=address,undefined -o checked main.c
echo 'cmake_minimum_required(VERSION 3.20)
project(a C)
include(CPack)' >CMakeLists.txt
cmake -S . -B build -G Ninja >log || { cat log; exit 1; }
"""
_DAMAGED = """
dpkg --audit
dpkg --verify | grep -v '^missing' || true
find /usr/bin /usr/local/bin -xtype l
"""


@pytest.fixture(scope="module", params=["devel", "cross"])
def image(request: pytest.FixtureRequest, envmatrix: Envmatrix) -> str:
    envmatrix("build", "--select", CELL if request.param == "devel" else CROSSED)
    return DEVEL if request.param == "devel" else CROSS


def _output(engine: docker.DockerClient, image: str, script: str, *arguments: str) -> str:
    """Return what a shell prints in an image, as a user that it does not know."""
    printed: bytes = engine.containers.run(
        image,
        ["sh", "-euc", f"cd /work\n{script}", "sh", *arguments],
        remove=True,
        stderr=True,
        network_mode="none",
        user="4321:4321",
        tmpfs={"/work": "mode=1777,exec"},
        volumes={str(LIBRARIES): {"bind": "/src", "mode": "ro"}},
    )
    return printed.decode()


def _linker(image: str) -> str:
    return "export LD=aarch64-linux-gnu-ld\n" if image == CROSS else ""


def test_libraries_are_linked_without_a_directory(engine: docker.DockerClient, image: str) -> None:
    output = _output(engine, image, _linker(image) + _LINK)

    assert output.count("[libcuda.so.1]") == 2, "by a library alone, not by the program over it"
    assert "stubs" not in output


@pytest.mark.parametrize("library", ["toolchain", "legacy"])
def test_cmake_finds_what_the_toolkit_has(
    engine: docker.DockerClient, image: str, library: str
) -> None:
    output = _output(engine, image, _BUILD, library)

    assert "[libcuda.so.1]" in output
    assert "stubs" not in output


def test_files_that_builds_do_not_open_are_omitted(engine: docker.DockerClient, image: str) -> None:
    assert _output(engine, image, _OMITTED) == ""


def test_what_remains_optimises_while_linking_and_checks_programs(
    engine: docker.DockerClient, image: str
) -> None:
    assert _output(engine, image, _OPTIMISE) == ""


def test_the_files_of_layers_are_those_of_the_packages(
    engine: docker.DockerClient, image: str
) -> None:
    assert _output(engine, image, _DAMAGED) == ""


def test_programs_of_the_toolkit_read_what_it_makes(
    engine: docker.DockerClient, envmatrix: Envmatrix
) -> None:
    envmatrix("build", "--select", CELL)
    _output(engine, DEVEL, _READ)


def test_names_that_are_not_ascii_are_characters(engine: docker.DockerClient, image: str) -> None:
    assert _output(engine, image, "locale charmap").strip() == "UTF-8"


def test_the_user_of_a_development_container_has_a_number_of_its_own(
    engine: docker.DockerClient, envmatrix: Envmatrix
) -> None:
    envmatrix("build", "--select", CELL)
    script = f"""
useradd --uid 1000 first; useradd --uid 1001 second
cat >/tmp/add.sh <<'EOF'
{ADD_USER.format(banner="")}
EOF
sh /tmp/add.sh
for name in dev first second; do id --user $name; done
"""
    output = engine.containers.run(
        DEVEL, ["sh", "-euc", script], remove=True, network_mode="none"
    ).decode()

    assert output.split() == ["1000", "60000", "60001"]
