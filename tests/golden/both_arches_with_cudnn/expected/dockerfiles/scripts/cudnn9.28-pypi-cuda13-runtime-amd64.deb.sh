. /scripts/tree.sh
take nvidia_cudnn_cu13-9.28.0-py3-none-any.whl /usr/lib/x86_64-linux-gnu 'nvidia/cudnn/lib/libcudnn*.so.*'
finish
