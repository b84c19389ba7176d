#pragma once

// Slowdowns to try performance checks with: the share of the work that is done once more, in
// percent, 0 in every build that is meant to be used. VECTOROPS_SLOWDOWN is for the kernels of axpy
// (bound by memory), polynomial (by arithmetic) and follow (by latency), VECTOROPS_HOST_SLOWDOWN for
// reference::sum. The options of CMake have the same names.

#include <cstddef>

#ifndef VECTOROPS_SLOWDOWN
#define VECTOROPS_SLOWDOWN 0
#endif
#ifndef VECTOROPS_HOST_SLOWDOWN
#define VECTOROPS_HOST_SLOWDOWN 0
#endif

namespace vectorops {

#ifdef __CUDACC__
__device__ constexpr std::size_t repeated(std::size_t work) {
  return work * VECTOROPS_SLOWDOWN / 100;
}
#endif

constexpr std::size_t repeated_on_host(std::size_t work) {
  return work * VECTOROPS_HOST_SLOWDOWN / 100;
}

}  // namespace vectorops
