# cuDNN: cudnn.h, -lcudnn
. "$HERE/lib.sh"
[ -n "$(find /usr/local/cuda/include/ /usr/include -maxdepth 2 -name cudnn.h)" ] || for_other_images "no cuDNN in these images"
printf '#include <cudnn.h>\nint main() { return cudnnGetVersion() == 0; }\n' >a.cu
nvcc ${NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"} a.cu -lcudnn -o program
of_machine program
