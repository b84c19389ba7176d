from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import artifact

from envmatrix.images.stages import (
    Add,
    Argument,
    BindMount,
    Copy,
    RunStep,
    Stage,
    StepScript,
    assignments,
    dependencies_of,
    mirror_argument,
)

FILE = replace(artifact("a"), origin="ubuntu-ports", path="pool/a.deb", sha256="1" * 64)
INSTALL = StepScript("install.deb.sh", "true\n", "install.sh")


def test_a_stage_is_an_instruction_after_the_other() -> None:
    stage = Stage("files", "scratch", (Argument("A"), Add(FILE)))
    assert stage.text == (
        "FROM scratch AS files\n"
        "ARG A\n"
        f"ADD --checksum=sha256:{'1' * 64} \\\n"
        "    ${UBUNTU_PORTS_MIRROR}/pool/a.deb /\n"
    )


def test_a_base_has_the_platform_that_it_is_for() -> None:
    assert Stage("base", "image:1", platform="linux/arm64").text == (
        "FROM --platform=linux/arm64 image:1 AS base\n"
    )


def test_a_run_has_no_network_and_an_option_in_each_line() -> None:
    run = RunStep("sh /scripts/install.sh", (BindMount("files", "/files"),), (INSTALL,))
    assert str(run).splitlines() == [
        "RUN --network=none \\",
        "    --mount=type=bind,from=files,target=/files \\",
        "    --mount=type=bind,source=scripts/install.deb.sh,target=/scripts/install.sh \\",
        "    sh /scripts/install.sh",
    ]


def test_several_commands_are_a_document() -> None:
    assert str(RunStep("a\nb\n", (BindMount("x", "/y", "/z"),))) == (
        "RUN --network=none \\\n"
        "    --mount=type=bind,from=x,source=/z,target=/y \\\n"
        "    <<'EOF'\na\nb\nEOF"
    )


def test_a_linked_copy_is_a_layer_of_its_own() -> None:
    assert str(Copy("tree", "/a/", is_linked=True)) == "COPY --link --from=tree /a/ /"
    assert str(Copy("part")) == "COPY --from=part / /"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/usr/bin:/bin", "A=/usr/bin:/bin"),
        ("75;80", 'A="75;80"'),
        ('a "b" $c \\', 'A="a \\"b\\" \\$c \\\\"'),
        ("", "A="),
    ],
)
def test_a_value_is_quoted_where_docker_would_read_it_as_another(value: str, text: str) -> None:
    assert assignments("ENV", {"A": value}) == f"ENV {text}"


def test_values_are_one_in_a_line_and_a_long_one_is_broken_at_colons() -> None:
    long = ":".join(f"/{letter * 30}" for letter in "abcd")
    text = assignments("ENV", {"B": "1", "A": long})
    assert text == f"ENV A={long.replace(':', ':' + chr(92) + chr(10))} \\\n    B=1"


def test_a_stage_uses_its_parent_its_mounts_and_what_it_copies() -> None:
    run = RunStep("true", (BindMount("mounted", "/x"), BindMount("other", "/y")), (INSTALL,))
    stage = Stage("last", "base", (run, Copy("copied"), "ENV A=1"))
    assert stage.uses == ("base", "mounted", "other", "copied")
    assert stage.scripts == (INSTALL,)
    assert Stage("base", "image:1", platform="linux/arm64").uses == ()


def test_a_stage_that_is_copied_several_times_is_used_once() -> None:
    copies = tuple(Copy("packages", f"/layers/{name}/") for name in "abc")
    assert Stage("devel-os", "runtime-os", copies).uses == ("runtime-os", "packages")


def test_dependencies_are_those_of_the_architecture_without_the_build_hosts() -> None:
    stages = [
        Stage("base-amd64", "image:1", platform="linux/amd64"),
        Stage("base-arm64", "image:2", platform="linux/arm64"),
        Stage("unpack", "base-${BUILDARCH}"),
        Stage("tree", "unpack"),
        Stage("runtime", "base-${TARGETARCH}", (Copy("tree"),)),
        Stage("devel", "runtime"),
    ]
    by_name = {stage.name: stage for stage in stages}
    assert dependencies_of(by_name, "runtime", "arm64").keys() == {
        "runtime", "base-arm64", "tree", "unpack",
    }  # fmt: skip
    assert dependencies_of(by_name, "absent", "arm64") == {}


def test_the_argument_of_an_origin_has_its_name() -> None:
    assert mirror_argument("ubuntu-ports") == "UBUNTU_PORTS_MIRROR"
