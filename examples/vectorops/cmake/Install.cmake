include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/vectorops")

install(TARGETS vectorops EXPORT vectorops-targets
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" "${PROJECT_BINARY_DIR}/include/"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.h")
if(VECTOROPS_BUILD_BENCHMARKS)
  install(TARGETS vectorops_bench RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

# Users of the package need neither CUDA's headers nor its libraries, so nothing is searched for.
install(EXPORT vectorops-targets
  FILE vectorops-config.cmake
  NAMESPACE vectorops::
  DESTINATION "${package_dir}")
write_basic_package_version_file(vectorops-config-version.cmake COMPATIBILITY SameMajorVersion)
install(FILES "${PROJECT_BINARY_DIR}/vectorops-config-version.cmake"
  DESTINATION "${package_dir}")
