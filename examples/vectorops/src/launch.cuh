#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include <cuda_runtime_api.h>

#include <vectorops/error.h>
#include <vectorops/span.h>

namespace vectorops {

inline void check(cudaError_t code, const char* operation) {
  if (code != cudaSuccess) {
    throw CudaError(code, std::string(operation) + ": " + cudaGetErrorString(code) + " (" +
                              cudaGetErrorName(code) + ")");
  }
}

// For after <<<...>>>.
inline void check_launch(const char* operation) { check(cudaGetLastError(), operation); }

constexpr std::size_t ceil_div(std::size_t dividend, std::size_t divisor) {
  return dividend / divisor + (dividend % divisor != 0);
}

// Blocks for a kernel that strides over its work by the grid: as many as the device runs at once,
// but no more than the work fills.
template <typename Kernel>
unsigned int resident_blocks(Kernel kernel, int block_threads, std::size_t shared_bytes,
                             std::size_t work_blocks, const char* operation) {
  int device = 0;
  int multiprocessors = 0;
  int blocks_each = 0;
  check(cudaGetDevice(&device), operation);
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        operation);
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks_each, kernel, block_threads,
                                                      shared_bytes),
        operation);
  const auto resident = static_cast<std::size_t>(multiprocessors) * std::max(blocks_each, 1);
  return static_cast<unsigned int>(std::min(resident, work_blocks));
}

// A MatrixSpan as an argument of a kernel: the members of the public type are host functions.
template <typename T>
struct Matrix {
  explicit Matrix(MatrixSpan<T> span)
      : data(span.data()), rows(span.rows()), cols(span.cols()), stride(span.stride()) {}

  __device__ __forceinline__ T* row(std::size_t index) const { return data + index * stride; }

  T* data;
  std::size_t rows;
  std::size_t cols;
  std::size_t stride;
};

// The position of a thread in the whole grid and the number of threads in it, in one dimension.
__device__ __forceinline__ std::size_t grid_thread() {
  return static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ std::size_t grid_threads() {
  return static_cast<std::size_t>(gridDim.x) * blockDim.x;
}

}  // namespace vectorops
