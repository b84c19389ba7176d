. /scripts/tree.sh
take cuda-cudart-12-9-1.0-1.x86_64.rpm targets/x86_64-linux/lib 'usr/local/cuda-*/targets/x86_64-linux/lib/libcudart.so.*'
link /usr/local/cuda cuda-12.9
link lib64 targets/x86_64-linux/lib
link lib lib64
finish
