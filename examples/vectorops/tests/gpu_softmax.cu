#include <limits>

#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"
#include "gpu.h"

using vectorops::MatrixSpan;

static void softmax(std::size_t rows, std::size_t cols, std::size_t stride, bool in_place) {
  std::vector<float> input = gpu::random_values(rows * stride, -20.0F, 20.0F);
  for (std::size_t i = 0; i < input.size(); i += 7) {
    input[i] = -std::numeric_limits<float>::infinity();
  }
  // A row of nothing but -inf would have no softmax.
  for (std::size_t row = 0; row < rows; ++row) {
    input[row * stride + cols - 1] = 1.0F;
  }
  std::vector<float> expected = input;
  const gpu::Buffer<float> device_input(input);
  const gpu::Buffer<float> device_output(input);
  const gpu::Stream stream;

  const auto& target = in_place ? device_input : device_output;
  vectorops::softmax(MatrixSpan<float>(device_input.data(), rows, cols, stride),
                     MatrixSpan<float>(target.data(), rows, cols, stride), stream);
  vectorops::reference::softmax(MatrixSpan<float>(input.data(), rows, cols, stride),
                                MatrixSpan<float>(expected.data(), rows, cols, stride));

  // What lies between the rows is the input in both, and untouched.
  const std::vector<float> actual = target.read(stream);
  for (std::size_t i = 0; i < actual.size() && check::failures() < 10; ++i) {
    if (i % stride < cols) {
      CHECK_NEAR(actual[i], expected[i], 1e-5 * expected[i] + 1e-30);
    } else {
      CHECK_EQUAL(actual[i], expected[i]);
    }
  }
}

int main() {
  return gpu::run([] {
    // On both sides of a warp, of the change from a warp to a block for each row, and of a grid.
    for (const std::size_t cols : {1, 2, 31, 32, 33, 1000, 1024, 1025, 4099}) {
      for (const std::size_t rows : {1, 7, 100}) {
        softmax(rows, cols, cols, false);
        softmax(rows, cols, cols + 3, true);
      }
    }
    softmax(50'000, 5, 5, false);
    softmax(5'000, 1030, 1030, true);
    return check::result();
  });
}
