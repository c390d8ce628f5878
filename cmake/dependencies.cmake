# Third-party libraries, each as one imported target. Debian/Ubuntu package names are in scripts/install_dependencies.sh.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(TBB REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
find_package(Gloo REQUIRED)
# oneDNN multiplies bfloat16 matrices. It uses OpenMP, which kernels/cpu tells to use one thread.
find_package(dnnl REQUIRED)
# OpenBLAS is loaded at run time (kernels/cpu/blas.cpp says why); only its header is needed here.
find_path(OPENBLAS_INCLUDE_DIR cblas.h REQUIRED
  PATH_SUFFIXES x86_64-linux-gnu/openblas-pthread aarch64-linux-gnu/openblas-pthread openblas-pthread)

# CAF 0.17 as Debian packages it ships no CMake configuration.
find_path(CAF_INCLUDE_DIR caf/detail/build_config.hpp REQUIRED)
file(STRINGS "${CAF_INCLUDE_DIR}/caf/config.hpp" _caf_version REGEX "#define CAF_VERSION [0-9]+")
string(REGEX MATCH "[0-9]+" CAF_VERSION_INT "${_caf_version}")
if(CAF_VERSION_INT LESS 1706 OR NOT CAF_VERSION_INT LESS 1800)
  message(FATAL_ERROR "collie-engine needs CAF 0.17.x (0.17.6 or later), found ${CAF_VERSION_INT} in ${CAF_INCLUDE_DIR}")
endif()
foreach(component core io)
  find_library(CAF_${component}_LIB caf_${component} REQUIRED)
  add_library(CAF::${component} UNKNOWN IMPORTED)
  set_target_properties(CAF::${component} PROPERTIES
    IMPORTED_LOCATION "${CAF_${component}_LIB}"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${CAF_INCLUDE_DIR}")
endforeach()
target_link_libraries(CAF::core INTERFACE Threads::Threads)
target_link_libraries(CAF::io INTERFACE CAF::core)

# Catch2 version 2 (Debian 12) and 3 (newer) are both supported; tests include "tests/catch.hpp".
find_package(Catch2 REQUIRED)
find_package(benchmark REQUIRED)
# Fibers for the emulated GPU, on which tests run kernels/cuda.
find_package(Boost REQUIRED COMPONENTS context)
