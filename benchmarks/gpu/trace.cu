// trace [--pairs N]
//
// Records how the times of kernels scatter on the current device: for a memory-bound, a
// compute-bound, a latency-bound and a tiny kernel, times of the kernel (A) and of one that does
// more (B), in interleaved pairs A B B A, with the clocks, the temperature and the power at that
// time. B does the same work (A/A), 1 % or 3 % more of it, or the same in another way ("real").
// Prints one JSON object. Ends with 77 where there is no device.

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <cuda_runtime.h>

namespace {

void check(cudaError_t error) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
    std::exit(error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver ? 77 : 1);
  }
}

// The functions of NVML that read, by their names: https://docs.nvidia.com/deploy/nvml-api/
class Monitor {
 public:
  Monitor() {
    library_ = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (library_ == nullptr || function<int()>("nvmlInit_v2")() != 0 ||
        function<int(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2")(0, &device_) != 0) {
      std::fprintf(stderr, "NVML does not answer: clocks are unknown\n");
      device_ = nullptr;
    }
  }

  // MHz; 1 is the clock of multiprocessors, 2 that of memory.
  unsigned clock(int kind) const {
    return value([&](unsigned* result) {
      return function<int(void*, int, unsigned*)>("nvmlDeviceGetClockInfo")(device_, kind, result);
    });
  }

  // Degrees Celsius.
  unsigned temperature() const {
    return value([&](unsigned* result) {
      return function<int(void*, int, unsigned*)>("nvmlDeviceGetTemperature")(device_, 0, result);
    });
  }

  // Milliwatts.
  unsigned power() const {
    return value([&](unsigned* result) {
      return function<int(void*, unsigned*)>("nvmlDeviceGetPowerUsage")(device_, result);
    });
  }

  // Bits: https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
  unsigned long long throttling() const {
    unsigned long long reasons = 0;
    if (device_ != nullptr) {
      function<int(void*, unsigned long long*)>("nvmlDeviceGetCurrentClocksThrottleReasons")(
          device_, &reasons);
    }
    return reasons;
  }

 private:
  template <typename Signature>
  Signature* function(const char* name) const {
    void* address = dlsym(library_, name);
    if (address == nullptr) {
      std::fprintf(stderr, "NVML has no %s\n", name);
      std::exit(1);
    }
    return reinterpret_cast<Signature*>(address);
  }

  template <typename Reader>
  unsigned value(const Reader& reader) const {
    unsigned result = 0;
    return device_ != nullptr && reader(&result) == 0 ? result : 0;
  }

  void* library_ = nullptr;
  void* device_ = nullptr;
};

// Memory: reads two arrays and writes a third.
__global__ void triad(const float* a, const float* b, float* c, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < size; i += stride) {
    c[i] = a[i] + 0.5F * b[i];
  }
}

// The same, four values at a time.
__global__ void triad_vector(const float4* a, const float4* b, float4* c, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < size; i += stride) {
    const float4 x = a[i];
    const float4 y = b[i];
    c[i] = {x.x + 0.5F * y.x, x.y + 0.5F * y.y, x.z + 0.5F * y.z, x.w + 0.5F * y.w};
  }
}

// Arithmetic: four independent chains of multiplications and additions.
__global__ void multiply(float* result, long steps) {
  float w = threadIdx.x, x = w + 1, y = w + 2, z = w + 3;
  for (long i = 0; i < steps; ++i) {
    w = w * 0.999F + 1e-3F;
    x = x * 0.999F + 1e-3F;
    y = y * 0.999F + 1e-3F;
    z = z * 0.999F + 1e-3F;
  }
  result[blockIdx.x * blockDim.x + threadIdx.x] = w + x + y + z;
}

// The same in one chain, which waits for each result.
__global__ void multiply_dependent(float* result, long steps) {
  float w = threadIdx.x;
  for (long i = 0; i < 4 * steps; ++i) {
    w = w * 0.999F + 1e-3F;
  }
  result[blockIdx.x * blockDim.x + threadIdx.x] = w;
}

// Latency: each load needs the one before.
__global__ void chase(const unsigned* next, unsigned* result, long steps) {
  unsigned place = 0;
  for (long i = 0; i < steps; ++i) {
    place = next[place];
  }
  *result = place;
}

constexpr std::size_t kSize = std::size_t{1} << 27;  // 512 MiB of float: more than any L2 cache
constexpr unsigned kPlaces = 1U << 20;
constexpr int kThreads = 256;

struct Buffers {
  float* a;
  float* b;
  float* c;
  unsigned* next;
  unsigned* place;
  int multiprocessors;
};

