. /scripts/tree.sh
take nvidia_cuda_runtime-13.0.96-py3-none-any.whl targets/x86_64-linux/lib 'nvidia/cu13/lib/libcudart.so.*'
link /usr/local/cuda cuda-13.0
link lib64 targets/x86_64-linux/lib
link lib lib64
finish
