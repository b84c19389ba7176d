#pragma once

// The contracts of the operations, for the device and for the reference alike. Each function
// throws InvalidArgument, and looks at addresses and sizes only.

#include <cstddef>
#include <cstdint>

#include <vectorops/span.h>

namespace vectorops::validate {

void axpy(Span<const float> x, Span<const float> y);

void softmax(MatrixSpan<const float> input, MatrixSpan<const float> output);

void gemm(MatrixSpan<const float> a, MatrixSpan<const float> b, MatrixSpan<const float> c);

void sum_size(std::size_t size);
void sum(Span<const float> x);
void sum_output(Span<const float> x, const float* result, Span<const std::byte> workspace);

void histogram(Span<const float> x, float lower, float upper, Span<const std::uint32_t> counts);

void polynomial(Span<const float> coefficients, Span<const float> x, Span<const float> y);

void follow(Span<const std::uint32_t> next, Span<const std::uint32_t> positions);

}  // namespace vectorops::validate
