#include "hostinfo/hostinfo.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>

namespace hostinfo {

namespace {

#if defined(_WIN32)
constexpr const char* kSystem = "windows";
#elif defined(__QNX__)
constexpr const char* kSystem = "qnx";
#elif defined(__linux__)
constexpr const char* kSystem = "linux";
#else
constexpr const char* kSystem = "unknown";
#endif

#if defined(__x86_64__)
constexpr const char* kMachine = "x86_64";
#elif defined(__aarch64__)
constexpr const char* kMachine = "aarch64";
#else
constexpr const char* kMachine = "unknown";
#endif

}  // namespace

std::string platform() { return std::string(kSystem) + " " + kMachine; }

unsigned threads() { return std::max(1U, std::thread::hardware_concurrency()); }

bool is_little_endian() {
  const std::uint16_t word = 1;
  unsigned char first = 0;
  std::memcpy(&first, &word, 1);
  return first == 1;
}

}  // namespace hostinfo
