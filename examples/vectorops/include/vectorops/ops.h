#pragma once

// The operations on the device.
//
// All spans are device memory. Every operation checks its arguments on the host first and throws
// InvalidArgument before it touches a device; then it queues its work on `stream`, which has to
// belong to the current device, and returns without waiting. What the runtime refuses at that
// point is thrown as CudaError. An operation on nothing returns at once.

#include <cstddef>
#include <cstdint>

#include <vectorops/export.h>
#include <vectorops/span.h>

struct CUstream_st;

namespace vectorops {

// The same type as cudaStream_t, without its header.
using Stream = CUstream_st*;

inline constexpr std::size_t kMaxHistogramBins = 4096;
inline constexpr std::size_t kMaxCoefficients = 4096;

// y += alpha * x. The spans are of one size and do not overlap.
VECTOROPS_API void axpy(float alpha, Span<const float> x, Span<float> y, Stream stream = nullptr);

// Each row of `output` becomes the softmax of that row of `input`, in one pass for the maximum and
// the sum. Elements of -inf get 0. The matrices are the very same, or do not overlap. A row with
// NaN or +inf, or with nothing but -inf, has no softmax: what is written there is not specified.
VECTOROPS_API void softmax(MatrixSpan<const float> input, MatrixSpan<float> output,
                           Stream stream = nullptr);

// c = alpha * a * b + beta * c. With beta == 0, c is written but never read. c overlaps neither a
// nor b.
VECTOROPS_API void gemm(float alpha, MatrixSpan<const float> a, MatrixSpan<const float> b,
                        float beta, MatrixSpan<float> c, Stream stream = nullptr);

// The bytes of workspace that sum() needs for `size` elements on the current device.
VECTOROPS_API std::size_t sum_workspace_bytes(std::size_t size);

// *result = the sum of x, 0 if x is empty. At most 2^31 - 1 elements. `workspace` is in use until
// the work queued here is done.
VECTOROPS_API void sum(Span<const float> x, float* result, Span<std::byte> workspace,
                       Stream stream = nullptr);

// Divides [lower, upper) into counts.size() bins of one width, and counts the elements of x in
// each. What lies outside, and NaN, is counted nowhere. At most kMaxHistogramBins bins and
// 2^32 - 1 elements.
VECTOROPS_API void histogram(Span<const float> x, float lower, float upper,
                             Span<std::uint32_t> counts, Stream stream = nullptr);

// y = coefficients[0] + coefficients[1] * x + coefficients[2] * x^2 + ..., for each element of x, by
// Horner's method. At least one coefficient, at most kMaxCoefficients. y may be x.
VECTOROPS_API void polynomial(Span<const float> coefficients, Span<const float> x, Span<float> y,
                              Stream stream = nullptr);

// Each position becomes the element of a linked list that is `steps` links further: next[i] is the
// element after i. The elements of `next` and the positions have to be less than next.size(), which
// is not checked. `positions` does not overlap `next`.
VECTOROPS_API void follow(Span<const std::uint32_t> next, Span<std::uint32_t> positions,
                          std::size_t steps, Stream stream = nullptr);

}  // namespace vectorops
