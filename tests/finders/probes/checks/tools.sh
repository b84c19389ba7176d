# cuobjdump, nvdisasm, nvprune, cu++filt
. "$HERE/lib.sh"
nvcc ${NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"} -arch=sm_80 -c "$HERE/kernel/k.cu" -o k.o
cuobjdump --list-elf k.o
cuobjdump --extract-elf all k.o
nvdisasm ./*.cubin | grep -q EXIT
cu++filt _Z1kPf | grep 'k(float'
nvprune -arch sm_80 k.o -o pruned.o
of_machine pruned.o
