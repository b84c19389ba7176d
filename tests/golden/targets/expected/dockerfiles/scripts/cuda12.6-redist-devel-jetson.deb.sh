. /scripts/tree.sh
take cuda_cccl-linux-aarch64-12.6.77-archive.tar.xz targets/aarch64-linux/include 'include/*' targets/aarch64-linux/lib/cmake '?lib/cmake/*' targets/aarch64-linux/lib/cmake '?*cccl/lib/cmake/*'
take cuda_cudart-linux-aarch64-12.6.77-archive.tar.xz targets/aarch64-linux/include 'include/*' targets/aarch64-linux/lib lib/libcudadevrt.a targets/aarch64-linux/lib lib/libcudart.so targets/aarch64-linux/lib lib/libcudart_static.a targets/aarch64-linux/lib/stubs lib/stubs/libcuda.so
take cuda_nvcc-linux-aarch64-12.6.77-archive.tar.xz targets/aarch64-linux/include include/crt targets/aarch64-linux/include 'include/*.h'
link include targets/aarch64-linux/include
expose aarch64-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
