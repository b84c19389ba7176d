#pragma once

// Checks that report and go on; main() ends with `return check::result();`.

#include <cmath>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>

namespace check {

inline int& failures() {
  static int count = 0;
  return count;
}

inline void report(bool passed, const char* file, int line, const std::string& message) {
  if (!passed) {
    ++failures();
    std::cerr << file << ":" << line << ": " << message << "\n";
  }
}

template <typename Actual, typename Expected>
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters)
void equal(const Actual& actual, const Expected& expected, const char* expression,
           const char* file, int line) {
  std::ostringstream message;
  message.precision(9);
  message << expression << " is " << actual << ", not " << expected;
  report(actual == expected, file, line, message.str());
}

// Written so that NaN is near nothing.
// NOLINTNEXTLINE(bugprone-easily-swappable-parameters)
inline void near(double actual, double expected, double tolerance, const char* expression,
                 const char* file, int line) {
  std::ostringstream message;
  message.precision(9);
  message << expression << " is " << actual << ", not " << expected << " +- " << tolerance;
  report(std::abs(actual - expected) <= tolerance, file, line, message.str());
}

template <typename Exception, typename Function>
void throws(Function&& function, const std::string& text, const char* expression,
            const char* file, int line) {
  try {
    function();
    report(false, file, line, std::string(expression) + " throws nothing");
  } catch (const Exception& error) {
    report(std::string(error.what()).find(text) != std::string::npos, file, line,
           std::string(expression) + " throws \"" + error.what() + "\", without \"" + text + "\"");
  } catch (const std::exception& error) {
    report(false, file, line,
           std::string(expression) + " throws something else: " + error.what());
  }
}

inline int result() {
  if (failures() != 0) {
    std::cerr << failures() << " checks failed\n";
  }
  return failures() == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) check::report((condition), __FILE__, __LINE__, #condition " is false")
#define CHECK_EQUAL(actual, expected) \
  check::equal((actual), (expected), #actual, __FILE__, __LINE__)
#define CHECK_NEAR(actual, expected, tolerance) \
  check::near((actual), (expected), (tolerance), #actual, __FILE__, __LINE__)
// The expression throws `type`, and what() contains `text`.
#define CHECK_THROWS(type, text, expression) \
  check::throws<type>([&] { expression; }, (text), #expression, __FILE__, __LINE__)
