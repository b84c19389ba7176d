// The reference implementations against values worked out by hand.

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <vectorops/reference.h>

#include "check.h"

namespace {

using vectorops::MatrixSpan;
using vectorops::Span;
namespace reference = vectorops::reference;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <typename T>
Span<T> span(std::vector<T>& values) {
  return {values.data(), values.size()};
}

void axpy() {
  std::vector<float> x{1.0F, -2.0F, 0.5F};
  std::vector<float> y{10.0F, 20.0F, 30.0F};
  reference::axpy(2.0F, span(x), span(y));
  CHECK_EQUAL(y[0], 12.0F);
  CHECK_EQUAL(y[1], 16.0F);
  CHECK_EQUAL(y[2], 31.0F);
}

void softmax() {
  // exp of these is 1, 2 and 5; the second row is the first, a long way up.
  const float log2 = std::log(2.0F);
  const float log5 = std::log(5.0F);
  std::vector<float> input{0.0F, log2, log5, 99.0F, 64.0F, 64.0F + log2, 64.0F + log5, 99.0F};
  std::vector<float> output(6);
  reference::softmax(MatrixSpan<float>(input.data(), 2, 3, 4),
                     MatrixSpan<float>(output.data(), 2, 3));
  for (int row = 0; row < 2; ++row) {
    CHECK_NEAR(output[row * 3 + 0], 0.125, 1e-6);
    CHECK_NEAR(output[row * 3 + 1], 0.25, 1e-6);
    CHECK_NEAR(output[row * 3 + 2], 0.625, 1e-6);
  }

  // What is masked with -inf gets nothing; and in place.
  std::vector<float> masked{-kInfinity, 3.0F, -kInfinity, 3.0F};
  const MatrixSpan<float> row(masked.data(), 1, 4);
  reference::softmax(row, row);
  CHECK_EQUAL(masked[0], 0.0F);
  CHECK_EQUAL(masked[1], 0.5F);
  CHECK_EQUAL(masked[2], 0.0F);
  CHECK_EQUAL(masked[3], 0.5F);
}

void gemm() {
  std::vector<float> a{1, 2, 3,  //
                       4, 5, 6};
  std::vector<float> b{7, 8,   //
                       9, 10,  //
                       11, 12};
  std::vector<float> c{1, 1, -1,  //
                       1, 1, -1};
  const MatrixSpan<float> product(c.data(), 2, 2, 3);
  reference::gemm(2.0F, MatrixSpan<float>(a.data(), 2, 3), MatrixSpan<float>(b.data(), 3, 2),
                  10.0F, product);
  CHECK_EQUAL(product(0, 0), 126.0F);
  CHECK_EQUAL(product(0, 1), 138.0F);
  CHECK_EQUAL(product(1, 0), 288.0F);
  CHECK_EQUAL(product(1, 1), 318.0F);
  CHECK_EQUAL(c[2], -1.0F);  // between the rows
  CHECK_EQUAL(c[5], -1.0F);

  // With beta == 0, c may hold anything.
  std::vector<float> unset{kNan};
  reference::gemm(1.0F, MatrixSpan<float>(a.data(), 1, 2), MatrixSpan<float>(b.data(), 2, 1), 0.0F,
                  MatrixSpan<float>(unset.data(), 1, 1));
  CHECK_EQUAL(unset[0], 1.0F * 7 + 2.0F * 8);

  // With no depth the product is zero, and c only scaled.
  std::vector<float> scaled{3.0F};
  reference::gemm(1.0F, MatrixSpan<float>(nullptr, 1, 0), MatrixSpan<float>(nullptr, 0, 1), 2.0F,
                  MatrixSpan<float>(scaled.data(), 1, 1));
  CHECK_EQUAL(scaled[0], 6.0F);
}

void sum() {
  // Single precision would lose the ones.
  std::vector<float> x{1.0F, 1e10F, 1.0F, -1e10F, 0.25F};
  CHECK_EQUAL(reference::sum(span(x)), 2.25);
  CHECK_EQUAL(reference::sum({}), 0.0);
}

void histogram() {
  const float below_two = std::nextafter(2.0F, 0.0F);
  std::vector<float> x{0.0F, 0.49F, 0.5F, 1.0F,      1.25F, 1.5F,
                       1.9F, 2.0F,  -0.1F, below_two, kNan,  kInfinity};
  std::vector<std::uint32_t> counts(4, 7);
  reference::histogram(span(x), 0.0F, 2.0F, span(counts));
  CHECK_EQUAL(counts[0], 2U);
  CHECK_EQUAL(counts[1], 1U);
  CHECK_EQUAL(counts[2], 2U);
  CHECK_EQUAL(counts[3], 3U);

  // (value - lower) * scale rounds up to 3 here, and there is no bin 3.
  std::vector<float> last{std::nextafter(0.3F, 0.0F)};
  std::vector<std::uint32_t> three(3);
  reference::histogram(span(last), 0.0F, 0.3F, span(three));
  CHECK_EQUAL(three[2], 1U);
}

void polynomial() {
  std::vector<float> coefficients{1.0F, -3.0F, 2.0F};
  std::vector<float> x{0.0F, 1.0F, 2.0F, -0.5F};
  const std::vector<float> expected{1.0F, 0.0F, 3.0F, 3.0F};
  std::vector<float> y(x.size());
  reference::polynomial(span(coefficients), span(x), span(y));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK_EQUAL(y[i], expected[i]);
  }
  reference::polynomial(span(coefficients), span(x), span(x));  // in place
  CHECK_EQUAL(x[2], 3.0F);
}

void follow() {
  std::vector<std::uint32_t> next{3, 0, 1, 2};  // 0 -> 3 -> 2 -> 1 -> 0
  std::vector<std::uint32_t> positions{0, 1, 3};
  reference::follow(span(next), span(positions), 2);
  CHECK_EQUAL(positions[0], 2U);
  CHECK_EQUAL(positions[1], 3U);
  CHECK_EQUAL(positions[2], 1U);
  reference::follow(span(next), span(positions), 0);
  CHECK_EQUAL(positions[0], 2U);
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
  return check::result();
}
