// What breaks a contract is refused before a device is touched, so all of this runs without one.
// The pointers stand for device memory; nobody follows them.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <vectorops/error.h>
#include <vectorops/ops.h>
#include <vectorops/reference.h>

#include "check.h"

namespace {

using vectorops::InvalidArgument;
using vectorops::MatrixSpan;
using vectorops::Span;
using Matrix = MatrixSpan<float>;

constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max();

alignas(16) float memory[256];
float* const first = memory;
float* const second = memory + 128;
float* const askew = reinterpret_cast<float*>(reinterpret_cast<std::uintptr_t>(memory) + 2);

void axpy() {
  using vectorops::axpy;
  CHECK_THROWS(InvalidArgument, "x has 8 elements, y has 7", axpy(1, {first, 8}, {second, 7}));
  CHECK_THROWS(InvalidArgument, "x is null", axpy(1, {nullptr, 8}, {second, 8}));
  CHECK_THROWS(InvalidArgument, "y is null", axpy(1, {first, 8}, {nullptr, 8}));
  CHECK_THROWS(InvalidArgument, "x is not aligned", axpy(1, {askew, 8}, {second, 8}));
  CHECK_THROWS(InvalidArgument, "x and y overlap", axpy(1, {first, 8}, {first + 7, 8}));
  CHECK_THROWS(InvalidArgument, "x and y overlap", axpy(1, {first, 8}, {first, 8}));
  CHECK_THROWS(InvalidArgument, "x does not fit in memory",
               axpy(1, {first, kHuge / 2}, {second, kHuge / 2}));
  axpy(1, {}, {});
}

void softmax() {
  using vectorops::softmax;
  CHECK_THROWS(InvalidArgument, "input is 2x8, output is 8x2",
               softmax(Matrix(first, 2, 8), Matrix(second, 8, 2)));
  CHECK_THROWS(InvalidArgument, "input is null",
               softmax(Matrix(nullptr, 2, 8), Matrix(second, 2, 8)));
  CHECK_THROWS(InvalidArgument, "output has rows longer than its stride",
               softmax(Matrix(first, 2, 8), Matrix(second, 2, 8, 7)));
  CHECK_THROWS(InvalidArgument, "overlap in part",
               softmax(Matrix(first, 2, 8), Matrix(first + 8, 2, 8)));
  CHECK_THROWS(InvalidArgument, "overlap in part",
               softmax(Matrix(first, 2, 8), Matrix(first, 2, 8, 9)));
  CHECK_THROWS(InvalidArgument, "does not fit in memory",
               softmax(Matrix(first, kHuge / 4, 8), Matrix(second, kHuge / 4, 8)));
  softmax(Matrix(nullptr, 0, 8), Matrix(nullptr, 0, 8));
  softmax(Matrix(nullptr, 8, 0), Matrix(nullptr, 8, 0));
}

void gemm() {
  using vectorops::gemm;
  const Matrix a(memory, 2, 3);
  const Matrix b(memory + 32, 3, 4);
  const Matrix c(memory + 64, 2, 4);
  CHECK_THROWS(InvalidArgument, "the product of 2x3 and 2x3 is not 2x4", gemm(1, a, a, 0, c));
  CHECK_THROWS(InvalidArgument, "is not 3x4", gemm(1, a, b, 0, Matrix(memory + 64, 3, 4)));
  CHECK_THROWS(InvalidArgument, "c overlaps a", gemm(1, a, b, 0, Matrix(memory + 5, 2, 4)));
  CHECK_THROWS(InvalidArgument, "c overlaps b", gemm(1, a, b, 0, Matrix(memory + 43, 2, 4)));
  CHECK_THROWS(InvalidArgument, "a is null", gemm(1, Matrix(nullptr, 2, 3), b, 0, c));
  CHECK_THROWS(InvalidArgument, "c is not aligned", gemm(1, a, b, 0, Matrix(askew, 2, 4)));
  gemm(1, Matrix(nullptr, 0, 3), b, 0, Matrix(nullptr, 0, 4));
}

void sum() {
  using vectorops::sum;
  std::byte workspace[16];
  const Span<std::byte> bytes(workspace, sizeof(workspace));
  CHECK_THROWS(InvalidArgument, "x is null", sum({nullptr, 8}, second, bytes));
  CHECK_THROWS(InvalidArgument, "result is null", sum({first, 8}, nullptr, bytes));
  CHECK_THROWS(InvalidArgument, "result lies in x", sum({first, 8}, first + 7, bytes));
  CHECK_THROWS(InvalidArgument, "workspace is empty", sum({first, 8}, second, {}));
  CHECK_THROWS(InvalidArgument, "workspace is null", sum({first, 8}, second, {nullptr, 8}));
  CHECK_THROWS(InvalidArgument, "workspace and x overlap",
               sum({first, 8}, second, {reinterpret_cast<std::byte*>(first + 4), 64}));
  CHECK_THROWS(InvalidArgument, "result lies in workspace",
               sum({first, 8}, second, {reinterpret_cast<std::byte*>(second), 64}));
  CHECK_THROWS(InvalidArgument, "more than 2^31 - 1", sum({first, 1ULL << 31}, second, bytes));
  CHECK_THROWS(InvalidArgument, "more than 2^31 - 1", vectorops::sum_workspace_bytes(1ULL << 31));
}

void histogram() {
  using vectorops::histogram;
  std::vector<std::uint32_t> bins(vectorops::kMaxHistogramBins + 1);
  const Span<std::uint32_t> counts(bins.data(), 8);
  const float infinity = std::numeric_limits<float>::infinity();
  const float greatest = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  CHECK_THROWS(InvalidArgument, "0 bins", histogram({first, 8}, 0, 1, {}));
  CHECK_THROWS(InvalidArgument, "4097 bins",
               histogram({first, 8}, 0, 1, {bins.data(), bins.size()}));
  CHECK_THROWS(InvalidArgument, "the lesser", histogram({first, 8}, 1, 1, counts));
  CHECK_THROWS(InvalidArgument, "finite", histogram({first, 8}, 0, infinity, counts));
  CHECK_THROWS(InvalidArgument, "finite", histogram({first, 8}, infinity - infinity, 1, counts));
  CHECK_THROWS(InvalidArgument, "too wide", histogram({first, 8}, -greatest, greatest, counts));
  CHECK_THROWS(InvalidArgument, "too narrow", histogram({first, 8}, 0, least, counts));
  CHECK_THROWS(InvalidArgument, "x is null", histogram({nullptr, 8}, 0, 1, counts));
  CHECK_THROWS(InvalidArgument, "counts is null", histogram({first, 8}, 0, 1, {nullptr, 8}));
  CHECK_THROWS(InvalidArgument, "more than 2^32 - 1",
               histogram({first, 1ULL << 32}, 0, 1, counts));
  CHECK_THROWS(InvalidArgument, "x and counts overlap",
               histogram({first, 8}, 0, 1,
                         {static_cast<std::uint32_t*>(static_cast<void*>(first)), 8}));
}

void polynomial() {
  using vectorops::polynomial;
  CHECK_THROWS(InvalidArgument, "0 coefficients", polynomial({}, {first, 8}, {second, 8}));
  CHECK_THROWS(InvalidArgument, "4097 coefficients",
               polynomial({first, 4097}, {first, 8}, {second, 8}));
  CHECK_THROWS(InvalidArgument, "x has 8 elements, y has 7",
               polynomial({first, 2}, {first, 8}, {second, 7}));
  CHECK_THROWS(InvalidArgument, "y is null", polynomial({first, 2}, {first, 8}, {nullptr, 8}));
  CHECK_THROWS(InvalidArgument, "overlap in part",
               polynomial({second, 2}, {first, 8}, {first + 1, 8}));
  CHECK_THROWS(InvalidArgument, "coefficients and y overlap",
               polynomial({second, 2}, {first, 8}, {second, 8}));
  polynomial({first, 2}, {}, {});
}

void follow() {
  using vectorops::follow;
  std::uint32_t links[16] = {};
  CHECK_THROWS(InvalidArgument, "next is empty", follow({}, {links, 1}, 1));
  CHECK_THROWS(InvalidArgument, "next is null", follow({nullptr, 8}, {links, 1}, 1));
  CHECK_THROWS(InvalidArgument, "positions is null", follow({links, 8}, {nullptr, 1}, 1));
  CHECK_THROWS(InvalidArgument, "next has more than 2^32 elements",
               follow({links, (1ULL << 32) + 1}, {links, 1}, 1));
  CHECK_THROWS(InvalidArgument, "next and positions overlap",
               follow({links, 8}, {links + 7, 1}, 1));
  follow({links, 8}, {}, 1);
  follow({}, {}, 1);
}

// The reference implementations keep to the same contracts.
void reference() {
  CHECK_THROWS(InvalidArgument, "x and y overlap",
               vectorops::reference::axpy(1, {first, 8}, {first + 7, 8}));
  CHECK_THROWS(InvalidArgument, "input is null",
               vectorops::reference::softmax(Matrix(nullptr, 2, 8), Matrix(second, 2, 8)));
  CHECK_THROWS(InvalidArgument, "is not 2x4",
               vectorops::reference::gemm(1, Matrix(first, 2, 3), Matrix(first, 2, 3), 0,
                                          Matrix(second, 2, 4)));
  CHECK_THROWS(InvalidArgument, "x is null", vectorops::reference::sum({nullptr, 8}));
  CHECK_THROWS(InvalidArgument, "0 bins",
               vectorops::reference::histogram({first, 8}, 0, 1, {}));
  CHECK_THROWS(InvalidArgument, "0 coefficients",
               vectorops::reference::polynomial({}, {first, 8}, {second, 8}));
  std::uint32_t position = 0;
  CHECK_THROWS(InvalidArgument, "next is empty",
               vectorops::reference::follow({}, {&position, 1}, 1));
}

}  // namespace

int main() {
  axpy();
  softmax();
  gemm();
  sum();
  histogram();
  polynomial();
  follow();
  reference();
  return check::result();
}
