. /scripts/tree.sh
take libthrust-dev_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/include/*' targets/sbsa-linux/lib/cmake 'usr/share/cmake/*'
take libcub-dev_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/include/*' targets/sbsa-linux/lib/cmake 'usr/share/cmake/*'
take libcu++-dev_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/include/*' targets/sbsa-linux/lib/cmake 'usr/share/cmake/*'
take nvidia-cuda-dev_1.0-1_arm64.deb targets/sbsa-linux/include 'usr/include/*' targets/sbsa-linux/lib usr/lib/aarch64-linux-gnu/libcudadevrt.a targets/sbsa-linux/lib usr/lib/aarch64-linux-gnu/libcudart.so targets/sbsa-linux/lib usr/lib/aarch64-linux-gnu/libcudart_static.a targets/sbsa-linux/lib/stubs usr/lib/aarch64-linux-gnu/stubs/libcuda.so
drop 'targets/sbsa-linux/include/cublas*' targets/sbsa-linux/include/cuda-gdb targets/sbsa-linux/include/cudalibxt.h 'targets/sbsa-linux/include/cufft*' 'targets/sbsa-linux/include/curand*' 'targets/sbsa-linux/include/cusolver*' 'targets/sbsa-linux/include/cusparse*' 'targets/sbsa-linux/include/npp*' targets/sbsa-linux/include/nvFatbin.h targets/sbsa-linux/include/nvJitLink.h targets/sbsa-linux/include/nvPTXCompiler.h 'targets/sbsa-linux/include/nvToolsExt*' targets/sbsa-linux/include/nvblas.h targets/sbsa-linux/include/nvjpeg.h targets/sbsa-linux/include/nvrtc.h targets/sbsa-linux/include/nvtx3
link include targets/sbsa-linux/include
expose sbsa-linux /usr/aarch64-linux-gnu/lib /usr/lib/aarch64-linux-gnu/pkgconfig
finish
