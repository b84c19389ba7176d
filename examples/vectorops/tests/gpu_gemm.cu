#include <cmath>
#include <limits>

#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

using vectorops::MatrixSpan;

// All three matrices have `gap` elements between their rows.
static void gemm(std::size_t m, std::size_t n, std::size_t k, float beta, std::size_t gap) {
  const std::vector<float> a = gpu::random_values(m * (k + gap), -1.0F, 1.0F);
  const std::vector<float> b = gpu::random_values(k * (n + gap), -1.0F, 1.0F);
  std::vector<float> expected =
      beta == 0.0F ? std::vector<float>(m * (n + gap), std::numeric_limits<float>::quiet_NaN())
                   : gpu::random_values(m * (n + gap), -1.0F, 1.0F);
  const gpu::Buffer<float> device_a(a);
  const gpu::Buffer<float> device_b(b);
  const gpu::Buffer<float> device_c(expected);
  const gpu::Stream stream;

  vectorops::gemm(0.5F, MatrixSpan<float>(device_a.data(), m, k, k + gap),
                  MatrixSpan<float>(device_b.data(), k, n, n + gap), beta,
                  MatrixSpan<float>(device_c.data(), m, n, n + gap), stream);
  vectorops::reference::gemm(0.5F, MatrixSpan<const float>(a.data(), m, k, k + gap),
                             MatrixSpan<const float>(b.data(), k, n, n + gap), beta,
                             MatrixSpan<float>(expected.data(), m, n, n + gap));

  // At worst, k roundings of sums that are no greater than k.
  const double epsilon = std::numeric_limits<float>::epsilon();
  const double tolerance = epsilon * (1.0 + static_cast<double>(k) * static_cast<double>(k));
  const std::vector<float> actual = device_c.read(stream);
  for (std::size_t i = 0; i < actual.size() && check::failures() < 10; ++i) {
    if (i % (n + gap) < n) {
      CHECK_NEAR(actual[i], expected[i], std::fmin(tolerance, 1e-4));
    } else {
      CHECK(actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i])));
    }
  }
}

int main() {
  return gpu::run([] {
    gemm(1, 1, 1, 0.0F, 0);
    gemm(3, 5, 0, 2.0F, 0);
    gemm(64, 64, 16, 0.0F, 0);
    gemm(63, 65, 17, 1.0F, 1);
    gemm(65, 63, 15, -0.5F, 3);
    gemm(1, 300, 129, 0.0F, 0);
    gemm(300, 1, 129, 1.0F, 2);
    gemm(257, 129, 513, 0.25F, 5);
    gemm(20'000, 200, 8, 0.0F, 0);  // more tiles than any device runs at once
    return check::result();
  });
}
