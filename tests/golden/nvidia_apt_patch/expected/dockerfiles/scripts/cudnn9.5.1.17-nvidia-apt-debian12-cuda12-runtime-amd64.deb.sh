. /scripts/tree.sh
take libcudnn9-cuda-12_9.5.1.17-1_amd64.deb /usr/lib/x86_64-linux-gnu 'usr/lib/*-linux-gnu/libcudnn*.so.*'
finish
