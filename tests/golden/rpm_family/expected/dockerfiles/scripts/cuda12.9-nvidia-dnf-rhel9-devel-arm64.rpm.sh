. /scripts/tree.sh
take cuda-cccl-12-9-1.0-1.aarch64.rpm targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/*' targets/sbsa-linux/lib/cmake '?usr/local/cuda-*/targets/sbsa-linux/lib/cmake/*' targets/sbsa-linux/lib/cmake '?usr/local/cuda-*/*cccl/lib/cmake/*'
take cuda-cudart-devel-12-9-1.0-1.aarch64.rpm targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/*' targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudadevrt.a' targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudart.so' targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudart_static.a'
take cuda-driver-devel-12-9-1.0-1.aarch64.rpm targets/sbsa-linux/lib/stubs 'usr/local/cuda-*/targets/sbsa-linux/lib/stubs/libcuda.so'
take cuda-crt-12-9-1.0-1.aarch64.rpm targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/crt'
take cuda-nvcc-12-9-1.0-1.aarch64.rpm targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/*.h'
link include targets/sbsa-linux/include
expose sbsa-linux /usr/aarch64-redhat-linux/lib /usr/lib64/pkgconfig
finish
