. /scripts/tree.sh
take cuda-cccl-cross-aarch64-12-1_1.0-1_arm64.deb targets/aarch64-linux/include 'usr/local/cuda-*/targets/aarch64-linux/include/*' targets/aarch64-linux/lib/cmake '?usr/local/cuda-*/targets/aarch64-linux/lib/cmake/*' targets/aarch64-linux/lib/cmake '?usr/local/cuda-*/*cccl/lib/cmake/*'
take cuda-cudart-cross-aarch64-12-1_1.0-1_arm64.deb targets/aarch64-linux/include 'usr/local/cuda-*/targets/aarch64-linux/include/*' targets/aarch64-linux/lib 'usr/local/cuda-*/targets/aarch64-linux/lib/libcudadevrt.a' targets/aarch64-linux/lib 'usr/local/cuda-*/targets/aarch64-linux/lib/libcudart.so' targets/aarch64-linux/lib 'usr/local/cuda-*/targets/aarch64-linux/lib/libcudart_static.a'
take cuda-driver-cross-aarch64-12-1_1.0-1_arm64.deb targets/aarch64-linux/lib/stubs 'usr/local/cuda-*/targets/aarch64-linux/lib/stubs/libcuda.so'
take cuda-nvcc-cross-aarch64-12-1_1.0-1_arm64.deb targets/aarch64-linux/include 'usr/local/cuda-*/targets/aarch64-linux/include/*.h' targets/aarch64-linux/include 'usr/local/cuda-*/targets/aarch64-linux/include/crt'
link include targets/aarch64-linux/include
expose aarch64-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
