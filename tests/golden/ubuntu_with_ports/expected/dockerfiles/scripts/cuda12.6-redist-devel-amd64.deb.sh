. /scripts/tree.sh
take cuda_cccl-linux-x86_64-12.6.77-archive.tar.xz targets/x86_64-linux/include 'include/*' targets/x86_64-linux/lib/cmake '?lib/cmake/*' targets/x86_64-linux/lib/cmake '?*cccl/lib/cmake/*'
take cuda_cudart-linux-x86_64-12.6.77-archive.tar.xz targets/x86_64-linux/include 'include/*' targets/x86_64-linux/lib lib/libcudadevrt.a targets/x86_64-linux/lib lib/libcudart.so targets/x86_64-linux/lib lib/libcudart_static.a targets/x86_64-linux/lib/stubs lib/stubs/libcuda.so
take cuda_nvcc-linux-x86_64-12.6.77-archive.tar.xz targets/x86_64-linux/include include/crt targets/x86_64-linux/include 'include/*.h'
link include targets/x86_64-linux/include
expose x86_64-linux /usr/x86_64-linux-gnu/lib /usr/lib/x86_64-linux-gnu/pkgconfig
finish
