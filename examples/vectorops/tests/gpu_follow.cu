#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

static void follow(std::size_t size, std::size_t steps) {
  const std::vector<std::uint32_t> next = gpu::random_cycle(1009);
  std::vector<std::uint32_t> expected(size);
  for (std::size_t i = 0; i < size; ++i) {
    expected[i] = static_cast<std::uint32_t>(i % next.size());
  }
  const gpu::Buffer<std::uint32_t> device_next(next);
  const gpu::Buffer<std::uint32_t> positions(expected);
  const gpu::Stream stream;
  vectorops::follow(device_next.span(), positions.span(), steps, stream);
  vectorops::reference::follow({next.data(), next.size()}, {expected.data(), size}, steps);

  const std::vector<std::uint32_t> actual = positions.read(stream);
  for (std::size_t i = 0; i < actual.size() && check::failures() < 10; ++i) {
    CHECK_EQUAL(actual[i], expected[i]);
  }
}

int main() {
  return gpu::run([] {
    for (const std::size_t size : {0, 1, 129, 10'007}) {
      for (const std::size_t steps : {0, 1, 1009, 2500}) {
        follow(size, steps);
      }
    }
    return check::result();
  });
}
