#include <cuda_runtime.h>
__global__ void k(float* a) { a[threadIdx.x] *= 2.f; }
extern "C" int version() {
  int v = 0;
  k<<<1, 1>>>(nullptr);
  return cudaRuntimeGetVersion(&v) == cudaSuccess ? v : 0;
}
