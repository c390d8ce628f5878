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

find_package(CAF 0.17.6 REQUIRED)

if(COLLIE_TESTS)
  # Catch2 version 2 (Debian 12) and 3 (newer) are both supported; tests include "tests/catch.hpp".
  find_package(Catch2 REQUIRED)
  find_package(benchmark REQUIRED)
  # Fibers for the emulated GPU, on which tests run kernels/cuda.
  find_package(Boost REQUIRED COMPONENTS context)
endif()
