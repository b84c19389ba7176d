#include <vectorops/ops.h>

#include "launch.cuh"
#include "slowdown.h"
#include "validate.h"

namespace vectorops {
namespace polynomial_detail {

constexpr int kBlockThreads = 256;

// The coefficients are read by all threads of a warp at once, from the cache: the time is that of the
// multiplications.
__global__ void __launch_bounds__(kBlockThreads)
    polynomial_kernel(const float* __restrict__ coefficients, std::size_t count, const float* x,
                      float* y, std::size_t size) {
  for (std::size_t i = grid_thread(); i < size; i += grid_threads()) {
    const float value = x[i];
    float result = coefficients[count - 1];
    for (std::size_t k = count - 1; k-- > 0;) {
      result = fmaf(result, value, coefficients[k]);
    }
    if constexpr (VECTOROPS_SLOWDOWN > 0) {
      float copy = result;
      for (std::size_t k = repeated(count); k-- > 0;) {
        copy = fmaf(copy, value, coefficients[k]);
      }
      // Never true, which the compiler does not know.
      result = __float_as_uint(copy) == 0xffffffffU ? copy : result;
    }
    y[i] = result;
  }
}

}  // namespace polynomial_detail

void polynomial(Span<const float> coefficients, Span<const float> x, Span<float> y, Stream stream) {
  using namespace polynomial_detail;
  validate::polynomial(coefficients, x, y);
  if (x.empty()) {
    return;
  }
  const unsigned int blocks = resident_blocks(polynomial_kernel, kBlockThreads, 0,
                                              ceil_div(x.size(), kBlockThreads), "polynomial");
  polynomial_kernel<<<blocks, kBlockThreads, 0, stream>>>(coefficients.data(), coefficients.size(),
                                                          x.data(), y.data(), x.size());
  check_launch("polynomial");
}

}  // namespace vectorops
