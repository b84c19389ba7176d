# The argument is a C compiler.
compiler=$1
stubs=$CUDA_ROOT/targets/sbsa-linux/lib/stubs
headers=/cuda/targets/sbsa-linux/include
. /scripts/stubs.sh
stub libcuda.so.1 34 cuda.h cudaProfiler.h
expose sbsa-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
