#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define VECTOROPS_HOST_DEVICE __host__ __device__
#else
#define VECTOROPS_HOST_DEVICE
#endif

namespace vectorops {

// Which bin a value falls into: the one rule, so that host and device agree to the last element.
// It has no a * b + c that one compiler would fuse and another would not.
class HistogramBins {
 public:
  HistogramBins(float lower, float upper, std::size_t bins)
      : lower_(lower),
        upper_(upper),
        scale_(static_cast<float>(bins) / (upper - lower)),
        bins_(static_cast<std::uint32_t>(bins)) {}

  float scale() const { return scale_; }
  VECTOROPS_HOST_DEVICE std::uint32_t size() const { return bins_; }

  VECTOROPS_HOST_DEVICE bool contains(float value) const {
    return value >= lower_ && value < upper_;
  }

  // Of a value that is contained. Just below `upper`, the product can round up to the bin after.
  VECTOROPS_HOST_DEVICE std::uint32_t index(float value) const {
    const auto bin = static_cast<std::uint32_t>((value - lower_) * scale_);
    return bin < bins_ ? bin : bins_ - 1;
  }

 private:
  float lower_;
  float upper_;
  float scale_;
  std::uint32_t bins_;
};

}  // namespace vectorops
