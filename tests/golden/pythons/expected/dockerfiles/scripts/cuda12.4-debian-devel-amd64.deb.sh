. /scripts/tree.sh
take libthrust-dev_1.0-1_amd64.deb targets/x86_64-linux/include 'usr/include/*' targets/x86_64-linux/lib/cmake 'usr/share/cmake/*'
take libcub-dev_1.0-1_amd64.deb targets/x86_64-linux/include 'usr/include/*' targets/x86_64-linux/lib/cmake 'usr/share/cmake/*'
take libcu++-dev_1.0-1_amd64.deb targets/x86_64-linux/include 'usr/include/*' targets/x86_64-linux/lib/cmake 'usr/share/cmake/*'
take nvidia-cuda-dev_1.0-1_amd64.deb targets/x86_64-linux/include 'usr/include/*' targets/x86_64-linux/lib usr/lib/x86_64-linux-gnu/libcudadevrt.a targets/x86_64-linux/lib usr/lib/x86_64-linux-gnu/libcudart.so targets/x86_64-linux/lib usr/lib/x86_64-linux-gnu/libcudart_static.a targets/x86_64-linux/lib/stubs usr/lib/x86_64-linux-gnu/stubs/libcuda.so
drop 'targets/x86_64-linux/include/cublas*' targets/x86_64-linux/include/cuda-gdb targets/x86_64-linux/include/cudalibxt.h 'targets/x86_64-linux/include/cufft*' 'targets/x86_64-linux/include/curand*' 'targets/x86_64-linux/include/cusolver*' 'targets/x86_64-linux/include/cusparse*' 'targets/x86_64-linux/include/npp*' targets/x86_64-linux/include/nvFatbin.h targets/x86_64-linux/include/nvJitLink.h targets/x86_64-linux/include/nvPTXCompiler.h 'targets/x86_64-linux/include/nvToolsExt*' targets/x86_64-linux/include/nvblas.h targets/x86_64-linux/include/nvjpeg.h targets/x86_64-linux/include/nvrtc.h targets/x86_64-linux/include/nvtx3
link include targets/x86_64-linux/include
expose x86_64-linux /usr/x86_64-linux-gnu/lib /usr/lib/x86_64-linux-gnu/pkgconfig
finish
