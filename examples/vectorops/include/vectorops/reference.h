#pragma once

// The same operations on the CPU, with the same contracts but for the memory: all spans are host
// memory. They are plain and accurate (sums are kept in double precision), not fast, and serve to
// check the results of a device.

#include <cstdint>

#include <vectorops/export.h>
#include <vectorops/span.h>

namespace vectorops::reference {

VECTOROPS_API void axpy(float alpha, Span<const float> x, Span<float> y);

VECTOROPS_API void softmax(MatrixSpan<const float> input, MatrixSpan<float> output);

VECTOROPS_API void gemm(float alpha, MatrixSpan<const float> a, MatrixSpan<const float> b,
                        float beta, MatrixSpan<float> c);

VECTOROPS_API double sum(Span<const float> x);

VECTOROPS_API void histogram(Span<const float> x, float lower, float upper,
                             Span<std::uint32_t> counts);

VECTOROPS_API void polynomial(Span<const float> coefficients, Span<const float> x, Span<float> y);

VECTOROPS_API void follow(Span<const std::uint32_t> next, Span<std::uint32_t> positions,
                          std::size_t steps);

}  // namespace vectorops::reference
