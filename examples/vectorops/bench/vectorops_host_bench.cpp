// vectorops_host_bench [--iterations N] [--warmup N]
//
// Measures operations of the reference on the CPU, and prints one JSON object, as vectorops_bench
// does of the device. Every value is the best of N runs: what else runs on the machine only makes
// them slower. Ends with 2 where the arguments are wrong.

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
  constexpr std::size_t kSize = std::size_t{1} << 14;  // 64 KiB of float: within any L2 cache
  constexpr std::size_t kSide = 64;
  constexpr int kRepetitions = 128;

  std::mt19937 engine;
  std::vector<float> x(kSize);
  for (float& value : x) {
    value = static_cast<float>(engine() >> 8) * (1.0F / (1U << 24));
  }
  std::vector<float> product(kSide * kSide);
  std::vector<std::uint32_t> next(kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    next[i] = static_cast<std::uint32_t>((5 * i + 3) % kSize);  // one cycle of all elements
  }
  std::vector<std::uint32_t> position(1);
  double total = 0;

  std::vector<Measurement> measurements;
  const auto add = [&](const char* name, const char* unit, double work,
                       const std::function<void()>& operation) {
    const auto seconds = measure_seconds(options, [&] {
      for (int i = 0; i < kRepetitions; ++i) {
        operation();
      }
    });
    measurements.push_back({name, unit, report::rates(kRepetitions * work, seconds)});
  };
  add("host sum", "Melements/s", 1e-6 * kSize,
      [&] { total += vectorops::reference::sum({x.data(), x.size()}); });
  add("host gemm", "GFLOP/s", 2e-9 * kSide * kSide * kSide, [&] {
    vectorops::reference::gemm(1.0F, {x.data(), kSide, kSide}, {x.data(), kSide, kSide}, 0.0F,
                               {product.data(), kSide, kSide});
  });
  add("host follow", "Msteps/s", 1e-6 * kSize, [&] {
    vectorops::reference::follow({next.data(), next.size()}, {position.data(), 1}, kSize);
  });
  if (!(total > 0)) {
    throw std::runtime_error("the sum of positive values is not positive");
  }
  return measurements;
}

int main(int argc, char** argv) {
  return report::run(argc, argv, {50, 101}, [](const Options& options) {
    std::cout << report::json("", options, measure(options), report::best);
    return 0;
  });
}
