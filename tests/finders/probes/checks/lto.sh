# Device code linked by nvcc -dlto
. "$HERE/lib.sh"
cat >a.cu <<'CU'
extern __device__ float twice(float);
__global__ void k(float* a) { a[0] = twice(a[0]); }
CU
echo '__device__ float twice(float x) { return x * 2; }' >b.cu
nvcc ${NVCC_CCBIN:+-ccbin "$NVCC_CCBIN"} -arch=sm_80 -dlto -rdc=true -shared -Xcompiler -fPIC a.cu b.cu -o liblto.so
of_machine liblto.so
