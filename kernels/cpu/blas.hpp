// OpenBLAS, loaded at run time, one thread a call: threads are the arena's business.
#pragma once

#include <cblas.h>

#include <cstddef>
#include <string>

namespace collie::cpu {

struct Blas {
  decltype(&cblas_sgemm) sgemm;
  decltype(&cblas_sgemv) sgemv;
  std::string core;  // the kernels it chose: "SkylakeX", "Haswell", ...
};

// Loads the library on the first call and keeps it. RunError names the Debian package where it is missing.
// OPENBLAS_CORETYPE, where set, decides the kernels; else see choose_core() in blas.cpp.
const Blas& blas();

// What OpenBLAS takes of the address space for each thread that is inside it (x86-64; pages that it does not
// use cost nothing).
inline constexpr size_t blas_buffer_bytes = size_t{128} << 20;

// Buffers for so many threads at once, which are there before the first product: OpenBLAS asks the system for
// one again and again, for ever, where it is refused. Of all such objects together; those that have been made
// are kept. Throws RunError naming the limits where there is no room for them.
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
