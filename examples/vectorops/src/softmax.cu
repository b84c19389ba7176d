#include <math_constants.h>

#include <cub/block/block_reduce.cuh>
#include <cub/warp/warp_reduce.cuh>

#include <vectorops/ops.h>

#include "launch.cuh"
#include "validate.h"

namespace vectorops {
namespace softmax_detail {

constexpr int kWarpThreads = 32;
constexpr int kBlockThreads = 256;
constexpr int kBlockWarps = kBlockThreads / kWarpThreads;

// Up to this many columns a warp has a row to itself; beyond, a block has.
constexpr std::size_t kMaxWarpCols = 1024;

// The greatest of some values, and the sum of exp(value - greatest) over them.
struct MaxSum {
  float max;
  float sum;
};

// Joins two such parts: the sum of the part with the lesser maximum is scaled down to the other's.
struct Join {
  __device__ __forceinline__ MaxSum operator()(const MaxSum& a, const MaxSum& b) const {
    const bool a_greater = a.max >= b.max;
    const float max = a_greater ? a.max : b.max;
    const float difference = a_greater ? b.max - a.max : a.max - b.max;
    // Where both are -inf, as in threads without a value, their difference is not a number.
    const float scale = max == -CUDART_INF_F ? 0.0F : expf(difference);
    return a_greater ? MaxSum{max, fmaf(b.sum, scale, a.sum)}
                     : MaxSum{max, fmaf(a.sum, scale, b.sum)};
  }
};

// What one thread sees of a row.
__device__ MaxSum scan_row(const float* row, std::size_t cols, unsigned int first,
                           unsigned int step) {
  MaxSum part{-CUDART_INF_F, 0.0F};
  for (std::size_t col = first; col < cols; col += step) {
    part = Join{}(part, MaxSum{row[col], 1.0F});
  }
  return part;
}

// No __restrict__ here: the rows are the same memory where the operation is done in place.
__device__ void write_row(const float* row, float* output, std::size_t cols, unsigned int first,
                          unsigned int step, MaxSum whole) {
  const float factor = 1.0F / whole.sum;
  for (std::size_t col = first; col < cols; col += step) {
    output[col] = expf(row[col] - whole.max) * factor;
  }
}

__global__ void __launch_bounds__(kBlockThreads)
    softmax_warp_kernel(Matrix<const float> input, Matrix<float> output) {
  using WarpReduce = cub::WarpReduce<MaxSum>;
  __shared__ typename WarpReduce::TempStorage storage[kBlockWarps];

  const unsigned int warp = threadIdx.x / kWarpThreads;
  const unsigned int lane = threadIdx.x % kWarpThreads;
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * kBlockWarps;
  for (std::size_t row = static_cast<std::size_t>(blockIdx.x) * kBlockWarps + warp;
       row < input.rows; row += step) {
    const float* const values = input.row(row);
    float* const results = output.row(row);
    MaxSum whole = WarpReduce(storage[warp])
                       .Reduce(scan_row(values, input.cols, lane, kWarpThreads), Join{});
    whole.max = __shfl_sync(0xFFFFFFFFU, whole.max, 0);
    whole.sum = __shfl_sync(0xFFFFFFFFU, whole.sum, 0);
    write_row(values, results, input.cols, lane, kWarpThreads, whole);
    __syncwarp();
  }
}

__global__ void __launch_bounds__(kBlockThreads)
    softmax_block_kernel(Matrix<const float> input, Matrix<float> output) {
  using BlockReduce = cub::BlockReduce<MaxSum, kBlockThreads>;
  __shared__ typename BlockReduce::TempStorage storage;
  __shared__ MaxSum whole;

  for (std::size_t row = blockIdx.x; row < input.rows; row += gridDim.x) {
    const float* const values = input.row(row);
    float* const results = output.row(row);
    const MaxSum reduced =
        BlockReduce(storage).Reduce(scan_row(values, input.cols, threadIdx.x, kBlockThreads),
                                    Join{});
    if (threadIdx.x == 0) {
      whole = reduced;
    }
    __syncthreads();
    write_row(values, results, input.cols, threadIdx.x, kBlockThreads, whole);
    __syncthreads();
  }
}

}  // namespace softmax_detail

void softmax(MatrixSpan<const float> input, MatrixSpan<float> output, Stream stream) {
  using namespace softmax_detail;
  validate::softmax(input, output);
  if (input.empty()) {
    return;
  }
  const bool warp_per_row = input.cols() <= kMaxWarpCols;
  const auto kernel = warp_per_row ? softmax_warp_kernel : softmax_block_kernel;
  const std::size_t block_rows = warp_per_row ? kBlockWarps : 1;
  const unsigned int blocks = resident_blocks(kernel, kBlockThreads, 0,
                                              ceil_div(input.rows(), block_rows), "softmax");
  kernel<<<blocks, kBlockThreads, 0, stream>>>(Matrix<const float>(input), Matrix<float>(output));
  check_launch("softmax");
}

}  // namespace vectorops
