. /scripts/tree.sh
take cuda_cudart-linux-sbsa-12.6.77-archive.tar.xz targets/sbsa-linux/lib 'lib/libcudart.so.*'
link /usr/local/cuda cuda-12.6
link lib64 targets/sbsa-linux/lib
link lib lib64
finish
