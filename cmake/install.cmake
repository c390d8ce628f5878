# What `cmake --install` installs, in components: runtime (the command, the library, examples of configurations, the pages),
# development (headers, CMake's package, examples), and plain (licence and manual page). docs/installing.md describes them.
include(CMakePackageConfigHelpers)
set(COLLIE_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/collie")
set(COLLIE_HEADERS_DIR "${CMAKE_INSTALL_INCLUDEDIR}/collie")
set(COLLIE_DOC_DIR "${CMAKE_INSTALL_DATAROOTDIR}/doc/collie-engine")

# The command finds the library beside it, wherever both are.
file(RELATIVE_PATH to_library "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
set_target_properties(collie-engine PROPERTIES INSTALL_RPATH "$ORIGIN/${to_library}")
install(TARGETS collie-engine RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
install(TARGETS collie EXPORT collieTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT development)
install(DIRECTORY configs DESTINATION "${CMAKE_INSTALL_DATADIR}/collie-engine" COMPONENT runtime)
install(FILES README.md CHANGELOG.md DESTINATION "${COLLIE_DOC_DIR}" COMPONENT runtime)
install(DIRECTORY docs DESTINATION "${COLLIE_DOC_DIR}" COMPONENT runtime
  FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "benchmarks" EXCLUDE)
# Debian has these two in other forms (packages.cmake).
install(FILES LICENSE DESTINATION "${COLLIE_DOC_DIR}" COMPONENT plain)
install(FILES docs/collie-engine.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT plain)

foreach(header IN LISTS COLLIE_HEADERS)
  get_filename_component(folder "${header}" DIRECTORY)
  install(FILES "${header}" DESTINATION "${COLLIE_HEADERS_DIR}/${folder}" COMPONENT development)
endforeach()
install(FILES "${COLLIE_INTERFACE_HEADER}" DESTINATION "${COLLIE_HEADERS_DIR}/base" COMPONENT development)
install(DIRECTORY examples DESTINATION "${COLLIE_DOC_DIR}" COMPONENT development PATTERN build EXCLUDE)

install(EXPORT collieTargets NAMESPACE collie:: DESTINATION "${COLLIE_PACKAGE_DIR}" COMPONENT development)
set(INCLUDES "${COLLIE_HEADERS_DIR}")
set(COMMAND "${CMAKE_INSTALL_BINDIR}/collie-engine")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/collieConfig.cmake.in" "${COLLIE_GENERATED}/collieConfig.cmake"
  INSTALL_DESTINATION "${COLLIE_PACKAGE_DIR}" PATH_VARS INCLUDES COMMAND)
write_basic_package_version_file("${COLLIE_GENERATED}/collieConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${COLLIE_GENERATED}/collieConfig.cmake" "${COLLIE_GENERATED}/collieConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindCAF.cmake" DESTINATION "${COLLIE_PACKAGE_DIR}" COMPONENT development)
