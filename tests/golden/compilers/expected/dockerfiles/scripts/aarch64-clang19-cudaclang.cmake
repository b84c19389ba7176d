set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-clang-19)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-clang++-19)
set(CMAKE_C_COMPILER_TARGET aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
set(CMAKE_CUDA_COMPILER aarch64-linux-gnu-clang++-19)
set(CMAKE_CUDA_COMPILER_TARGET aarch64-linux-gnu)
# FindCUDA does not search for a toolkit when it crosses.
set(CUDA_TOOLKIT_ROOT_DIR /usr/local/cuda)
set(CUDA_TOOLKIT_TARGET_DIR /usr/local/cuda)
# Linked with, but in no program's RUNPATH: the same as LIBRARY_PATH does for the host.
set(CMAKE_PLATFORM_IMPLICIT_LINK_DIRECTORIES
  /usr/local/cuda/lib64/stubs /usr/local/cuda/lib/stubs)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# The target's libraries lie beside the host's, not below a root of their own: what is the host's is
# ignored by name.
set(CMAKE_SYSTEM_IGNORE_PATH
  /lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu /usr/include/x86_64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# Tests are listed when they run, in the image that runs them.
set(CMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE PRE_TEST)
# Where this machine emulates the target, what a build has to run does run, in both images. Without
# it, CMake asks for the answers of try_run. Catch2 lists tests by a script that only this image has.
get_property(_is_trial GLOBAL PROPERTY IN_TRY_COMPILE)
if(NOT _is_trial)
  file(GLOB _loader /usr/aarch64-linux-gnu/lib/ld-linux-*.so.*)
  execute_process(COMMAND ${_loader} --version RESULT_VARIABLE _failure OUTPUT_QUIET ERROR_QUIET)
  if(_failure)
    set(CMAKE_CATCH_DISCOVER_TESTS_DISCOVERY_MODE PRE_TEST)
  else()
    set(CMAKE_CROSSCOMPILING_EMULATOR /usr/bin/env)
  endif()
endif()
