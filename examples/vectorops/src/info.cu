#include <vectorops/info.h>
#include <vectorops/version.h>

#include "launch.cuh"

namespace vectorops {
namespace info_detail {

// nvcc tells every compilation all the architectures it is for, as __CUDA_ARCH__ would be.
constexpr int kCompilerArchitectures[] = {__CUDA_ARCH_LIST__};
constexpr std::size_t kArchitectureCount =
    sizeof(kCompilerArchitectures) / sizeof(kCompilerArchitectures[0]);

struct Architectures {
  int values[kArchitectureCount];
};

constexpr Architectures architectures() {
  Architectures result{};
  for (std::size_t i = 0; i < kArchitectureCount; ++i) {
    result.values[i] = kCompilerArchitectures[i] / 10;
  }
  return result;
}

constexpr Architectures kArchitectures = architectures();

}  // namespace info_detail

Version version() noexcept {
  return {VECTOROPS_VERSION_MAJOR, VECTOROPS_VERSION_MINOR, VECTOROPS_VERSION_PATCH};
}

BuildInfo build_info() noexcept {
  return {{__CUDACC_VER_MAJOR__, __CUDACC_VER_MINOR__, __CUDACC_VER_BUILD__}, CUDART_VERSION};
}

Span<const int> compiled_architectures() noexcept {
  return {info_detail::kArchitectures.values, info_detail::kArchitectureCount};
}

int runtime_version() {
  int result = 0;
  check(cudaRuntimeGetVersion(&result), "runtime_version");
  return result;
}

int device_count() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  switch (code) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
      cudaGetLastError();  // or the next launch would report it
      return 0;
    default:
      check(code, "device_count");
      return count;
  }
}

}  // namespace vectorops
