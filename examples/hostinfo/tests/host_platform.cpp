#include <iostream>
#include <string>

#include "hostinfo/hostinfo.h"

int main() {
  const std::string platform = hostinfo::platform();
  const bool passed = platform.find("unknown") == std::string::npos &&
                      hostinfo::threads() >= 1 && hostinfo::is_little_endian();
  std::cout << platform << ", " << hostinfo::threads() << " threads\n";
  return passed ? 0 : 1;
}
