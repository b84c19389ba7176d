. /scripts/tree.sh
take cuda_cudart-linux-x86_64-12.6.77-archive.tar.xz targets/x86_64-linux/lib 'lib/libcudart.so.*'
link /usr/local/cuda cuda-12.6
link lib64 targets/x86_64-linux/lib
link lib lib64
finish
