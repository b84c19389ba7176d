#include <string>

#include <cub/device/device_reduce.cuh>

#include <vectorops/ops.h>

#include "launch.cuh"
#include "validate.h"

namespace vectorops {

std::size_t sum_workspace_bytes(std::size_t size) {
  validate::sum_size(size);
  std::size_t bytes = 0;
  const float* const input = nullptr;
  float* const output = nullptr;
  // Without a workspace, CUB only says how much it needs.
  check(cub::DeviceReduce::Sum(nullptr, bytes, input, output, static_cast<int>(size)),
        "sum_workspace_bytes");
  return bytes;
}

void sum(Span<const float> x, float* result, Span<std::byte> workspace, Stream stream) {
  validate::sum_output(x, result, workspace);
  const std::size_t needed = sum_workspace_bytes(x.size());
  if (workspace.size() < needed) {
    throw InvalidArgument("sum: workspace has " + std::to_string(workspace.size()) +
                          " bytes, and " + std::to_string(needed) + " are needed");
  }
  std::size_t bytes = workspace.size();
  check(cub::DeviceReduce::Sum(workspace.data(), bytes, x.data(), result,
                               static_cast<int>(x.size()), stream),
        "sum");
}

}  // namespace vectorops
