"""Kernels in the output of `cuobjdump`, and their differences."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envmatrix.codegen.differences import differences
from envmatrix.codegen.kernels import Kernels, kernels, stable_name

NAME = "_Z5scalePKfPffi"
HEAD = "Fatbin elf code:\n================\narch = sm_90\ncode version = [1,7]\n\n"


def sass(*instructions: str, name: str = NAME, architecture: str = "90") -> str:
    """Return machine code as `cuobjdump --dump-sass` prints it."""
    rows = [f"\tcode for sm_{architecture}", f"\t\tFunction : {name}", '\t.headerflags\t@"EF"']
    for number, text in enumerate(instructions):
        encoding = f"0x{sum(map(ord, text)):016x}"
        rows.append(f"        /*{16 * number:04x}*/                   {text} ;  /* {encoding} */")
        rows.append("                                                /* 0x000fe400078e00ff */")
    return "\n".join(rows)


def resources(registers: int = 10, shared: int = 0, name: str = NAME) -> str:
    numbers = f"REG:{registers} STACK:0 SHARED:{shared} LOCAL:0 CONSTANT[0]:384 TEXTURE:0"
    return f"{HEAD}Resource usage:\n Common:\n  GLOBAL:0\n Function {name}:\n  {numbers}\n"


def info(threads: int, name: str = NAME) -> str:
    return (
        f"{HEAD}.nv.info.{name}\n\t<0x1>\n\tAttribute:\tEIATTR_MAX_THREADS\n"
        f"\tFormat:\tEIFMT_SVAL\n\tValue:\t{threads:#x} 0x1 0x1 \n"
    )


def read(code: str, needs: str = "", bounds: str = "") -> Kernels:
    return kernels(code.splitlines(), needs.splitlines(), bounds.splitlines())


BEFORE = ("S2R R0, SR_TID.X", "@P0 EXIT", "FFMA R4, R2, R2, R4", "STG.E [R6], R4", "EXIT")


def test_a_kernel_has_its_instructions_resources_and_bounds() -> None:
    ((key, (kernel,)),) = read(sass(*BEFORE), resources(12, 1024), info(256)).items()
    assert key == ("90", NAME)
    assert kernel.opcodes == {"S2R": 1, "EXIT": 2, "FFMA": 1, "STG": 1}
    assert kernel.resources == {"REG": 12, "STACK": 0, "SHARED": 1024, "LOCAL": 0}
    assert kernel.bounds == "MAX_THREADS 256x1x1"
    assert (kernel.instructions, kernel.spills) == (5, 0)


def test_a_file_of_one_architecture_does_not_name_it_everywhere() -> None:
    needs, bounds = resources(12).removeprefix(HEAD), info(64).removeprefix(HEAD)
    ((kernel,),) = read(sass(*BEFORE), needs, bounds).values()
    assert kernel.resources["REG"] == 12
    assert kernel.bounds == "MAX_THREADS 64x1x1"


def texts(before: Kernels, after: Kernels) -> list[str]:
    return [str(row) for row in differences(before, after)]


def test_equal_code_has_no_differences() -> None:
    assert texts(read(sass(*BEFORE)), read(sass(*BEFORE))) == []


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ((*BEFORE[:2], "STL [R1], R2", *BEFORE[2:]),
         "5 to 6 instructions, 0 to 1 spills (STL +1)"),
        ((*BEFORE[:2], "FFMA R4, R2, R3, R4", *BEFORE[3:]),
         "the same instructions with other operands, or in another order"),
        ((*BEFORE[:2], "FMUL R4, R2, R2", *BEFORE[3:]), "(FFMA -1, FMUL +1)"),
    ],
)  # fmt: skip
def test_other_instructions_are_a_difference(code: tuple[str, ...], what: str) -> None:
    assert texts(read(sass(*BEFORE)), read(sass(*code))) == [f"{NAME} for sm_90: {what}"]


def test_another_schedule_of_the_same_instructions_is_a_difference() -> None:
    text = sass(*BEFORE)
    assert (
        len(texts(read(text), read(text.replace("0x000fe400078e00ff", "0x000fe200078e00ff")))) == 1
    )


def test_other_resources_and_bounds_are_differences() -> None:
    before = read(sass(*BEFORE), resources(10), info(256))
    after = read(sass(*BEFORE), resources(12, 512), info(128))
    (text,) = texts(before, after)
    assert text == (
        f"{NAME} for sm_90: 10 to 12 registers, 0 to 512 bytes of shared memory, "
        "launch bounds MAX_THREADS 256x1x1 to MAX_THREADS 128x1x1"
    )


def test_kernels_come_and_go() -> None:
    one, both = sass(*BEFORE), f"{sass(*BEFORE)}\n{sass('EXIT', name='_Z3newv')}"
    assert texts(read(one), read(both)) == ["_Z3newv for sm_90: added"]
    assert texts(read(both), read(one)) == ["_Z3newv for sm_90: removed"]


def test_the_same_difference_of_several_architectures_is_told_once() -> None:
    def of_both(*code: str) -> Kernels:
        return read("\n".join(sass(*code, architecture=name) for name in ("80", "90")))

    assert texts(of_both(*BEFORE), of_both(*BEFORE, "NOP")) == [
        f"{NAME} for sm_80, sm_90: 5 to 6 instructions (NOP +1)"
    ]


LOCAL: Mapping[str, str] = {
    "_ZN44_GLOBAL__N__205ab0f5_11_edited_0_cu_b49547769localsEPf": "_ZN<local>9localsEPf",
    "_ZN39_INTERNAL_8d6b0b8a_4_a_cu_2a9f5c2a_12343fooE": "_ZN<local>3fooE",
    "_Z5applyIZ6launchPfEUlfE0_EvS0_T_": "_Z5applyIZ6launchPfEUlfE_EvS0_T_",
    NAME: NAME,
}


@pytest.mark.parametrize(("name", "stable"), LOCAL.items())
def test_names_do_not_depend_on_paths_nor_on_other_lambdas(name: str, stable: str) -> None:
    assert stable_name(name) == stable


@given(st.text(), st.text(), st.text())
def test_any_output_is_read(code: str, needs: str, bounds: str) -> None:
    rows = read(code, needs, bounds)
    assert texts(rows, rows) == []


@given(st.text(alphabet="_INTERNALGLOBAL__N_0123456789UltE", max_size=60))
def test_any_name_becomes_stable(name: str) -> None:
    assert stable_name(stable_name(name)) == stable_name(name)
