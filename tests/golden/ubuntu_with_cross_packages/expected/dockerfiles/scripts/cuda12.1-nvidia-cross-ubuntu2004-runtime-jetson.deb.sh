. /scripts/tree.sh
take cuda-cudart-cross-aarch64-12-1_1.0-1_arm64.deb targets/aarch64-linux/lib 'usr/local/cuda-*/targets/aarch64-linux/lib/libcudart.so.*'
link /usr/local/cuda cuda-12.1
link lib64 targets/aarch64-linux/lib
link lib lib64
finish
