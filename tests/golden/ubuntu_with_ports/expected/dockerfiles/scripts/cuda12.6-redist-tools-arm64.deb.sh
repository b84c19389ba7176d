. /scripts/tree.sh
take cuda_nvcc-linux-sbsa-12.6.77-archive.tar.xz bin 'bin/*' nvvm/bin '=nvvm/bin/*' nvvm/include 'nvvm/include/*' nvvm/lib64 'nvvm/lib64/*' nvvm/libdevice 'nvvm/libdevice/*'
take cuda_cuobjdump-linux-sbsa-12.6.77-archive.tar.xz bin 'bin/*'
take cuda_cuxxfilt-linux-sbsa-12.6.77-archive.tar.xz bin 'bin/*'
take cuda_nvdisasm-linux-sbsa-12.6.77-archive.tar.xz bin 'bin/*'
take cuda_nvprune-linux-sbsa-12.6.77-archive.tar.xz bin 'bin/*'
profile
finish
