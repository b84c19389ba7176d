#pragma once

// The number of GPUs that CUDA finds; 0 without a driver.
int gpu_count();

// Multiplies numbers in memory of the host on a GPU; false if CUDA fails.
bool scale(float *x, int size, float factor);
