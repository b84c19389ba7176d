#include <limits>

#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

static void histogram(std::size_t size, std::size_t bins, float lower, float upper) {
  std::vector<float> x = gpu::random_values(size, -1.0F, 1.0F);
  for (std::size_t i = 0; i < size; i += 101) {
    x[i] = std::numeric_limits<float>::quiet_NaN();
  }
  std::vector<std::uint32_t> expected(bins, 5);
  const gpu::Buffer<float> device_x(x);
  const gpu::Buffer<std::uint32_t> counts(expected);  // what is there before does not count
  const gpu::Stream stream;

  vectorops::histogram(device_x.span(), lower, upper, counts.span(), stream);
  vectorops::reference::histogram({x.data(), size}, lower, upper, {expected.data(), bins});

  const std::vector<std::uint32_t> actual = counts.read(stream);
  for (std::size_t i = 0; i < bins && check::failures() < 10; ++i) {
    CHECK_EQUAL(actual[i], expected[i]);
  }
}

int main() {
  return gpu::run([] {
    for (const std::size_t size : {0, 1, 1000, 4097, 3'000'000}) {
      histogram(size, 1, -1.0F, 1.0F);
      histogram(size, 10, -0.3F, 0.7F);
      histogram(size, 256, -1.0F, 1.0F);
      histogram(size, vectorops::kMaxHistogramBins, -0.9F, 2.0F);
    }
    return check::result();
  });
}
