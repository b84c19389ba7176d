#include <vectorops/ops.h>

#include "launch.cuh"
#include "validate.h"

namespace vectorops {
namespace gemm_detail {

// A block makes a kTile x kTile tile of c from panels of a and b that are kDepth deep; each of its
// kSide x kSide threads makes kPerThread x kPerThread elements of it, kSide apart, so that
// neighbouring threads read and write neighbouring columns.
constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kSide = 16;
constexpr int kPerThread = kTile / kSide;
constexpr int kBlockThreads = kSide * kSide;
constexpr int kPanelLoads = kTile * kDepth / kBlockThreads;

// The panel of a is turned as it is stored. A warp stores two rows of kDepth = 16 elements at once;
// with two elements between the columns, they fall into 32 different banks.
constexpr int kPadding = 2;

static_assert(kTile % kSide == 0 && kTile * kDepth % kBlockThreads == 0);

__global__ void __launch_bounds__(kBlockThreads)
    gemm_kernel(float alpha, Matrix<const float> a, Matrix<const float> b, float beta,
                Matrix<float> c, std::size_t tiles_across, std::size_t tiles) {
  __shared__ float panel_a[kDepth][kTile + kPadding];
  __shared__ float panel_b[kDepth][kTile];

  const int thread = static_cast<int>(threadIdx.x);
  const int thread_row = thread / kSide;
  const int thread_col = thread % kSide;

  for (std::size_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const std::size_t tile_row = tile / tiles_across * kTile;
    const std::size_t tile_col = tile % tiles_across * kTile;
    float sums[kPerThread][kPerThread] = {};

    for (std::size_t depth = 0; depth < a.cols; depth += kDepth) {
      // Beyond the edges of the matrices the panels are filled with zeros.
#pragma unroll
      for (int load = 0; load < kPanelLoads; ++load) {
        const int item = thread + load * kBlockThreads;

        const int a_row = item / kDepth;
        const int a_col = item % kDepth;
        const std::size_t row = tile_row + a_row;
        const bool in_a = row < a.rows && depth + a_col < a.cols;
        panel_a[a_col][a_row] = in_a ? a.row(row)[depth + a_col] : 0.0F;

        const int b_row = item / kTile;
        const int b_col = item % kTile;
        const std::size_t col = tile_col + b_col;
        const bool in_b = depth + b_row < b.rows && col < b.cols;
        panel_b[b_row][b_col] = in_b ? b.row(depth + b_row)[col] : 0.0F;
      }
      __syncthreads();

#pragma unroll
      for (int k = 0; k < kDepth; ++k) {
        float column[kPerThread];
        float row[kPerThread];
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
          column[i] = panel_a[k][thread_row + i * kSide];
          row[i] = panel_b[k][thread_col + i * kSide];
        }
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
          for (int j = 0; j < kPerThread; ++j) {
            sums[i][j] = fmaf(column[i], row[j], sums[i][j]);
          }
        }
      }
      __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const std::size_t row = tile_row + thread_row + i * kSide;
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        const std::size_t col = tile_col + thread_col + j * kSide;
        if (row < c.rows && col < c.cols) {
          float& element = c.row(row)[col];
          const float product = alpha * sums[i][j];
          element = beta == 0.0F ? product : fmaf(beta, element, product);
        }
      }
    }
  }
}

}  // namespace gemm_detail

void gemm(float alpha, MatrixSpan<const float> a, MatrixSpan<const float> b, float beta,
          MatrixSpan<float> c, Stream stream) {
  using namespace gemm_detail;
  validate::gemm(a, b, c);
  if (c.empty()) {
    return;
  }
  const std::size_t tiles_across = ceil_div(c.cols(), kTile);
  const std::size_t tiles = tiles_across * ceil_div(c.rows(), kTile);
  const unsigned int blocks = resident_blocks(gemm_kernel, kBlockThreads, 0, tiles, "gemm");
  gemm_kernel<<<blocks, kBlockThreads, 0, stream>>>(
      alpha, Matrix<const float>(a), Matrix<const float>(b), beta, Matrix<float>(c), tiles_across,
      tiles);
  check_launch("gemm");
}

}  // namespace vectorops
