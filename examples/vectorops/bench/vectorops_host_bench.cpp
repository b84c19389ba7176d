// vectorops_host_bench [--iterations N] [--warmup N]
//
// Measures operations of the reference on the CPU, and prints one JSON object, as vectorops_bench
// does of the device. Ends with 2 where the arguments are wrong.

#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <stdexcept>

#include <vectorops/vectorops.h>

#include "report.h"

using report::Measurement;
using report::Options;

static std::vector<double> measure_seconds(const Options& options,
                                           const std::function<void()>& operation) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < options.warmup; ++i) {
    operation();
  }
  std::vector<double> seconds(static_cast<std::size_t>(options.iterations));
  for (double& elapsed : seconds) {
    const auto begin = Clock::now();
    operation();
    elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  return seconds;
}

static std::vector<Measurement> measure(const Options& options) {
  constexpr std::size_t kSize = std::size_t{1} << 22;
  constexpr std::size_t kBins = 256;

  std::mt19937 engine;
  std::vector<float> x(kSize);
  for (float& value : x) {
    value = static_cast<float>(engine() >> 8) * (1.0F / (1U << 24));
  }
  std::vector<float> y(x.rbegin(), x.rend());
  std::vector<std::uint32_t> counts(kBins);
  double total = 0;

  std::vector<Measurement> measurements;
  const auto add = [&](const char* name, const std::function<void()>& operation) {
    const auto seconds = measure_seconds(options, operation);
    measurements.push_back({name, "Melements/s", report::rates(1e-6 * kSize, seconds)});
  };
  add("host sum", [&] { total += vectorops::reference::sum({x.data(), x.size()}); });
  add("host axpy", [&] {
    vectorops::reference::axpy(1e-3F, {x.data(), x.size()}, {y.data(), y.size()});
  });
  add("host histogram", [&] {
    vectorops::reference::histogram({x.data(), x.size()}, 0.0F, 1.0F,
                                    {counts.data(), counts.size()});
  });
  if (!(total > 0)) {
    throw std::runtime_error("the sum of positive values is not positive");
  }
  return measurements;
}

int main(int argc, char** argv) {
  return report::run(argc, argv, [](const Options& options) {
    std::cout << report::json("", options, measure(options));
    return 0;
  });
}
