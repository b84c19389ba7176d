. /scripts/tree.sh
take cuda_nvcc-linux-x86_64-12.6.77-archive.tar.xz bin 'bin/*' nvvm/bin '=nvvm/bin/*' nvvm/include 'nvvm/include/*' nvvm/lib64 'nvvm/lib64/*' nvvm/libdevice 'nvvm/libdevice/*'
take cuda_cuobjdump-linux-x86_64-12.6.77-archive.tar.xz bin 'bin/*'
take cuda_cuxxfilt-linux-x86_64-12.6.77-archive.tar.xz bin 'bin/*'
take cuda_nvdisasm-linux-x86_64-12.6.77-archive.tar.xz bin 'bin/*'
take cuda_nvprune-linux-x86_64-12.6.77-archive.tar.xz bin 'bin/*'
profile
finish
