#include <cstdio>
#include <cstring>
// Speaks the options of GoogleTest that CMake's module uses.
int main(int count, char** words) {
  for (int i = 1; i < count; ++i)
    if (!std::strncmp(words[i], "--gtest_list_tests", 18)) std::puts("Suite.\n  Works");
}
