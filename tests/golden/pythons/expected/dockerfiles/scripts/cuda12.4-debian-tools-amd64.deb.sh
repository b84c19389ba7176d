. /scripts/tree.sh
take nvidia-cuda-toolkit_1.0-1_amd64.deb bin usr/bin/__nvcc_device_query bin usr/bin/bin2c bin usr/bin/cu++filt bin usr/bin/cudafe++ bin usr/bin/cuobjdump bin usr/bin/fatbinary bin usr/bin/nvdisasm bin usr/bin/nvlink bin usr/bin/nvprune bin usr/bin/ptxas bin usr/lib/nvidia-cuda-toolkit/bin/crt bin usr/lib/nvidia-cuda-toolkit/bin/nvcc nvvm/bin usr/lib/nvidia-cuda-toolkit/bin/cicc nvvm/include usr/include/nvvm.h nvvm/libdevice 'usr/lib/nvidia-cuda-toolkit/libdevice/*'
take libnvvm4_1.0-1_amd64.deb nvvm/lib64 'usr/lib/x86_64-linux-gnu/libnvvm.so.*'
profile
link nvvm/lib64/libnvvm.so libnvvm.so.4
finish
