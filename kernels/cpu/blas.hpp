// OpenBLAS, loaded at run time, one thread a call: threads are the arena's business.
#pragma once

#include <cblas.h>

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

}  // namespace collie::cpu
