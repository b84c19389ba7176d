#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

static void polynomial(std::size_t count, std::size_t size) {
  const std::vector<float> coefficients = gpu::random_values(count, -1.0F, 1.0F);
  const std::vector<float> x = gpu::random_values(size, -1.0F, 1.0F);
  std::vector<float> expected(size);
  vectorops::reference::polynomial({coefficients.data(), count}, {x.data(), size},
                                   {expected.data(), size});

  const gpu::Buffer<float> device_coefficients(coefficients);
  const gpu::Buffer<float> device_x(x);
  const gpu::Stream stream;
  vectorops::polynomial(device_coefficients.span(), device_x.span(), device_x.span(), stream);

  // One fused multiplication and addition each: to the last bit.
  const std::vector<float> actual = device_x.read(stream);
  for (std::size_t i = 0; i < actual.size() && check::failures() < 10; ++i) {
    CHECK_EQUAL(actual[i], expected[i]);
  }
}

int main() {
  return gpu::run([] {
    for (const std::size_t count : {1, 2, 100}) {
      for (const std::size_t size : {0, 1, 257, 100'003}) {
        polynomial(count, size);
      }
    }
    return check::result();
  });
}
