. /scripts/tree.sh
take cuda-cudart-cross-sbsa-12-1_1.0-1_arm64.deb targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudart.so.*'
link /usr/local/cuda cuda-12.1
link lib64 targets/sbsa-linux/lib
link lib lib64
finish
