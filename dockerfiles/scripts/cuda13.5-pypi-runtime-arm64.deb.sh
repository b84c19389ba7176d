. /scripts/tree.sh
take nvidia_cuda_runtime-13.5.37-py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.whl \
  targets/sbsa-linux/lib 'nvidia/cu13/lib/libcudart.so.*'
link /usr/local/cuda cuda-13.5
link lib64 targets/sbsa-linux/lib
link lib lib64
finish
