// OpenBLAS, loaded at run time, with one thread per call. The arena provides the threads.
#pragma once

#include <cblas.h>

#include <cstddef>
#include <string>

namespace collie::cpu {

struct Blas {
  decltype(&cblas_sgemm) sgemm;
  decltype(&cblas_sgemv) sgemv;
  std::string core;  // the kernels that OpenBLAS chose: "SkylakeX", "Haswell", ...
};

// Loads the library on the first call and keeps it. If it is missing, RunError names the Debian package.
// OPENBLAS_CORETYPE, if set, decides the kernels; else see choose_core() in blas.cpp.
const Blas& blas();

// The function of that name in the library, such as LAPACK's. Throws RunError if it has none.
void* blas_symbol(const char* name);

// The address space that OpenBLAS takes per thread that is inside it (x86-64; pages that it does not use cost
// nothing).
inline constexpr size_t blas_buffer_bytes = size_t{128} << 20;

// Makes buffers for this many threads at once before the first product. If the system refuses OpenBLAS a
// buffer, OpenBLAS asks again and again, for ever. The buffers are counted over all such objects together,
// and those that have been made are kept. Throws RunError naming the limits if there is no room.
class BlasBuffers {
 public:
  explicit BlasBuffers(int threads);
  ~BlasBuffers();
  BlasBuffers(const BlasBuffers&) = delete;
  BlasBuffers& operator=(const BlasBuffers&) = delete;

 private:
  int threads_;
};

}  // namespace collie::cpu
