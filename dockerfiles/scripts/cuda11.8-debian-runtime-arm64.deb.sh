. /scripts/tree.sh
take 'libcudart11.0_11.8.89~11.8.0-5~deb12u1_arm64.deb' \
  targets/sbsa-linux/lib 'usr/lib/aarch64-linux-gnu/libcudart.so.*'
link /usr/local/cuda cuda-11.8
link lib64 targets/sbsa-linux/lib
link lib lib64
finish
