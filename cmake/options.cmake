# Warnings, sanitizers and the compiler cache, for every target of the project.
option(COLLIE_WERROR "Treat warnings as errors" OFF)
set(COLLIE_SANITIZE "" CACHE STRING "Sanitizer to build with: empty, address (with undefined behaviour), thread, or fuzzer (address, for libFuzzer)")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE_PROGRAM}")
endif()

# Headers and templates take longer to compile than our own lines, so a dozen sources of a folder are compiled as one:
# a third of the work. Precompiled headers were tried first; they brought half as much. Turn it off for editors that
# read compile_commands.json.
option(COLLIE_UNITY "Compile several sources of a folder at a time" ON)
set(CMAKE_UNITY_BUILD ${COLLIE_UNITY})
set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)

add_library(collie_options INTERFACE)
target_include_directories(collie_options INTERFACE "${PROJECT_SOURCE_DIR}")
# Contraction is left to the kernels, which ask for FMA by name: results must not depend on what the
# compiler finds profitable in one translation unit and not in the next.
target_compile_options(collie_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-ffp-contract=off>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)  # false alarms on std::string (GCC bug 105651)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND COLLIE_UNITY)
  # It takes every source of a batch for a header, in which an anonymous namespace would be a mistake.
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(COLLIE_WERROR)
  target_compile_options(collie_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(COLLIE_SANITIZE)
  if(COLLIE_SANITIZE STREQUAL "address")
    set(_sanitizers address,undefined)
  elseif(COLLIE_SANITIZE STREQUAL "thread")
    set(_sanitizers thread)
  elseif(COLLIE_SANITIZE STREQUAL "fuzzer")
    set(_sanitizers fuzzer-no-link,address,undefined)
  else()
    message(FATAL_ERROR "COLLIE_SANITIZE is address, thread or fuzzer, not \"${COLLIE_SANITIZE}\"")
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
