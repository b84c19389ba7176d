from __future__ import annotations

import pytest

from envmatrix.plan.image_diff import differences

FILES = "FROM scratch AS files-amd64\n"
DEB = "ADD --checksum=sha256:{} ${{DEBIAN}}/pool/g++-13_13.3.0-{}_amd64.deb /\n"
WHEEL = "ADD --checksum=sha256:{} ${{PYPI}}/nvidia_cuda_nvcc-13.0.{}-py3-none-any.whl /\n"
RPM = "ADD --checksum=sha256:{} ${{ROCKY}}/gcc-11.5.0-{}.el9.x86_64.rpm /\n"


def dockerfile(
    files: str = "", *, base: str = "one", epoch: int = 1, steps: str = "RUN x\n"
) -> str:
    return (
        f"ARG SOURCE_DATE_EPOCH={epoch}\n"
        f"FROM --platform=linux/amd64 {base} AS base-amd64\n"
        f"{FILES}{files}"
        f"FROM base-${{TARGETARCH}} AS runtime\n"
        f"RUN --mount=from=files-${{TARGETARCH}},target=/files true\n{steps}"
        "FROM runtime AS devel\nRUN y\n"
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (DEB.format("a", 6), DEB.format("b", 7), "`g++-13` 13.3.0-6 → 13.3.0-7"),
        (DEB.format("a", 6), DEB.format("b", 6), "`g++-13` 13.3.0-6: another file"),
        (WHEEL.format("a", 39), WHEEL.format("b", 48), "`nvidia_cuda_nvcc` 13.0.39 → 13.0.48"),
        (RPM.format("a", 1), RPM.format("b", 2), "`gcc` 11.5.0-1.el9 → 11.5.0-2.el9"),
        ("", DEB.format("a", 6), "`g++-13` 13.3.0-6 added"),
        (DEB.format("a", 6), "", "`g++-13` 13.3.0-6 removed"),
    ],
)
def test_a_changed_file_is_told_by_its_package(before: str, after: str, told: str) -> None:
    assert differences(dockerfile(before), dockerfile(after), "runtime", "amd64") == (told,)


def test_bases_epochs_and_steps_are_told() -> None:
    was, now = dockerfile(), dockerfile(base="two", epoch=2, steps="RUN z\n")

    assert differences(was, now, "runtime", "amd64") == (
        "epoch 1 → 2",
        "base one → two",
        "steps of `runtime`",
    )


def test_what_the_image_does_not_depend_on_is_no_difference() -> None:
    was, now = dockerfile(), dockerfile().replace("RUN y", "RUN other")

    assert differences(was, now, "runtime", "amd64") == ()
    assert differences(was, now, "devel", "amd64") == ("steps of `devel`",)
    assert differences(was, was, "devel", "amd64") == ()
