// vectorops_bench [--iterations N] [--warmup N]
//
// Measures each operation on the current device, and prints one JSON object. Every value is the
// median of N runs, each timed by a pair of CUDA events. Ends with 77 where there is no device,
// with 2 where the arguments are wrong.

#include <functional>

#include <vectorops/vectorops.h>

#include "gpu.h"
#include "report.h"

using report::Measurement;
using report::Options;
using vectorops::MatrixSpan;

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

static std::vector<double> measure_seconds(const Options& options, const gpu::Stream& stream,
                                           const std::function<void()>& operation) {
  const Event begin;
  const Event end;
  for (int i = 0; i < options.warmup; ++i) {
    operation();
  }
  std::vector<double> seconds(static_cast<std::size_t>(options.iterations));
  for (double& elapsed : seconds) {
    float milliseconds = 0;
    gpu::check(cudaEventRecord(begin, stream));
    operation();
    gpu::check(cudaEventRecord(end, stream));
    gpu::check(cudaEventSynchronize(end));
    gpu::check(cudaEventElapsedTime(&milliseconds, begin, end));
    elapsed = milliseconds * 1e-3;
  }
  return seconds;
}

static std::vector<Measurement> measure(const Options& options) {
  constexpr std::size_t kSize = std::size_t{1} << 26;  // 256 MiB of float: more than any L2 cache
  constexpr std::size_t kCols = 4096;
  constexpr std::size_t kSide = 4096;
  constexpr std::size_t kBins = 256;
  constexpr std::size_t kCoefficients = 1024;
  constexpr std::size_t kChains = 1024;  // few, so that they do not hide the latency of others
  constexpr std::size_t kSteps = 4096;
  constexpr double kBytes = kSize * sizeof(float);
  constexpr double kMultiplications = 2.0 * kSize / 16 * kCoefficients;

  const gpu::Buffer<float> x(gpu::random_values(kSize, -1.0F, 1.0F));
  const gpu::Buffer<float> y(gpu::random_values(kSize, -1.0F, 1.0F));
  const gpu::Buffer<float> result(1);
  const gpu::Buffer<std::uint32_t> counts(kBins);
  const gpu::Buffer<std::byte> workspace(vectorops::sum_workspace_bytes(kSize));
  const gpu::Stream stream;

  std::vector<Measurement> measurements;
  const auto add = [&](const char* name, const char* unit, double work,
                       const std::function<void()>& operation) {
    const auto seconds = measure_seconds(options, stream, operation);
    measurements.push_back({name, unit, report::rates(work * 1e-9, seconds)});
  };

  // The bytes that have to move, not those that do.
  add("reduce", "GB/s", kBytes, [&] {
    vectorops::sum(x.span(), result.data(), workspace.span(), stream);
  });
  add("histogram", "GB/s", kBytes, [&] {
    vectorops::histogram(x.span(), -1.0F, 1.0F, counts.span(), stream);
  });
  add("axpy", "GB/s", 3 * kBytes, [&] { vectorops::axpy(1e-3F, x.span(), y.span(), stream); });
  add("softmax", "GB/s", 2 * kBytes, [&] {
    vectorops::softmax(MatrixSpan<float>(x.data(), kSize / kCols, kCols),
                       MatrixSpan<float>(y.data(), kSize / kCols, kCols), stream);
  });

  const gpu::Buffer<float> product(kSide * kSide);
  const MatrixSpan<float> a(x.data(), kSide, kSide);
  const MatrixSpan<float> b(y.data(), kSide, kSide);
  const MatrixSpan<float> c(product.data(), kSide, kSide);
  add("gemm", "GFLOP/s", 2.0 * kSide * kSide * kSide,
      [&] { vectorops::gemm(1.0F, a, b, 0.0F, c, stream); });
  add("polynomial", "GFLOP/s", kMultiplications, [&] {
    vectorops::polynomial({x.data(), kCoefficients}, {y.data(), kSize / 16}, {y.data(), kSize / 16},
                          stream);
  });

  const gpu::Buffer<std::uint32_t> next(gpu::random_cycle(kSize));
  const gpu::Buffer<std::uint32_t> positions(gpu::random_cycle(kChains));
  add("follow", "Gsteps/s", static_cast<double>(kChains * kSteps),
      [&] { vectorops::follow(next.span(), positions.span(), kSteps, stream); });

  stream.synchronize();
  return measurements;
}

// The members of the output that describe the device.
static std::string device_json() {
  int device = 0;
  int driver = 0;
  cudaDeviceProp properties{};
  gpu::check(cudaGetDevice(&device));
  gpu::check(cudaGetDeviceProperties(&properties, device));
  gpu::check(cudaDriverGetVersion(&driver));

  std::ostringstream json;
  json << "  \"device\": {\n    \"name\": " << report::quoted(properties.name)
       << ",\n    \"compute_capability\": \"" << properties.major << "." << properties.minor
       << "\",\n    \"multiprocessors\": " << properties.multiProcessorCount
       << ",\n    \"memory_bytes\": " << properties.totalGlobalMem
       << ",\n    \"driver_version\": " << driver
       << ",\n    \"runtime_version\": " << vectorops::runtime_version() << "\n  },\n";
  return json.str();
}

int main(int argc, char** argv) {
  return report::run(argc, argv, {3, 21}, [](const Options& options) {
    if (const std::string reason = gpu::absence(); !reason.empty()) {
      std::cerr << reason << "\n";
      return gpu::kSkipped;
    }
    const auto measurements = measure(options);
    std::cout << report::json(device_json(), options, measurements, report::median);
    return 0;
  });
}
