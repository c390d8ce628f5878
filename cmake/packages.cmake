# Debian packages: `cpack -G DEB` in the build's folder makes collie-engine and collie-engine-dev.
set(CPACK_PACKAGE_CONTACT "collie-engine <collie-engine@example.invalid>" CACHE STRING "Maintainer of the packages: Name <address>")

# What Debian wants in a form of its own: a copyright that names its copy of the licence, a change log and a manual page that
# are compressed, and one folder of pages for both packages.
set(folder "${COLLIE_GENERATED}/debian")
file(WRITE "${folder}/copyright"
  "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: collie-engine

Files: *
Copyright: 2026 the authors of collie-engine
License: Apache-2.0
 On Debian systems the text of the licence is in /usr/share/common-licenses/Apache-2.0.
")
file(TIMESTAMP "${PROJECT_SOURCE_DIR}/CHANGELOG.md" date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE "${folder}/changelog" "collie-engine (${PROJECT_VERSION}) unstable; urgency=medium

  * CHANGELOG.md, in this folder, says what has changed.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
execute_process(COMMAND gzip -9nc "${folder}/changelog" OUTPUT_FILE "${folder}/changelog.gz")
execute_process(COMMAND gzip -9nc "${PROJECT_SOURCE_DIR}/docs/collie-engine.1" OUTPUT_FILE "${folder}/collie-engine.1.gz")
file(CREATE_LINK collie-engine "${folder}/collie-engine-dev" SYMBOLIC)
install(FILES "${folder}/copyright" "${folder}/changelog.gz" DESTINATION "${COLLIE_DOC_DIR}"
  COMPONENT debian_runtime EXCLUDE_FROM_ALL)
install(FILES "${folder}/collie-engine.1.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT debian_runtime EXCLUDE_FROM_ALL)
install(FILES "${folder}/collie-engine-dev" DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc"
  COMPONENT debian_development EXCLUDE_FROM_ALL)
# The linker's cache is brought up to date, and packages that link the library depend on this very version.
file(WRITE "${folder}/triggers" "activate-noawait ldconfig\n")
file(WRITE "${folder}/shlibs" "libcollie ${PROJECT_VERSION} collie-engine (= ${PROJECT_VERSION})\n")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "training engine for large language models, built on actors")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_COMPONENTS_ALL runtime development debian_runtime debian_development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)

set(CPACK_DEBIAN_ENGINE_PACKAGE_NAME collie-engine)
set(CPACK_DEBIAN_ENGINE_PACKAGE_SECTION science)
set(CPACK_DEBIAN_ENGINE_DESCRIPTION "The command collie-engine, its shared library, pages and configurations.")
set(CPACK_DEBIAN_ENGINE_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}")
set(CPACK_DEBIAN_ENGINE_PACKAGE_DEPENDS "libopenblas0-pthread | libopenblas0")  # loaded at run time
set(CPACK_DEBIAN_ENGINE_PACKAGE_CONTROL_EXTRA "${folder}/triggers;${folder}/shlibs")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME collie-engine-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "Headers, CMake's package and examples for host programs and plugins.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "collie-engine (= ${PROJECT_VERSION}), libcaf-dev, libfmt-dev, libspdlog-dev, nlohmann-json3-dev")
include(CPack)
cpack_add_component_group(engine)
cpack_add_component_group(development)
cpack_add_component(runtime GROUP engine)
cpack_add_component(debian_runtime GROUP engine)
cpack_add_component(development GROUP development)
cpack_add_component(debian_development GROUP development)
