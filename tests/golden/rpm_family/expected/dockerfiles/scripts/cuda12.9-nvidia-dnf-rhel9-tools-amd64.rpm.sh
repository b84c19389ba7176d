. /scripts/tree.sh
take cuda-nvcc-12-9-1.0-1.x86_64.rpm bin 'usr/local/cuda-*/bin/*'
take cuda-cuobjdump-12-9-1.0-1.x86_64.rpm bin 'usr/local/cuda-*/bin/*'
take cuda-cuxxfilt-12-9-1.0-1.x86_64.rpm bin 'usr/local/cuda-*/bin/*'
take cuda-nvdisasm-12-9-1.0-1.x86_64.rpm bin 'usr/local/cuda-*/bin/*'
take cuda-nvprune-12-9-1.0-1.x86_64.rpm bin 'usr/local/cuda-*/bin/*'
take cuda-crt-12-9-1.0-1.x86_64.rpm . 'usr/local/cuda-*/*'
take cuda-nvvm-12-9-1.0-1.x86_64.rpm nvvm/bin 'usr/local/cuda-*/nvvm/bin/*' nvvm/include 'usr/local/cuda-*/nvvm/include/*' nvvm/lib64 'usr/local/cuda-*/nvvm/lib64/*' nvvm/libdevice 'usr/local/cuda-*/nvvm/libdevice/*'
drop targets
profile
finish
