. /scripts/tree.sh
take nvidia_cuda_nvcc-13.0.88-py3-none-any.whl bin 'nvidia/cu13/bin/*'
take nvidia_cuda_cuobjdump-13.2.0-py3-none-any.whl bin 'nvidia/cu13/bin/*'
take nvidia_cuda_nvdisasm-13.2.0-py3-none-any.whl bin 'nvidia/cu13/bin/*'
take nvidia_nvvm-13.0.88-py3-none-any.whl nvvm/bin 'nvidia/cu13/nvvm/bin/*' nvvm/include nvidia/cu13/include/nvvm.h nvvm/lib64 'nvidia/cu13/lib/libnvvm.so.*' nvvm/libdevice 'nvidia/cu13/nvvm/libdevice/*'
link nvvm/lib64/libnvvm.so libnvvm.so.4
finish
