// What the library says about itself, and that it can be loaded and asked where there is no
// device and no driver.

#include <iostream>

#include <vectorops/vectorops.h>

#include "check.h"

int main() {
  const vectorops::Version version = vectorops::version();
  CHECK_EQUAL(version.major, VECTOROPS_VERSION_MAJOR);
  CHECK_EQUAL(version.minor, VECTOROPS_VERSION_MINOR);
  CHECK_EQUAL(version.patch, VECTOROPS_VERSION_PATCH);

  // The headers, the static runtime and the compiler come from one toolkit.
  const vectorops::BuildInfo build = vectorops::build_info();
  CHECK_EQUAL(build.compiler.major, build.runtime_version / 1000);

  const int devices = vectorops::device_count();
  CHECK(devices >= 0);
  CHECK_EQUAL(vectorops::device_count(), devices);

  try {
    CHECK_EQUAL(vectorops::runtime_version(), build.runtime_version);
  } catch (const vectorops::CudaError& error) {
    // The runtime of CUDA 11 does not know its version without a driver.
    check::report(build.runtime_version < 12000 && devices == 0, __FILE__, __LINE__, error.what());
  }

  if (devices == 0) {
    // Sound arguments fail only when the runtime is asked, and with its reason.
    float x[4] = {};
    float y[4] = {};
    CHECK_THROWS(vectorops::CudaError, "axpy: ", vectorops::axpy(1.0F, {x, 4}, {y, 4}));
  }

  std::cout << "vectorops " << version.major << "." << version.minor << "." << version.patch
            << ", nvcc " << build.compiler.major << "." << build.compiler.minor << "."
            << build.compiler.patch << ", CUDA runtime " << build.runtime_version << ", "
            << devices << " devices\n";
  return check::result();
}
