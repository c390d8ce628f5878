# CAF 0.17, which ships no CMake configuration as Debian packages it: the targets CAF::core and CAF::io. The package that
# is installed has this file, too.
find_package(Threads REQUIRED)
find_path(CAF_INCLUDE_DIR caf/detail/build_config.hpp)
foreach(component core io)
  find_library(CAF_${component}_LIB caf_${component})
endforeach()
mark_as_advanced(CAF_INCLUDE_DIR CAF_core_LIB CAF_io_LIB)

set(CAF_VERSION "")
if(CAF_INCLUDE_DIR)
  file(STRINGS "${CAF_INCLUDE_DIR}/caf/config.hpp" _caf_line REGEX "#define CAF_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+" _caf_number "${_caf_line}")  # 1706: 0.17.6
  math(EXPR _caf_minor "${_caf_number} / 100 % 100")
  math(EXPR _caf_patch "${_caf_number} % 100")
  set(CAF_VERSION "0.${_caf_minor}.${_caf_patch}")
  if(NOT _caf_minor EQUAL 17)
    set(CAF_NOT_FOUND_MESSAGE "collie-engine needs CAF 0.17.6 or a later 0.17, found ${CAF_VERSION} in ${CAF_INCLUDE_DIR}")
    unset(CAF_core_LIB CACHE)
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CAF REQUIRED_VARS CAF_core_LIB CAF_io_LIB CAF_INCLUDE_DIR VERSION_VAR CAF_VERSION
  REASON_FAILURE_MESSAGE "${CAF_NOT_FOUND_MESSAGE}")

foreach(component core io)
  if(CAF_FOUND AND NOT TARGET CAF::${component})
    add_library(CAF::${component} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(CAF::${component} PROPERTIES
      IMPORTED_LOCATION "${CAF_${component}_LIB}"
      INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${CAF_INCLUDE_DIR}")
    if(component STREQUAL "core")
      target_link_libraries(CAF::core INTERFACE Threads::Threads)
    else()
      target_link_libraries(CAF::io INTERFACE CAF::core)
    endif()
  endif()
endforeach()
