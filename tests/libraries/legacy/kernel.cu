#include <cuda.h>
__global__ void advance(int* values) { values[threadIdx.x] += 1; }
extern "C" void run(int* values) {
  if (cuInit(0) == CUDA_SUCCESS) advance<<<1, 32>>>(values);
}
