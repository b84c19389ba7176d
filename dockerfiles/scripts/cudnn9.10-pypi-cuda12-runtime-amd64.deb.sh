. /scripts/tree.sh
take nvidia_cudnn_cu12-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl \
  /usr/lib/x86_64-linux-gnu 'nvidia/cudnn/lib/libcudnn*.so.*'
finish
