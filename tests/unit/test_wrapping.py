from __future__ import annotations

import pytest

from envmatrix.wrapping import wrap_lines


@pytest.mark.parametrize(
    ("width", "line", "lines"),
    [
        (40, "reuse    image: up to date", ["reuse    image: up to date"]),
        (
            30,
            "build    image-of-a-cell: never built here",
            ["build    image-of-a-cell:", "         never built here"],
        ),
        (
            31,
            "  no  rule: no such compiler in this system",
            ["  no  rule: no such compiler in", "      this system"],
        ),
        (
            30,
            "reuse    image-of-a-very-long-cell: up to date",
            ["reuse", "  image-of-a-very-long-cell:", "  up to date"],
        ),
        (20, "warning: CUDA 12.4 ended", ["warning: CUDA 12.4", "  ended"]),
        (
            30,
            "ok        engine                  26.1.5 of this machine",
            ["ok        engine  26.1.5 of", "          this machine"],
        ),
        (
            40,
            "  driver 525.60 or later: of CUDA 12 ships",
            ["  driver 525.60 or later: of CUDA 12", "    ships"],
        ),
    ],
)
def test_a_line_goes_on_below_its_last_column(width: int, line: str, lines: list[str]) -> None:
    assert wrap_lines(line, width).split("\n") == lines


@pytest.mark.parametrize(
    "line",
    [
        "hint: run `envmatrix build cuda13.5-debian12-x86_64` and `envmatrix push`",
        "          envmatrix run test cuda13.5-debian12-x86_64 --library vectorops",
        "next     envmatrix run test cuda13.5-debian12-x86_64 --library vectorops",
        f"wrote {'a' * 200}/b c",
    ],
)
def test_commands_and_names_stay_whole_to_be_copied(line: str) -> None:
    lines = [each.strip() for each in wrap_lines(line, 30).split("\n")]
    for whole in ("`envmatrix build cuda13.5-debian12-x86_64`", "a" * 200 + "/b"):
        assert (whole in line) == any(whole in each for each in lines)
    if "run test" in line:
        assert "envmatrix run test cuda13.5-debian12-x86_64 --library vectorops" in lines


def test_an_indentation_that_leaves_no_room_is_given_up() -> None:
    line = f"{'':<33} hint: start the engine, or install it"
    assert wrap_lines(line, 40).split("\n") == ["  hint: start the engine, or install it"]
    assert wrap_lines(line, 70).split("\n") == [line[:68], f"{'':<36}it"]
