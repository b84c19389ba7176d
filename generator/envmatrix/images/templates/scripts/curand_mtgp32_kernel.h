/* Clang includes this header of cuRAND whenever it compiles CUDA, also where cuRAND is not installed. */
#if __has_include_next(<curand_mtgp32_kernel.h>)
#include_next <curand_mtgp32_kernel.h>
#endif
