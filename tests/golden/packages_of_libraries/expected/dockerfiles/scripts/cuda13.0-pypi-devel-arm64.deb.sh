. /scripts/tree.sh
take nvidia_cuda_cccl-13.0.85-py3-none-any.whl targets/sbsa-linux/include 'nvidia/cu13/include/*' targets/sbsa-linux/lib/cmake 'nvidia/cu13/lib/cmake/*'
take nvidia_cuda_runtime-13.0.96-py3-none-any.whl targets/sbsa-linux/include 'nvidia/cu13/include/*' targets/sbsa-linux/lib nvidia/cu13/lib/libcudadevrt.a targets/sbsa-linux/lib nvidia/cu13/lib/libcudart_static.a
take nvidia_cuda_crt-13.0.88-py3-none-any.whl targets/sbsa-linux/include 'nvidia/cu13/include/*'
take nvidia_cuda_nvcc-13.0.88-py3-none-any.whl targets/sbsa-linux/include 'nvidia/cu13/include/*'
link targets/sbsa-linux/lib/libcudart.so libcudart.so.13
link include targets/sbsa-linux/include
expose sbsa-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
