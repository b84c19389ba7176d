. /scripts/tree.sh
take cuda-nvcc-12-6_12.6.77-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-cuobjdump-12-6_12.6.77-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-cuxxfilt-12-6_12.6.77-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-nvdisasm-12-6_12.6.77-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-nvprune-12-6_12.6.77-1_amd64.deb bin 'usr/local/cuda-*/bin/*'
take cuda-crt-12-6_12.6.77-1_amd64.deb . 'usr/local/cuda-*/*'
take cuda-nvvm-12-6_12.6.77-1_amd64.deb nvvm/bin 'usr/local/cuda-*/nvvm/bin/*' nvvm/include 'usr/local/cuda-*/nvvm/include/*' nvvm/lib64 'usr/local/cuda-*/nvvm/lib64/*' nvvm/libdevice 'usr/local/cuda-*/nvvm/libdevice/*'
drop targets
profile
finish
