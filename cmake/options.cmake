# Warnings, sanitizers and the compiler cache, for every target of the project.
option(COLLIE_WERROR "Treat warnings as errors" OFF)
set(COLLIE_SANITIZE "" CACHE STRING "Sanitizer to build with: empty, address or thread")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

add_library(collie_options INTERFACE)
target_include_directories(collie_options INTERFACE "${PROJECT_SOURCE_DIR}")
# Contraction is left to the kernels, which ask for FMA by name: results must not depend on what the
# compiler finds profitable in one translation unit and not in the next.
target_compile_options(collie_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-ffp-contract=off>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)  # false alarms on std::string (GCC bug 105651)
endif()
if(COLLIE_WERROR)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(COLLIE_SANITIZE)
  target_compile_options(collie_options INTERFACE -fsanitize=${COLLIE_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(collie_options INTERFACE -fsanitize=${COLLIE_SANITIZE})
  target_compile_definitions(collie_options INTERFACE COLLIE_SANITIZE="${COLLIE_SANITIZE}")
endif()
