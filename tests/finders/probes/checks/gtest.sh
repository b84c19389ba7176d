# gtest_discover_tests
. "$HERE/lib.sh"
configure gtest
ninja
of_machine unit
ctest --show-only | grep Suite.Works
