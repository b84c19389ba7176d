#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

// From `offset` on, so that both the vectorised and the plain kernel are met.
static void axpy(std::size_t size, std::size_t offset) {
  const std::vector<float> x = gpu::random_values(size + offset, -1.0F, 1.0F);
  std::vector<float> expected = gpu::random_values(size + offset + 1, -1.0F, 1.0F);
  const gpu::Buffer<float> device_x(x);
  const gpu::Buffer<float> device_y(expected);
  const gpu::Stream stream;

  vectorops::axpy(1.5F, {device_x.data() + offset, size}, {device_y.data() + offset, size},
                  stream);
  vectorops::reference::axpy(1.5F, {x.data() + offset, size}, {expected.data() + offset, size});

  // One fused multiplication and addition each: to the last bit.
  const std::vector<float> actual = device_y.read(stream);
  for (std::size_t i = 0; i < actual.size() && check::failures() < 10; ++i) {
    CHECK_EQUAL(actual[i], expected[i]);
  }
}

int main() {
  return gpu::run([] {
    for (const std::size_t size : {0, 1, 3, 4, 255, 256, 257, 100'003, 5'000'000}) {
      axpy(size, 0);
      axpy(size, 1);
    }
    return check::result();
  });
}
