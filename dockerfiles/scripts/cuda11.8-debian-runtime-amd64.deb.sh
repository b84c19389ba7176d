. /scripts/tree.sh
take 'libcudart11.0_11.8.89~11.8.0-5~deb12u1_amd64.deb' \
  targets/x86_64-linux/lib 'usr/lib/x86_64-linux-gnu/libcudart.so.*'
link /usr/local/cuda cuda-11.8
link lib64 targets/x86_64-linux/lib
link lib lib64
finish
