. /scripts/tree.sh
take cuda-cccl-12-6_12.6.77-1_amd64.deb targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/*' targets/x86_64-linux/lib/cmake '?usr/local/cuda-*/targets/x86_64-linux/lib/cmake/*' targets/x86_64-linux/lib/cmake '?usr/local/cuda-*/*cccl/lib/cmake/*'
take cuda-cudart-dev-12-6_12.6.77-1_amd64.deb targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/*' targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudadevrt.a' targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudart.so' targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudart_static.a'
take cuda-driver-dev-12-6_12.6.77-1_amd64.deb targets/x86_64-linux/lib/stubs 'usr/local/cuda-*/targets/x86_64-linux/lib/stubs/libcuda.so'
take libnccl-dev_2.23.4-1+cuda12.6_amd64.deb /usr/include/x86_64-linux-gnu 'usr/include/nccl*'
take cuda-crt-12-6_12.6.77-1_amd64.deb targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/crt'
take cuda-nvcc-12-6_12.6.77-1_amd64.deb targets/x86_64-linux/include 'usr/local/cuda-*/targets/x86_64-linux/include/*.h'
take libnvinfer-headers-dev_10.16.1.11-1+cuda12.9_amd64.deb /usr/include/x86_64-linux-gnu 'usr/include/*-linux-gnu/Nv*.h'
take libnvinfer-headers-plugin-dev_10.16.1.11-1+cuda12.9_amd64.deb /usr/include/x86_64-linux-gnu 'usr/include/*-linux-gnu/Nv*.h'
take libnvonnxparsers-dev_10.16.1.11-1+cuda12.9_amd64.deb /usr/include/x86_64-linux-gnu 'usr/include/*-linux-gnu/Nv*.h'
link /usr/lib/x86_64-linux-gnu/libnccl.so libnccl.so.2
link /usr/lib/x86_64-linux-gnu/libnvinfer.so libnvinfer.so.10
link /usr/lib/x86_64-linux-gnu/libnvinfer_plugin.so libnvinfer_plugin.so.10
link /usr/lib/x86_64-linux-gnu/libnvonnxparser.so libnvonnxparser.so.10
link include targets/x86_64-linux/include
expose x86_64-linux /usr/x86_64-linux-gnu/lib /usr/lib/x86_64-linux-gnu/pkgconfig
finish
