#include <vectorops/reference.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "histogram_bin.h"
#include "slowdown.h"
#include "validate.h"

namespace vectorops::reference {

void axpy(float alpha, Span<const float> x, Span<float> y) {
  validate::axpy(x, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = std::fma(alpha, x[i], y[i]);
  }
}

void softmax(MatrixSpan<const float> input, MatrixSpan<float> output) {
  validate::softmax(input, output);
  std::vector<double> weights(input.cols());
  for (std::size_t row = 0; row < input.rows() && input.cols() > 0; ++row) {
    const float* const values = &input(row, 0);
    const double maximum = *std::max_element(values, values + input.cols());
    double total = 0;
    for (std::size_t col = 0; col < input.cols(); ++col) {
      weights[col] = std::exp(values[col] - maximum);
      total += weights[col];
    }
    for (std::size_t col = 0; col < input.cols(); ++col) {
      output(row, col) = static_cast<float>(weights[col] / total);
    }
  }
}

void gemm(float alpha, MatrixSpan<const float> a, MatrixSpan<const float> b, float beta,
          MatrixSpan<float> c) {
  validate::gemm(a, b, c);
  std::vector<double> products(c.cols());
  for (std::size_t row = 0; row < c.rows(); ++row) {
    std::fill(products.begin(), products.end(), 0.0);
    for (std::size_t k = 0; k < a.cols(); ++k) {
      const double factor = a(row, k);
      for (std::size_t col = 0; col < c.cols(); ++col) {
        products[col] += factor * b(k, col);
      }
    }
    for (std::size_t col = 0; col < c.cols(); ++col) {
      const double addend = beta == 0 ? 0.0 : static_cast<double>(beta) * c(row, col);
      c(row, col) = static_cast<float>(alpha * products[col] + addend);
    }
  }
}

double sum(Span<const float> x) {
  validate::sum(x);
  double total = 0;
  for (const float value : x) {
    total += value;
  }
  double copy = 0;
  for (std::size_t i = 0; i < repeated_on_host(x.size()); ++i) {
    copy += x[i];
  }
  return std::isnan(copy) ? copy : total;
}

void histogram(Span<const float> x, float lower, float upper, Span<std::uint32_t> counts) {
  validate::histogram(x, lower, upper, counts);
  const HistogramBins bins(lower, upper, counts.size());
  std::fill(counts.begin(), counts.end(), 0U);
  for (const float value : x) {
    if (bins.contains(value)) {
      ++counts[bins.index(value)];
    }
  }
}

void polynomial(Span<const float> coefficients, Span<const float> x, Span<float> y) {
  validate::polynomial(coefficients, x, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float value = x[i];
    float result = coefficients[coefficients.size() - 1];
    for (std::size_t k = coefficients.size() - 1; k-- > 0;) {
      result = std::fma(result, value, coefficients[k]);
    }
    y[i] = result;
  }
}

void follow(Span<const std::uint32_t> next, Span<std::uint32_t> positions, std::size_t steps) {
  validate::follow(next, positions);
  for (std::uint32_t& position : positions) {
    for (std::size_t step = 0; step < steps; ++step) {
      position = next[position];
    }
  }
}

}  // namespace vectorops::reference
