#pragma once

#include <vectorops/export.h>
#include <vectorops/span.h>

namespace vectorops {

struct Version {
  int major;
  int minor;
  int patch;
};

struct BuildInfo {
  Version compiler;     // of nvcc
  int runtime_version;  // CUDART_VERSION of the headers: 1000 * major + 10 * minor
};

// The version of the library that is loaded; vectorops/version.h has that of the headers.
VECTOROPS_API Version version() noexcept;

// What the library was compiled with.
VECTOROPS_API BuildInfo build_info() noexcept;

// The compute capabilities the library holds code for, as the compiler saw them, in ascending
// order: 75 for 7.5. Variants such as 90a count as 90.
VECTOROPS_API Span<const int> compiled_architectures() noexcept;

// The version of the CUDA runtime linked into the library, in the form of CUDART_VERSION.
// The runtime of CUDA 11 tells it only where there is a driver; without one, throws CudaError.
VECTOROPS_API int runtime_version();

// How many devices can be used; 0 also where there is no driver, or one too old for the runtime.
// Throws CudaError where a driver is there but broken.
VECTOROPS_API int device_count();

}  // namespace vectorops
