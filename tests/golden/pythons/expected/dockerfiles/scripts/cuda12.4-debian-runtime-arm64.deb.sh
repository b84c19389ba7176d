. /scripts/tree.sh
take libcudart12_1.0-1_arm64.deb targets/sbsa-linux/lib 'usr/lib/aarch64-linux-gnu/libcudart.so.*'
link /usr/local/cuda cuda-12.4
link lib64 targets/sbsa-linux/lib
link lib lib64
finish
