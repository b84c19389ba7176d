. /scripts/tree.sh
take cuda-cudart-12-9-1.0-1.aarch64.rpm targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudart.so.*'
link /usr/local/cuda cuda-12.9
link lib64 targets/sbsa-linux/lib
link lib lib64
finish
