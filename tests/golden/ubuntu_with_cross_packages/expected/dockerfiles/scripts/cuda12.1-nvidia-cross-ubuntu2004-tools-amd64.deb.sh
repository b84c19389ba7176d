. /scripts/tree.sh
take cuda-nvcc-12-1_1.0-1_amd64.deb bin '=usr/local/cuda-*/bin/*' . 'usr/local/cuda-*/*' nvvm/bin '=usr/local/cuda-*/nvvm/bin/*' nvvm/include '=usr/local/cuda-*/nvvm/include/*' nvvm/lib64 '=usr/local/cuda-*/nvvm/lib64/*' nvvm/libdevice '=usr/local/cuda-*/nvvm/libdevice/*'
take cuda-cuobjdump-12-1_1.0-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-cuxxfilt-12-1_1.0-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-nvdisasm-12-1_1.0-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-nvprune-12-1_1.0-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
drop targets
profile
finish
