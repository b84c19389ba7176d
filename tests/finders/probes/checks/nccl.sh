# NCCL: nccl.h, -lnccl
. "$HERE/lib.sh"
[ -n "$(find /usr/local/cuda/include/ /usr/include -maxdepth 2 -name nccl.h)" ] || for_other_images "no NCCL in these images"
printf '#include <nccl.h>\nint main() { int v; return ncclGetVersion(&v); }\n' >a.cu
nvcc ${NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"} a.cu -lnccl -o program
of_machine program
