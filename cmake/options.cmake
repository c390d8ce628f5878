# Warnings, sanitizers and the compiler cache, for every target of the project.
option(COLLIE_WERROR "Treat warnings as errors" OFF)
set(COLLIE_SANITIZE "" CACHE STRING "Sanitizer to build with: empty, address (with undefined behaviour) or thread")

find_program(CCACHE_PROGRAM ccache)
option(COLLIE_PRECOMPILED_HEADERS "Parse what most sources include once for all of them" ON)
if(CCACHE_PROGRAM)
  # What ccache asks for where headers are precompiled; the compiler's part of it is below.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime "${CCACHE_PROGRAM}")
endif()
if(NOT COLLIE_PRECOMPILED_HEADERS)
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
endif()

add_library(collie_options INTERFACE)
target_include_directories(collie_options INTERFACE "${PROJECT_SOURCE_DIR}")
# Contraction is left to the kernels, which ask for FMA by name: results must not depend on what the
# compiler finds profitable in one translation unit and not in the next.
target_compile_options(collie_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-ffp-contract=off>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CCACHE_PROGRAM AND COLLIE_PRECOMPILED_HEADERS)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)  # false alarms on std::string (GCC bug 105651)
endif()
if(COLLIE_WERROR)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(COLLIE_SANITIZE)
  if(COLLIE_SANITIZE STREQUAL "address")
    set(_sanitizers address,undefined)
  elseif(COLLIE_SANITIZE STREQUAL "thread")
    set(_sanitizers thread)
  else()
    message(FATAL_ERROR "COLLIE_SANITIZE is address or thread, not \"${COLLIE_SANITIZE}\"")
  endif()
  # -O1 and -g1: half the time and a fraction of the disk of -O2 -g; the reports have functions and lines all the same.
  # Undefined behaviour ends the process: a report that the test survives would be read by nobody.
  target_compile_options(collie_options INTERFACE
    -fsanitize=${_sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1)
  # The tests' own sources take three times as long with all that.
  target_compile_options(collie_options INTERFACE
    $<$<BOOL:$<TARGET_PROPERTY:COLLIE_TEST>>:-O0;-fno-sanitize=undefined>)
  target_link_options(collie_options INTERFACE -fsanitize=${_sanitizers})
  target_compile_definitions(collie_options INTERFACE COLLIE_SANITIZE="${COLLIE_SANITIZE}" _GLIBCXX_ASSERTIONS)
endif()
