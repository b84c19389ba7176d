#pragma once

// What the tests on a device and the benchmark share.

#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include <vectorops/span.h>

namespace gpu {

constexpr int kSkipped = 77;

inline void check(cudaError_t code) {
  if (code != cudaSuccess) {
    throw std::runtime_error(cudaGetErrorString(code));
  }
}

// Why there is no device; empty where there is one. A driver that is there but broken is an error.
inline std::string absence() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  switch (code) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
      cudaGetLastError();
      return std::string("no CUDA device: ") + cudaGetErrorString(code);
    default:
      check(code);
      return "";
  }
}

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  operator cudaStream_t() const { return stream_; }
  void synchronize() const { check(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

template <typename T>
class Buffer {
 public:
  explicit Buffer(std::size_t size) : size_(size) {
    if (size > 0) {
      check(cudaMalloc(&data_, size * sizeof(T)));
    }
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) {
    if (size_ > 0) {
      check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
    }
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  vectorops::Span<T> span() const { return {data_, size_}; }

  // After everything queued on `stream`.
  std::vector<T> read(const Stream& stream) const {
    std::vector<T> values(size_);
    stream.synchronize();
    if (size_ > 0) {
      check(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    }
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// The same values on every machine: the distributions of the standard library differ.
inline std::vector<float> random_values(std::size_t size, float lower, float upper) {
  std::mt19937 engine(static_cast<std::mt19937::result_type>(size));
  std::vector<float> values(size);
  for (float& value : values) {
    const float unit = static_cast<float>(engine() >> 8) * (1.0F / (1U << 24));
    value = lower + unit * (upper - lower);
  }
  return values;
}

// A linked list of all elements, in an order that no prefetcher foresees: element after element.
inline std::vector<std::uint32_t> random_cycle(std::size_t size) {
  std::mt19937 engine(static_cast<std::mt19937::result_type>(size));
  std::vector<std::uint32_t> order(size);
  for (std::size_t i = 0; i < size; ++i) {
    order[i] = static_cast<std::uint32_t>(i);
  }
  for (std::size_t i = size; i > 1; --i) {
    std::swap(order[i - 1], order[engine() % i]);
  }
  std::vector<std::uint32_t> next(size);
  for (std::size_t i = 0; i < size; ++i) {
    next[order[i]] = order[(i + 1) % size];
  }
  return next;
}

// The body of main(): the tests, where there is a device.
template <typename Function>
int run(Function&& tests) {
  try {
    if (const std::string reason = absence(); !reason.empty()) {
      std::cout << reason << "\n";
      return kSkipped;
    }
    return tests();
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace gpu
