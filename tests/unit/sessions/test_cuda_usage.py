from __future__ import annotations

import shutil
from pathlib import Path

from envmatrix.confined import Area
from envmatrix.sessions import cuda_usage


def test_files_of_cuda_are_told_by_their_path_among_headers_or_libraries() -> None:
    text = """\
"0x1" [label="/usr/local/cuda/lib64/libcublas.so"]
"0x2" [label="/usr/local/cuda-13.5/targets/x86_64-linux/lib/libcurand_static.a"]
a.cpp.o: #deps 3, deps mtime 1 (VALID)
    /usr/local/cuda/targets/x86_64-linux/include/thrust/detail/config.h
    /usr/include/stdio.h
    /usr/include/aarch64-linux-gnu/nccl.h
    /src/include/curand.h
"0x3" [label="/usr/lib/x86_64-linux-gnu/libnvinfer.so"]
"0x4" [label="/usr/lib/x86_64-linux-gnu/libm.so"]
  LINK_LIBRARIES = -lnvrtc  -L/usr/local/cuda/lib64  -Wl,-lm  -lcudart_static
"""
    assert cuda_usage.named_in(text) == {
        "libnvinfer.so",
        "nccl.h",
        "libcublas.so",
        "libcurand_static.a",
        "thrust/detail/config.h",
        "libnvrtc",
        "libcudart_static",
    }


def test_a_build_tells_what_its_compilers_read_and_its_programs_are_loaded_with(
    tmp_path: Path,
) -> None:
    (tmp_path / "obj").mkdir()
    (tmp_path / "obj/a.d").write_text("a.o: a.c \\\n  /usr/local/cuda/include/nvrtc.h\n")
    shutil.copy("/bin/sh", tmp_path / "program")
    (tmp_path / "elsewhere").symlink_to("/bin/sh")
    with Area(tmp_path).opened() as build:
        used = cuda_usage.used_names(build)
    assert used["nvrtc.h"] == "obj/a.d"
    assert used["libc.so.6"] == "program"
