__device__ int next(int value) { return value + 1; }
