#include <vectorops/error.h>
#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

static void sum(std::size_t size, std::size_t offset) {
  const std::vector<float> x = gpu::random_values(size + offset, 0.0F, 1.0F);
  const gpu::Buffer<float> device_x(x);
  const gpu::Buffer<float> result(std::vector<float>{-1.0F});
  const gpu::Buffer<std::byte> workspace(vectorops::sum_workspace_bytes(size));
  const gpu::Stream stream;

  vectorops::sum({device_x.data() + offset, size}, result.data(), workspace.span(), stream);
  const double expected = vectorops::reference::sum({x.data() + offset, size});
  CHECK_NEAR(result.read(stream)[0], expected, 1e-5 * expected);
}

static void small_workspace() {
  const gpu::Buffer<float> x(1'000'000);
  const gpu::Buffer<float> result(1);
  const gpu::Buffer<std::byte> workspace(vectorops::sum_workspace_bytes(x.size()) - 1);
  CHECK_THROWS(vectorops::InvalidArgument, "are needed",
               vectorops::sum(x.span(), result.data(), workspace.span()));
}

int main() {
  return gpu::run([] {
    for (const std::size_t size : {0, 1, 31, 1000, 4096, 4097, 1'000'003, 20'000'000}) {
      sum(size, 0);
      sum(size, 1);
    }
    small_workspace();
    return check::result();
  });
}
