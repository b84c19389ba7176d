. /scripts/tree.sh
take cuda-cudart-12-6_12.6.77-1_amd64.deb targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudart.so.*'
take libnccl2_2.23.4-1+cuda12.6_amd64.deb /usr/lib/x86_64-linux-gnu 'usr/lib/*-linux-gnu/libnccl.so.*'
take libnvinfer10_10.16.1.11-1+cuda12.9_amd64.deb /usr/lib/x86_64-linux-gnu 'usr/lib/*-linux-gnu/libnvinfer*.so.*'
take libnvinfer-plugin10_10.16.1.11-1+cuda12.9_amd64.deb /usr/lib/x86_64-linux-gnu 'usr/lib/*-linux-gnu/libnvinfer_plugin.so.*'
take libnvonnxparsers10_10.16.1.11-1+cuda12.9_amd64.deb /usr/lib/x86_64-linux-gnu 'usr/lib/*-linux-gnu/libnvonnxparser.so.*'
link /usr/local/cuda cuda-12.6.3
link lib64 targets/x86_64-linux/lib
link lib lib64
finish
