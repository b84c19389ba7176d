. /scripts/tree.sh
take cuda_cccl-linux-sbsa-12.6.77-archive.tar.xz targets/sbsa-linux/include 'include/*' targets/sbsa-linux/lib/cmake '?lib/cmake/*' targets/sbsa-linux/lib/cmake '?*cccl/lib/cmake/*'
take cuda_cudart-linux-sbsa-12.6.77-archive.tar.xz targets/sbsa-linux/include 'include/*' targets/sbsa-linux/lib lib/libcudadevrt.a targets/sbsa-linux/lib lib/libcudart.so targets/sbsa-linux/lib lib/libcudart_static.a targets/sbsa-linux/lib/stubs lib/stubs/libcuda.so
take cuda_nvcc-linux-sbsa-12.6.77-archive.tar.xz targets/sbsa-linux/include include/crt targets/sbsa-linux/include 'include/*.h'
link include targets/sbsa-linux/include
expose sbsa-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
