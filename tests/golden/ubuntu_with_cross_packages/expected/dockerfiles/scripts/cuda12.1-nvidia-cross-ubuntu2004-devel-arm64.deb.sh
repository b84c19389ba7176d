. /scripts/tree.sh
take cuda-cccl-cross-sbsa-12-1_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/*' targets/sbsa-linux/lib/cmake '?usr/local/cuda-*/targets/sbsa-linux/lib/cmake/*' targets/sbsa-linux/lib/cmake '?usr/local/cuda-*/*cccl/lib/cmake/*'
take cuda-cudart-cross-sbsa-12-1_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/*' targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudadevrt.a' targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudart.so' targets/sbsa-linux/lib 'usr/local/cuda-*/targets/sbsa-linux/lib/libcudart_static.a'
take cuda-driver-cross-sbsa-12-1_1.0-1_arm64.deb targets/sbsa-linux/lib/stubs 'usr/local/cuda-*/targets/sbsa-linux/lib/stubs/libcuda.so'
take cuda-nvcc-cross-sbsa-12-1_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/*.h' targets/sbsa-linux/include 'usr/local/cuda-*/targets/sbsa-linux/include/crt'
link include targets/sbsa-linux/include
expose sbsa-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
