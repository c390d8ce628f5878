// The CUDA run time, or its emulation on the host (COLLIE_CUDA_EMULATED). Only kernels/cuda and comm/nccl
// include it.
#pragma once

#ifdef COLLIE_CUDA_EMULATED
#include "kernels/cuda/emulation/cuda_runtime.hpp"
#else
#include <cuda_runtime.h>
#endif

namespace collie::cuda {

// Throws std::runtime_error "CUDA: WHAT: REASON" unless `status` is success; out of memory says so and how
// much the device has.
void check(cudaError_t status, const char* what);

}  // namespace collie::cuda
