# What `cmake --install` installs, in two components: runtime (the command, the library, examples of configurations, the
# pages) and development (headers, CMake's package, examples). docs/installing.md describes them.
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
install(FILES LICENSE DESTINATION "${COLLIE_DOC_DIR}" RENAME copyright COMPONENT runtime)
install(DIRECTORY docs DESTINATION "${COLLIE_DOC_DIR}" COMPONENT runtime
  FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "benchmarks" EXCLUDE)
install(FILES docs/collie-engine.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT runtime)

foreach(header IN LISTS COLLIE_HEADERS)
  get_filename_component(folder "${header}" DIRECTORY)
  install(FILES "${header}" DESTINATION "${COLLIE_HEADERS_DIR}/${folder}" COMPONENT development)
endforeach()
install(FILES "${COLLIE_INTERFACE_HEADER}" DESTINATION "${COLLIE_HEADERS_DIR}/base" COMPONENT development)
install(DIRECTORY examples DESTINATION "${COLLIE_DOC_DIR}" COMPONENT development)

install(EXPORT collieTargets NAMESPACE collie:: DESTINATION "${COLLIE_PACKAGE_DIR}" COMPONENT development)
set(INCLUDES "${COLLIE_HEADERS_DIR}")
set(COMMAND "${CMAKE_INSTALL_BINDIR}/collie-engine")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/collieConfig.cmake.in" "${COLLIE_GENERATED}/collieConfig.cmake"
  INSTALL_DESTINATION "${COLLIE_PACKAGE_DIR}" PATH_VARS INCLUDES COMMAND)
write_basic_package_version_file("${COLLIE_GENERATED}/collieConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${COLLIE_GENERATED}/collieConfig.cmake" "${COLLIE_GENERATED}/collieConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindCAF.cmake" DESTINATION "${COLLIE_PACKAGE_DIR}" COMPONENT development)

# Debian packages: `cpack -G DEB` in the build's folder makes collie-engine and collie-engine-dev.
if(NOT PROJECT_IS_TOP_LEVEL)
  return()  # the host program has packages of its own
endif()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "training engine for large language models, built on actors")
set(CPACK_PACKAGE_CONTACT "the collie-engine project" CACHE STRING "Maintainer of the packages: Name <address>")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME collie-engine)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION science)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "libopenblas0-pthread | libopenblas0")  # loaded at run time
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "The command collie-engine, its shared library, pages and configurations.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME collie-engine-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "collie-engine (= ${PROJECT_VERSION}), libcaf-dev, libfmt-dev, libspdlog-dev, nlohmann-json3-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Headers, CMake's package and examples for host programs and plugins.")
include(CPack)
