#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
TEST_CASE("works") { CHECK(1 + 1 == 2); }
