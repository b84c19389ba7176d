#pragma once

// What both benchmarks share: their options, and their output.

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace report {

struct Options {
  int warmup;
  int iterations;
};

// `samples` are the values of all iterations, in the order of time; more is better.
struct Measurement {
  std::string name;
  std::string unit;
  std::vector<double> samples;
};

// The values of iterations that each do `work`, in units of the measurement times seconds.
inline std::vector<double> rates(double work, std::vector<double> seconds) {
  std::transform(seconds.begin(), seconds.end(), seconds.begin(),
                 [work](double time) { return work / time; });
  return seconds;
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

inline double best(std::vector<double> values) {
  return *std::max_element(values.begin(), values.end());
}

inline std::string quoted(const std::string& text) {
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

// The JSON object of a benchmark; `header` are members that come first, each with a comma, and
// `summary` makes a value of samples.
inline std::string json(const std::string& header, const Options& options,
                        const std::vector<Measurement>& measurements,
                        double (*summary)(std::vector<double>)) {
  std::ostringstream json;
  json << std::setprecision(6) << "{\n" << header << "  \"iterations\": " << options.iterations
       << ",\n  \"measurements\": [";
  const char* separator = "\n";
  for (const Measurement& measurement : measurements) {
    json << separator << "    {\"name\": " << quoted(measurement.name)
         << ", \"value\": " << summary(measurement.samples)
         << ", \"unit\": " << quoted(measurement.unit)
         << ", \"direction\": \"higher\", \"samples\": [";
    const char* comma = "";
    for (const double sample : measurement.samples) {
      json << comma << sample;
      comma = ", ";
    }
    json << "]}";
    separator = ",\n";
  }
  json << "\n  ]\n}\n";
  return json.str();
}

inline bool parse(int argc, char** argv, Options& options) {
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

// The body of main(): `measure` returns the exit code.
template <typename Function>
int run(int argc, char** argv, Options options, Function&& measure) {
  if (!parse(argc, argv, options)) {
    std::cerr << "usage: " << argv[0] << " [--iterations N] [--warmup N]\n";
    return 2;
  }
  try {
    return measure(options);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace report
