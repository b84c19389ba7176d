# vectorops_compile_options(<target>): warnings, and objects that do not change from one build to
# the next.
#
# nvcc names what an anonymous namespace holds after a hash that takes in the paths of the build,
# which is why the CUDA sources here use named ones. CUB has such names in its headers, so that
# softmax.cu and sum.cu are the same only where the folders of source and build are the same too.
include_guard()
include(CheckCompilerFlag)

check_compiler_flag(CXX "-ffile-prefix-map=before=after" VECTOROPS_CXX_HAS_FILE_PREFIX_MAP)
# The first fixes the random numbers in nvcc's names (CUDA 11.8 and 12.4 do not have it yet); the
# second keeps the temporary files, whose names can reach the objects, in the build tree.
check_compiler_flag(CUDA "--frandom-seed=seed" VECTOROPS_NVCC_HAS_RANDOM_SEED)
check_compiler_flag(CUDA "--objdir-as-tempdir" VECTOROPS_NVCC_HAS_OBJDIR_AS_TEMPDIR)

function(vectorops_compile_options target)
  set(host_options -Wall -Wextra)
  if(VECTOROPS_CXX_HAS_FILE_PREFIX_MAP)
    list(APPEND host_options
      "-ffile-prefix-map=${PROJECT_SOURCE_DIR}=."
      "-ffile-prefix-map=${PROJECT_BINARY_DIR}=build")
  endif()
  set(nvcc_options -Wno-deprecated-gpu-targets)
  if(VECTOROPS_NVCC_HAS_OBJDIR_AS_TEMPDIR)
    list(APPEND nvcc_options --objdir-as-tempdir)
  endif()
  if(VECTOROPS_LINEINFO)
    list(APPEND nvcc_options -lineinfo)
  endif()

  list(TRANSFORM host_options PREPEND "-Xcompiler=" OUTPUT_VARIABLE forwarded_options)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${host_options}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:${forwarded_options};${nvcc_options}>")

  if(VECTOROPS_NVCC_HAS_RANDOM_SEED)
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources INCLUDE REGEX "\\.cu$")
    foreach(source IN LISTS sources)
      cmake_path(ABSOLUTE_PATH source OUTPUT_VARIABLE seed)
      cmake_path(RELATIVE_PATH seed BASE_DIRECTORY "${PROJECT_SOURCE_DIR}")
      set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS
        "--frandom-seed=${PROJECT_NAME}/${seed}")
    endforeach()
  endif()
endfunction()
