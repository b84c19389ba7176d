#include "validate.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include <vectorops/error.h>
#include <vectorops/ops.h>

#include "histogram_bin.h"

namespace vectorops::validate {
namespace {

constexpr std::size_t kMaxInt = std::numeric_limits<int>::max();

void require(bool condition, const char* operation, const std::string& complaint) {
  if (!condition) {
    throw InvalidArgument(std::string(operation) + ": " + complaint);
  }
}

// The bytes from the first element to the last.
struct Extent {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;

  bool overlaps(const Extent& other) const {
    return begin < end && other.begin < other.end && begin < other.end && other.begin < end;
  }
};

template <typename T>
Extent extent_of(Span<T> span, const char* operation, const char* name) {
  if (span.empty()) {
    return {};
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(span.data());
  require(begin != 0, operation, std::string(name) + " is null");
  require(begin % alignof(T) == 0, operation, std::string(name) + " is not aligned");
  require(span.size() <= (std::numeric_limits<std::uintptr_t>::max() - begin) / sizeof(T),
          operation, std::string(name) + " does not fit in memory");
  return {begin, begin + span.size() * sizeof(T)};
}

Extent extent_of(const MatrixSpan<const float>& matrix, const char* operation, const char* name) {
  if (matrix.empty()) {
    return {};
  }
  require(matrix.stride() >= matrix.cols(), operation,
          std::string(name) + " has rows longer than its stride");
  require(matrix.rows() <= std::numeric_limits<std::size_t>::max() / matrix.stride(), operation,
          std::string(name) + " does not fit in memory");
  const std::size_t size = (matrix.rows() - 1) * matrix.stride() + matrix.cols();
  return extent_of(Span<const float>(matrix.data(), size), operation, name);
}

std::string shape_of(const MatrixSpan<const float>& matrix) {
  return std::to_string(matrix.rows()) + "x" + std::to_string(matrix.cols());
}

}  // namespace

void axpy(Span<const float> x, Span<const float> y) {
  constexpr auto kName = "axpy";
  require(x.size() == y.size(), kName,
          "x has " + std::to_string(x.size()) + " elements, y has " + std::to_string(y.size()));
  require(!extent_of(x, kName, "x").overlaps(extent_of(y, kName, "y")), kName,
          "x and y overlap");
}

void softmax(MatrixSpan<const float> input, MatrixSpan<const float> output) {
  constexpr auto kName = "softmax";
  require(input.rows() == output.rows() && input.cols() == output.cols(), kName,
          "input is " + shape_of(input) + ", output is " + shape_of(output));
  const bool overlap =
      extent_of(input, kName, "input").overlaps(extent_of(output, kName, "output"));
  const bool in_place = input.data() == output.data() && input.stride() == output.stride();
  require(in_place || !overlap, kName, "input and output overlap in part");
}

void gemm(MatrixSpan<const float> a, MatrixSpan<const float> b, MatrixSpan<const float> c) {
  constexpr auto kName = "gemm";
  require(a.cols() == b.rows() && a.rows() == c.rows() && b.cols() == c.cols(), kName,
          "the product of " + shape_of(a) + " and " + shape_of(b) + " is not " + shape_of(c));
  const Extent extent_a = extent_of(a, kName, "a");
  const Extent extent_b = extent_of(b, kName, "b");
  const Extent extent_c = extent_of(c, kName, "c");
  require(!extent_c.overlaps(extent_a), kName, "c overlaps a");
  require(!extent_c.overlaps(extent_b), kName, "c overlaps b");
}

void sum_size(std::size_t size) {
  require(size <= kMaxInt, "sum", "x has more than 2^31 - 1 elements");
}

void sum(Span<const float> x) {
  sum_size(x.size());
  extent_of(x, "sum", "x");
}

void sum_output(Span<const float> x, const float* result, Span<const std::byte> workspace) {
  constexpr auto kName = "sum";
  sum(x);
  const Extent extent_x = extent_of(x, kName, "x");
  const Extent extent_result = extent_of(Span<const float>(result, 1), kName, "result");
  require(!workspace.empty(), kName, "workspace is empty");
  const Extent extent_workspace = extent_of(workspace, kName, "workspace");
  require(!extent_result.overlaps(extent_x), kName, "result lies in x");
  require(!extent_workspace.overlaps(extent_x), kName, "workspace and x overlap");
  require(!extent_workspace.overlaps(extent_result), kName, "result lies in workspace");
}

void histogram(Span<const float> x, float lower, float upper, Span<const std::uint32_t> counts) {
  constexpr auto kName = "histogram";
  require(counts.size() >= 1 && counts.size() <= kMaxHistogramBins, kName,
          std::to_string(counts.size()) + " bins; there can be 1 to " +
              std::to_string(kMaxHistogramBins));
  require(x.size() <= std::numeric_limits<std::uint32_t>::max(), kName,
          "x has more than 2^32 - 1 elements");
  require(std::isfinite(lower) && std::isfinite(upper) && lower < upper, kName,
          "lower and upper have to be finite, and lower the lesser");
  require(std::isnormal(HistogramBins(lower, upper, counts.size()).scale()), kName,
          "the range from lower to upper is too wide or too narrow for its bins");
  require(!extent_of(x, kName, "x").overlaps(extent_of(counts, kName, "counts")), kName,
          "x and counts overlap");
}

void polynomial(Span<const float> coefficients, Span<const float> x, Span<const float> y) {
  constexpr auto kName = "polynomial";
  require(!coefficients.empty() && coefficients.size() <= kMaxCoefficients, kName,
          std::to_string(coefficients.size()) + " coefficients; there can be 1 to " +
              std::to_string(kMaxCoefficients));
  require(x.size() == y.size(), kName,
          "x has " + std::to_string(x.size()) + " elements, y has " + std::to_string(y.size()));
  const Extent extent_y = extent_of(y, kName, "y");
  require(x.data() == y.data() || !extent_of(x, kName, "x").overlaps(extent_y), kName,
          "x and y overlap in part");
  require(!extent_of(coefficients, kName, "coefficients").overlaps(extent_y), kName,
          "coefficients and y overlap");
}

void follow(Span<const std::uint32_t> next, Span<const std::uint32_t> positions) {
  constexpr auto kName = "follow";
  require(positions.empty() || !next.empty(), kName, "next is empty");
  require(next.size() - 1 <= std::numeric_limits<std::uint32_t>::max() || next.empty(), kName,
          "next has more than 2^32 elements");
  require(!extent_of(next, kName, "next").overlaps(extent_of(positions, kName, "positions")), kName,
          "next and positions overlap");
}

}  // namespace vectorops::validate
