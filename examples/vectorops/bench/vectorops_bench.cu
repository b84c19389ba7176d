// vectorops_bench [--iterations N] [--warmup N]
//
// Measures each operation on the current device, and prints one JSON object. Every value is the
// median of N runs, each timed by a pair of CUDA events. Ends with 77 where there is no device,
// with 2 where the arguments are wrong.

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>
#include <iomanip>
#include <sstream>

#include <vectorops/vectorops.h>

#include "gpu.h"

using vectorops::MatrixSpan;

struct Options {
  int warmup = 3;
  int iterations = 21;
};

struct Measurement {
  std::string name;
  double value;
  std::string unit;
};

class Event {
 public:
  Event() { gpu::check(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

static double median_seconds(const Options& options, const gpu::Stream& stream,
                      const std::function<void()>& operation) {
  const Event begin;
  const Event end;
  for (int i = 0; i < options.warmup; ++i) {
    operation();
  }
  std::vector<float> milliseconds(static_cast<std::size_t>(options.iterations));
  for (float& elapsed : milliseconds) {
    gpu::check(cudaEventRecord(begin, stream));
    operation();
    gpu::check(cudaEventRecord(end, stream));
    gpu::check(cudaEventSynchronize(end));
    gpu::check(cudaEventElapsedTime(&elapsed, begin, end));
  }
  const auto middle = milliseconds.begin() + options.iterations / 2;
  std::nth_element(milliseconds.begin(), middle, milliseconds.end());
  return *middle * 1e-3;
}

static std::vector<Measurement> measure(const Options& options) {
  constexpr std::size_t kSize = std::size_t{1} << 26;  // 256 MiB of float: more than any L2 cache
  constexpr std::size_t kCols = 4096;
  constexpr std::size_t kSide = 4096;
  constexpr std::size_t kBins = 256;
  constexpr double kBytes = kSize * sizeof(float);

  const gpu::Buffer<float> x(gpu::random_values(kSize, -1.0F, 1.0F));
  const gpu::Buffer<float> y(gpu::random_values(kSize, -1.0F, 1.0F));
  const gpu::Buffer<float> result(1);
  const gpu::Buffer<std::uint32_t> counts(kBins);
  const gpu::Buffer<std::byte> workspace(vectorops::sum_workspace_bytes(kSize));
  const gpu::Stream stream;
  const auto seconds = [&](const std::function<void()>& operation) {
    return median_seconds(options, stream, operation);
  };

  std::vector<Measurement> measurements;
  const auto add_bandwidth = [&](const char* name, double bytes, double time) {
    measurements.push_back({name, bytes / time * 1e-9, "GB/s"});
  };

  // The bytes that have to move, not those that do.
  add_bandwidth("reduce", kBytes, seconds([&] {
                  vectorops::sum(x.span(), result.data(), workspace.span(), stream);
                }));
  add_bandwidth("histogram", kBytes, seconds([&] {
                  vectorops::histogram(x.span(), -1.0F, 1.0F, counts.span(), stream);
                }));
  add_bandwidth("axpy", 3 * kBytes, seconds([&] {
                  vectorops::axpy(1e-3F, x.span(), y.span(), stream);
                }));
  add_bandwidth("softmax", 2 * kBytes, seconds([&] {
                  vectorops::softmax(MatrixSpan<float>(x.data(), kSize / kCols, kCols),
                                     MatrixSpan<float>(y.data(), kSize / kCols, kCols), stream);
                }));

  const gpu::Buffer<float> product(kSide * kSide);
  const MatrixSpan<float> a(x.data(), kSide, kSide);
  const MatrixSpan<float> b(y.data(), kSide, kSide);
  const MatrixSpan<float> c(product.data(), kSide, kSide);
  const double gemm_time = seconds([&] { vectorops::gemm(1.0F, a, b, 0.0F, c, stream); });
  measurements.push_back({"gemm", 2.0 * kSide * kSide * kSide / gemm_time * 1e-9, "GFLOP/s"});

  stream.synchronize();
  return measurements;
}

static std::string quoted(const std::string& text) {
  std::ostringstream json;
  json << '"';
  for (const char character : text) {
    if (character == '"' || character == '\\') {
      json << '\\' << character;
    } else if (static_cast<unsigned char>(character) < 0x20) {
      json << "\\u" << std::hex << std::setw(4) << std::setfill('0') << int{character};
    } else {
      json << character;
    }
  }
  json << '"';
  return json.str();
}

static void print(const Options& options, const std::vector<Measurement>& measurements) {
  int device = 0;
  int driver = 0;
  cudaDeviceProp properties{};
  gpu::check(cudaGetDevice(&device));
  gpu::check(cudaGetDeviceProperties(&properties, device));
  gpu::check(cudaDriverGetVersion(&driver));

  std::ostringstream json;
  json << std::setprecision(6) << "{\n  \"device\": {\n    \"name\": " << quoted(properties.name)
       << ",\n    \"compute_capability\": \"" << properties.major << "." << properties.minor
       << "\",\n    \"multiprocessors\": " << properties.multiProcessorCount
       << ",\n    \"memory_bytes\": " << properties.totalGlobalMem
       << ",\n    \"driver_version\": " << driver
       << ",\n    \"runtime_version\": " << vectorops::runtime_version()
       << "\n  },\n  \"iterations\": " << options.iterations << ",\n  \"measurements\": [";
  const char* separator = "\n";
  for (const Measurement& measurement : measurements) {
    json << separator << "    {\"name\": " << quoted(measurement.name)
         << ", \"value\": " << measurement.value << ", \"unit\": " << quoted(measurement.unit)
         << ", \"direction\": \"higher\"}";
    separator = ",\n";
  }
  json << "\n  ]\n}\n";
  std::cout << json.str();
}

static bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; i += 2) {
    int* const option = std::strcmp(argv[i], "--iterations") == 0 ? &options.iterations
                        : std::strcmp(argv[i], "--warmup") == 0   ? &options.warmup
                                                                  : nullptr;
    if (option == nullptr || i + 1 == argc) {
      return false;
    }
    const char* const text = argv[i + 1];
    const char* const end = text + std::strlen(text);
    const auto [rest, error] = std::from_chars(text, end, *option);
    if (error != std::errc() || rest != end) {
      return false;
    }
  }
  return options.iterations >= 1 && options.warmup >= 0;
}

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::cerr << "usage: vectorops_bench [--iterations N] [--warmup N]\n";
    return 2;
  }
  try {
    if (const std::string reason = gpu::absence(); !reason.empty()) {
      std::cerr << reason << "\n";
      return gpu::kSkipped;
    }
    print(options, measure(options));
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
