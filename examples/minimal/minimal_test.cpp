#include "minimal.h"

#include <gtest/gtest.h>

TEST(GpuCount, IsNotNegative) { EXPECT_GE(gpu_count(), 0); }

TEST(Scale, MultipliesOnTheGpu) {
  if (gpu_count() == 0) {
    GTEST_SKIP() << "there is no GPU";
  }
  float x[] = {1, 2, 3};
  ASSERT_TRUE(scale(x, 3, 2));
  EXPECT_EQ(x[2], 6);
}
