. /scripts/tree.sh
take cuda_cudart-linux-aarch64-12.6.77-archive.tar.xz targets/aarch64-linux/lib 'lib/libcudart.so.*'
link /usr/local/cuda cuda-12.6
link lib64 targets/aarch64-linux/lib
link lib lib64
finish
