// The architectures the library was compiled for are those CMake was asked for: the arguments,
// which are the elements of CMAKE_CUDA_ARCHITECTURES, such as 75, 90a-real or native.

#include <cctype>
#include <iostream>
#include <set>
#include <string>

#include <vectorops/info.h>

#include "check.h"

namespace {

std::string text_of(const std::set<int>& architectures) {
  std::string text;
  for (const int architecture : architectures) {
    text += (text.empty() ? "" : " ") + std::to_string(architecture);
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::set<int> asked;
  bool by_name = false;
  for (int i = 1; i < argc; ++i) {
    if (std::isdigit(static_cast<unsigned char>(argv[i][0])) != 0) {
      asked.insert(std::stoi(argv[i]));  // up to the first letter or dash
    } else {
      by_name = true;
    }
  }

  const auto span = vectorops::compiled_architectures();
  const std::set<int> compiled(span.begin(), span.end());
  CHECK_EQUAL(compiled.size(), span.size());
  CHECK(!compiled.empty());
  if (by_name) {
    std::cout << "asked for all, all-major or native: nothing to compare with\n";
  } else {
    CHECK_EQUAL(text_of(compiled), text_of(asked));
  }
  std::cout << "compiled for " << text_of(compiled) << "\n";
  return check::result();
}
