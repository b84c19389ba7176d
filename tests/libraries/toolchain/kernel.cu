extern __device__ int next(int value);
__global__ void advance(int* values) { values[threadIdx.x] = next(values[threadIdx.x]); }
