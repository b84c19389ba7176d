#include <cstdint>

#include <vectorops/ops.h>

#include "launch.cuh"
#include "slowdown.h"
#include "validate.h"

namespace vectorops {
namespace axpy_detail {

constexpr int kBlockThreads = 256;
constexpr std::size_t kVectorWidth = sizeof(float4) / sizeof(float);

// With kVectorised, both arrays begin on 16 bytes; what four do not divide is done one by one.
template <bool kVectorised>
__global__ void __launch_bounds__(kBlockThreads)
    axpy_kernel(float alpha, const float* __restrict__ x, float* __restrict__ y,
                std::size_t size) {
  const std::size_t first = grid_thread();
  const std::size_t step = grid_threads();
  std::size_t done = 0;
  if constexpr (kVectorised) {
    const auto* const x4 = reinterpret_cast<const float4*>(x);
    auto* const y4 = reinterpret_cast<float4*>(y);
    const std::size_t vectors = size / kVectorWidth;
    for (std::size_t i = first; i < vectors; i += step) {
      const float4 addend = x4[i];
      float4 result = y4[i];
      result.x = fmaf(alpha, addend.x, result.x);
      result.y = fmaf(alpha, addend.y, result.y);
      result.z = fmaf(alpha, addend.z, result.z);
      result.w = fmaf(alpha, addend.w, result.w);
      y4[i] = result;
    }
    done = vectors * kVectorWidth;
  }
  for (std::size_t i = done + first; i < size; i += step) {
    y[i] = fmaf(alpha, x[i], y[i]);
  }
  if constexpr (VECTOROPS_SLOWDOWN > 0) {  // of what this thread has written itself
    constexpr std::size_t kWidth = kVectorised ? kVectorWidth : 1;
    const volatile float* const read = x;
    volatile float* const written = y;
    for (std::size_t i = first; i < repeated(size / kWidth); i += step) {
      for (std::size_t k = i * kWidth; k < (i + 1) * kWidth; ++k) {
        static_cast<void>(read[k]);
        written[k] = written[k];
      }
    }
  }
}

inline bool is_vector_aligned(const float* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % sizeof(float4) == 0;
}

}  // namespace axpy_detail

void axpy(float alpha, Span<const float> x, Span<float> y, Stream stream) {
  using namespace axpy_detail;
  validate::axpy(x, y);
  if (x.empty()) {
    return;
  }
  const bool vectorised = is_vector_aligned(x.data()) && is_vector_aligned(y.data());
  const auto kernel = vectorised ? axpy_kernel<true> : axpy_kernel<false>;
  const std::size_t items = vectorised ? ceil_div(x.size(), kVectorWidth) : x.size();
  const unsigned int blocks =
      resident_blocks(kernel, kBlockThreads, 0, ceil_div(items, kBlockThreads), "axpy");
  kernel<<<blocks, kBlockThreads, 0, stream>>>(alpha, x.data(), y.data(), x.size());
  check_launch("axpy");
}

}  // namespace vectorops
