. /scripts/tree.sh
take libcudart12_1.0-1_amd64.deb targets/x86_64-linux/lib 'usr/lib/x86_64-linux-gnu/libcudart.so.*'
link /usr/local/cuda cuda-12.4
link lib64 targets/x86_64-linux/lib
link lib lib64
finish
