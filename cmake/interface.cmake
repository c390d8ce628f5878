# The headers that hosts and plugins include, and a name of what they say: plugins that were compiled against others are
# refused (base/plugin.hpp). COLLIE_HEADERS is the list, relative to the project's folder.
set(floors base kernels schedule comm io metrics models optim peft net runtime plan actors)
list(TRANSFORM floors APPEND "/*.hpp" OUTPUT_VARIABLE patterns)
file(GLOB_RECURSE COLLIE_HEADERS CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}" ${patterns})
# Nobody else includes the insides of back ends, and what wraps another library.
list(FILTER COLLIE_HEADERS EXCLUDE REGEX "^kernels/(cpu|cuda|meta|reference|rules)/|-inl\\.hpp$|^comm/gloo_")
list(APPEND COLLIE_HEADERS kernels/cuda/backend.hpp)
list(SORT COLLIE_HEADERS)

set(COLLIE_GENERATED "${PROJECT_BINARY_DIR}/generated")
set(COLLIE_INTERFACE_HEADER "${COLLIE_GENERATED}/base/interface.hpp")
list(TRANSFORM COLLIE_HEADERS PREPEND "${PROJECT_SOURCE_DIR}/" OUTPUT_VARIABLE headers)
file(CONFIGURE OUTPUT "${COLLIE_GENERATED}/headers" CONTENT "${COLLIE_HEADERS}")
add_custom_command(OUTPUT "${COLLIE_INTERFACE_HEADER}"
  COMMAND ${CMAKE_COMMAND} "-DHEADERS=${COLLIE_GENERATED}/headers" "-DFOLDER=${PROJECT_SOURCE_DIR}"
    -DVERSION=${PROJECT_VERSION} "-DOUTPUT=${COLLIE_INTERFACE_HEADER}"
    -P "${PROJECT_SOURCE_DIR}/cmake/name_interface.cmake"
  DEPENDS ${headers} "${COLLIE_GENERATED}/headers" "${PROJECT_SOURCE_DIR}/cmake/name_interface.cmake"
  COMMENT "Naming the interface" VERBATIM)
add_custom_target(collie_interface DEPENDS "${COLLIE_INTERFACE_HEADER}")
