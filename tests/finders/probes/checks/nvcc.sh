# nvcc, which finds its host compiler, headers and libraries
. "$HERE/lib.sh"
nvcc ${NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"} -arch=sm_80 -c "$HERE/kernel/k.cu" -o k.o
"$CC" -c "$HERE/kernel/main.c"
nvcc ${NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"} k.o main.o -o program
of_machine k.o program
