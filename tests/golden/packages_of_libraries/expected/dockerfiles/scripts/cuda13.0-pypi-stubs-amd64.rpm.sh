# The argument is a C compiler.
compiler=$1
stubs=$CUDA_ROOT/targets/x86_64-linux/lib/stubs
headers=/cuda/targets/x86_64-linux/include
. /scripts/stubs.sh
stub libcuda.so.1 34 cuda.h cudaProfiler.h
expose x86_64-linux /usr/x86_64-redhat-linux/lib /usr/lib64/pkgconfig
finish
