. /scripts/tree.sh
take cuda-cccl-12-9-1.0-1.x86_64.rpm targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/*' targets/x86_64-linux/lib/cmake '?usr/local/cuda-*/targets/x86_64-linux/lib/cmake/*' targets/x86_64-linux/lib/cmake '?usr/local/cuda-*/*cccl/lib/cmake/*'
take cuda-cudart-devel-12-9-1.0-1.x86_64.rpm targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/*' targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudadevrt.a' targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudart.so' targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudart_static.a'
take cuda-driver-devel-12-9-1.0-1.x86_64.rpm targets/x86_64-linux/lib/stubs 'usr/local/cuda-*/targets/x86_64-linux/lib/stubs/libcuda.so'
take cuda-crt-12-9-1.0-1.x86_64.rpm targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/crt'
take cuda-nvcc-12-9-1.0-1.x86_64.rpm targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/*.h'
link include targets/x86_64-linux/include
expose x86_64-linux /usr/x86_64-redhat-linux/lib /usr/lib64/pkgconfig
finish