Buffers make_buffers() {
  Buffers buffers{};
  check(cudaMalloc(&buffers.a, kSize * sizeof(float)));
  check(cudaMalloc(&buffers.b, kSize * sizeof(float)));
  check(cudaMalloc(&buffers.c, kSize * sizeof(float)));
  check(cudaMemset(buffers.a, 0, kSize * sizeof(float)));
  check(cudaMemset(buffers.b, 0, kSize * sizeof(float)));
  check(cudaMalloc(&buffers.next, kPlaces * sizeof(unsigned)));
  check(cudaMalloc(&buffers.place, sizeof(unsigned)));
  // One cycle through all places: a step that shares no factor with their number.
  std::vector<unsigned> next(kPlaces);
  for (unsigned i = 0; i < kPlaces; ++i) {
    next[i] = (i + 514229U) % kPlaces;
  }
  check(cudaMemcpy(buffers.next, next.data(), kPlaces * sizeof(unsigned), cudaMemcpyDefault));
  check(cudaDeviceGetAttribute(&buffers.multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  return buffers;
}

enum class Kernel { memory, arithmetic, latency, tiny };

// `work` is 1 for A.
void launch(Kernel kernel, double work, bool other, const Buffers& buffers) {
  const int blocks = buffers.multiprocessors * 8;
  switch (kernel) {
    case Kernel::memory: {
      const auto size = static_cast<std::size_t>(static_cast<double>(kSize) * 0.9 * work);
      if (other) {
        triad_vector<<<blocks, kThreads>>>(reinterpret_cast<const float4*>(buffers.a),
                                           reinterpret_cast<const float4*>(buffers.b),
                                           reinterpret_cast<float4*>(buffers.c), size / 4);
      } else {
        triad<<<blocks, kThreads>>>(buffers.a, buffers.b, buffers.c, size);
      }
      break;
    }
    case Kernel::arithmetic: {
      const auto steps = static_cast<long>(20'000 * work);
      if (other) {
        multiply_dependent<<<blocks, kThreads>>>(buffers.c, steps);
      } else {
        multiply<<<blocks, kThreads>>>(buffers.c, steps);
      }
      break;
    }
    case Kernel::latency:
      chase<<<1, 1>>>(buffers.next, buffers.place, static_cast<long>(5'000 * work));
      break;
    case Kernel::tiny:
      multiply<<<1, 32>>>(buffers.c, static_cast<long>(200 * work));
      break;
  }
  check(cudaGetLastError());
}

struct Case {
  Kernel kernel;
  const char* name;
  const char* change;
  double work;
  bool other;
};

constexpr Case kCases[] = {
    {Kernel::memory, "memory", "none", 1.0, false},
    {Kernel::memory, "memory", "+1 %", 1.01, false},
    {Kernel::memory, "memory", "+3 %", 1.03, false},
    {Kernel::memory, "memory", "real", 1.0, true},
    {Kernel::arithmetic, "arithmetic", "none", 1.0, false},
    {Kernel::arithmetic, "arithmetic", "+1 %", 1.01, false},
    {Kernel::arithmetic, "arithmetic", "+3 %", 1.03, false},
    {Kernel::arithmetic, "arithmetic", "real", 1.0, true},
    {Kernel::latency, "latency", "none", 1.0, false},
    {Kernel::latency, "latency", "+1 %", 1.01, false},
    {Kernel::latency, "latency", "+3 %", 1.03, false},
    {Kernel::tiny, "tiny", "none", 1.0, false},
    {Kernel::tiny, "tiny", "+3 %", 1.03, false},
};

float milliseconds(const Case& item, bool is_changed, const Buffers& buffers, cudaEvent_t begin,
                   cudaEvent_t end) {
  check(cudaEventRecord(begin));
  launch(item.kernel, is_changed ? item.work : 1.0, is_changed && item.other, buffers);
  check(cudaEventRecord(end));
  check(cudaEventSynchronize(end));
  float elapsed = 0;
  check(cudaEventElapsedTime(&elapsed, begin, end));
  return elapsed;
}

void record(const Case& item, int pairs, const Buffers& buffers, const Monitor& monitor) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  for (int i = 0; i < 10; ++i) {
    milliseconds(item, i % 2 == 1, buffers, begin, end);
  }
  std::printf("{\"kernel\": \"%s\", \"change\": \"%s\", \"pairs\": [", item.name, item.change);
  for (int i = 0; i < pairs; ++i) {
    const bool is_reversed = i % 2 == 1;
    const float first = milliseconds(item, is_reversed, buffers, begin, end);
    const float second = milliseconds(item, !is_reversed, buffers, begin, end);
    std::printf("%s[%.6f, %.6f, %u, %u, %u, %.1f, %llu]", i == 0 ? "" : ", ",
                is_reversed ? second : first, is_reversed ? first : second, monitor.clock(1),
                monitor.clock(2), monitor.temperature(), monitor.power() * 1e-3,
                monitor.throttling());
  }
  std::printf("]}");
}

}  // namespace

int main(int count, char** arguments) {
  int pairs = 100;
  if (count == 3 && std::strcmp(arguments[1], "--pairs") == 0) {
    pairs = std::atoi(arguments[2]);
  } else if (count != 1) {
    std::fprintf(stderr, "usage: trace [--pairs N]\n");
    return 2;
  }
  const Buffers buffers = make_buffers();
  const Monitor monitor;
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0));
  int driver = 0;
  check(cudaDriverGetVersion(&driver));
  std::printf("{\"device\": \"%s\", \"compute_capability\": \"%d.%d\", \"driver\": %d, "
              "\"columns\": [\"a_ms\", \"b_ms\", \"sm_mhz\", \"memory_mhz\", \"celsius\", "
              "\"watts\", \"throttling\"], \"series\": [\n",
              properties.name, properties.major, properties.minor, driver);
  const char* separator = "";
  for (const Case& item : kCases) {
    std::printf("%s", separator);
    separator = ",\n";
    record(item, pairs, buffers, monitor);
  }
  std::printf("\n]}\n");
  return 0;
}
