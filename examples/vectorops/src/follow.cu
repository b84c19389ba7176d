#include <vectorops/ops.h>

#include "launch.cuh"
#include "slowdown.h"
#include "validate.h"

namespace vectorops {
namespace follow_detail {

constexpr int kBlockThreads = 128;

// Each load needs the one before it: the time is the latency of memory.
__global__ void __launch_bounds__(kBlockThreads)
    follow_kernel(const std::uint32_t* __restrict__ next, std::uint32_t* positions,
                  std::size_t size, std::size_t steps) {
  for (std::size_t i = grid_thread(); i < size; i += grid_threads()) {
    std::uint32_t position = positions[i];
    for (std::size_t step = 0; step < steps; ++step) {
      position = next[position];
    }
    if constexpr (VECTOROPS_SLOWDOWN > 0) {
      std::uint32_t copy = position;
      for (std::size_t step = 0; step < repeated(steps); ++step) {
        copy = next[copy];
      }
      // Never true, as there is no such element.
      position = copy == 0xffffffffU ? copy : position;
    }
    positions[i] = position;
  }
}

}  // namespace follow_detail

void follow(Span<const std::uint32_t> next, Span<std::uint32_t> positions, std::size_t steps,
            Stream stream) {
  using namespace follow_detail;
  validate::follow(next, positions);
  if (positions.empty()) {
    return;
  }
  const unsigned int blocks = resident_blocks(follow_kernel, kBlockThreads, 0,
                                              ceil_div(positions.size(), kBlockThreads), "follow");
  follow_kernel<<<blocks, kBlockThreads, 0, stream>>>(next.data(), positions.data(),
                                                      positions.size(), steps);
  check_launch("follow");
}

}  // namespace vectorops
