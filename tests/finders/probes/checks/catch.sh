# catch_discover_tests
. "$HERE/lib.sh"
configure catch
ninja
of_machine unit
ctest --show-only | grep works
