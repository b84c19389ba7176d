#include <vectorops/ops.h>

#include "histogram_bin.h"
#include "launch.cuh"
#include "validate.h"

namespace vectorops {
namespace histogram_detail {

constexpr int kBlockThreads = 256;

// Elements for each thread before another block is worth its bins, which have to be cleared and
// added to the whole.
constexpr std::size_t kThreadItems = 16;

// Each block counts in shared memory, then adds what it has to the counts of all.
__global__ void __launch_bounds__(kBlockThreads)
    histogram_kernel(const float* __restrict__ x, std::size_t size, HistogramBins bins,
                     std::uint32_t* __restrict__ counts) {
  extern __shared__ std::uint32_t block_counts[];
  for (std::uint32_t bin = threadIdx.x; bin < bins.size(); bin += kBlockThreads) {
    block_counts[bin] = 0;
  }
  __syncthreads();

  const std::size_t step = grid_threads();
  for (std::size_t i = grid_thread(); i < size; i += step) {
    const float value = x[i];
    if (bins.contains(value)) {
      atomicAdd(&block_counts[bins.index(value)], 1U);
    }
  }
  __syncthreads();

  for (std::uint32_t bin = threadIdx.x; bin < bins.size(); bin += kBlockThreads) {
    if (const std::uint32_t count = block_counts[bin]; count != 0) {
      atomicAdd(&counts[bin], count);
    }
  }
}

}  // namespace histogram_detail

void histogram(Span<const float> x, float lower, float upper, Span<std::uint32_t> counts,
               Stream stream) {
  using namespace histogram_detail;
  validate::histogram(x, lower, upper, counts);
  const std::size_t counts_bytes = counts.size() * sizeof(std::uint32_t);
  check(cudaMemsetAsync(counts.data(), 0, counts_bytes, stream), "histogram");
  if (x.empty()) {
    return;
  }
  const unsigned int blocks =
      resident_blocks(histogram_kernel, kBlockThreads, counts_bytes,
                      ceil_div(x.size(), kBlockThreads * kThreadItems), "histogram");
  histogram_kernel<<<blocks, kBlockThreads, counts_bytes, stream>>>(
      x.data(), x.size(), HistogramBins(lower, upper, counts.size()), counts.data());
  check_launch("histogram");
}

}  // namespace vectorops
