# mypy: ignore-errors
"""An extension whose kernel nvcc compiles, as torch.utils.cpp_extension finds it."""

import os
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class Build(build_ext):
    def build_extensions(self) -> None:
        home = Path(os.environ["CUDA_HOME"])
        assert os.environ["CUDA_PATH"] == str(home)
        nvcc = os.environ["CUDACXX"]
        assert Path(nvcc).samefile(home / "bin/nvcc")
        host = os.environ["CXX"]
        command = [nvcc, "-ccbin", host, "-Xcompiler", "-fPIC", "-c", "k.cu", "-o", "k.o"]
        subprocess.run(command, check=True)
        for extension in self.extensions:
            extension.extra_objects = ["k.o"]
            extension.libraries = ["cudart"]
            extension.library_dirs = [str(home / "lib64")]
        super().build_extensions()


setup(
    name="twice",
    version="1.0",
    ext_modules=[Extension("twice", ["twice.c"])],
    cmdclass={"build_ext": Build},
)
