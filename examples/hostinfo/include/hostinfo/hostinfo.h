#pragma once

#include <string>

#if !defined(_WIN32)
#define HOSTINFO_API __attribute__((visibility("default")))
#elif defined(HOSTINFO_BUILDING)
#define HOSTINFO_API __declspec(dllexport)
#else
#define HOSTINFO_API __declspec(dllimport)
#endif

namespace hostinfo {

// What this library was compiled for: `linux aarch64`, `windows x86_64`, `qnx aarch64`.
HOSTINFO_API std::string platform();

// How many threads run at once here, 1 at least.
HOSTINFO_API unsigned threads();

// The lowest byte of a word comes first.
HOSTINFO_API bool is_little_endian();

}  // namespace hostinfo
